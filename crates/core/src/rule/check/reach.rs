//! Whether an expression can hold: what each comparison leaves of what a field can be.
//!
//! What is assumed is never too little: where nothing is known about a part, it may hold and may
//! not. So a rule that is called dead is dead, and a dead rule may pass.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, SelectExpr, operators};
use cel::{IdedExpr, Program};

use super::tree::{self, Fault};
use super::{Code, Level};
use crate::domain::{Comparison, Domain, Fields, Numbers, Texts};

/// What the fields can be at some point of an expression.
#[derive(Clone)]
struct Known<'f> {
    fields: &'f Fields,
    numbers: BTreeMap<String, Numbers>,
    texts: BTreeMap<String, Texts>,
    /// Fields, and tags as `tags.<tag>`, that are there or are not.
    present: BTreeMap<String, bool>,
    /// What a macro goes through.
    bound: BTreeMap<String, Texts>,
}

/// A side of a comparison, and the field that it is where it is no more than that.
enum Operand {
    Number(Numbers, Option<String>),
    Text(Texts, Option<String>),
    Other,
}

/// What never holds, and what always does, in an expression about events with `fields`.
pub(super) fn faults(fields: &Fields, program: &Program) -> Vec<Fault> {
    let known = Known {
        fields,
        numbers: BTreeMap::new(),
        texts: BTreeMap::new(),
        present: BTreeMap::new(),
        bound: BTreeMap::new(),
    };
    let mut reach = Reach { program, faults: Vec::new() };
    let root = program.expression();
    reach.walk(root, true, &known);
    let is_told = reach.faults.iter().any(|fault| fault.level == Level::Error);
    if !is_told && known.assume(root, true).is_none() {
        let message = "can never fire: its parts exclude each other".to_owned();
        reach.tell(Level::Error, Code::Dead, root, message);
    }
    reach.faults
}

struct Reach<'p> {
    program: &'p Program,
    faults: Vec<Fault>,
}

impl Reach<'_> {
    fn tell(&mut self, level: Level, code: Code, node: &IdedExpr, message: String) {
        let offset = tree::start(self.program, node);
        self.faults.push(Fault { level, code, offset, message });
    }

    /// Tells of the parts of `node` that can never help it to be `wanted`, or always are.
    fn walk(&mut self, node: &IdedExpr, wanted: bool, known: &Known<'_>) {
        if let Some((operator, parts)) = connective(node) {
            if operator == operators::LOGICAL_NOT {
                return self.walk(&parts[0], !wanted, known);
            }
            let all_are_needed = (operator == operators::LOGICAL_AND) == wanted;
            let mut here = known.clone();
            for part in parts {
                self.walk(part, wanted, &here);
                if all_are_needed {
                    // What comes after what cannot be has nothing to add.
                    let Some(after) = here.assume(part, wanted) else { return };
                    here = after;
                }
            }
            return;
        }
        if wanted
            && let Some((comprehension, predicate)) = exists(node)
            && let Some(bound) = known.bind(comprehension)
        {
            self.walk(predicate, true, &bound);
            return;
        }
        if !is_judged(node) {
            return;
        }
        let (can_be, can_fail) = (known.assume(node, wanted), known.assume(node, !wanted));
        let shown = known.told_of(node);
        let not = if wanted { "" } else { "not " };
        if can_be.is_none() {
            let message = format!(
                "{}never holds{shown}",
                if wanted { "" } else { "always holds, so its opposite " }
            );
            self.tell(Level::Error, Code::Dead, node, message);
        } else if can_fail.is_none() && !names_the_event(node) {
            let message = format!("always {not}holds{shown}").replace("not holds", "fails");
            self.tell(Level::Warning, Code::Always, node, message);
        }
    }
}

/// The operator and the parts of `&&`, `||` and `!`.
fn connective(node: &IdedExpr) -> Option<(&str, &[IdedExpr])> {
    let Expr::Call(CallExpr { func_name, target: None, args }) = &node.expr else { return None };
    let is_one = matches!(
        func_name.as_str(),
        operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT
    );
    (is_one && !args.is_empty()).then_some((func_name, args))
}

/// The macro `exists`, and what it asks of each element.
fn exists(node: &IdedExpr) -> Option<(&ComprehensionExpr, &IdedExpr)> {
    let Expr::Comprehension(comprehension) = &node.expr else { return None };
    let is_false = matches!(
        &comprehension.accu_init.expr,
        Expr::Literal(LiteralValue::Boolean(start)) if !*start.inner()
    );
    match connective(&comprehension.loop_step) {
        Some((operators::LOGICAL_OR, [_, predicate])) if is_false => {
            Some((comprehension, predicate))
        }
        _ => None,
    }
}

/// Whether something is said of a part where it never or always holds.
fn is_judged(node: &IdedExpr) -> bool {
    match &node.expr {
        Expr::Call(call) => {
            let name = call.func_name.as_str();
            let asks_text = matches!(name, "startsWith" | "endsWith" | "contains");
            tree::comparison(call).is_some() || name == operators::IN || asks_text
        }
        Expr::Select(select) => select.test,
        _ => false,
    }
}

/// Whether a part says what the rule's `dataset` and `window` say: then it always holds, and may.
fn names_the_event(node: &IdedExpr) -> bool {
    let Expr::Call(call) = &node.expr else { return false };
    let mut paths = call.args.iter().filter_map(tree::path);
    paths.any(|path| matches!(path.as_str(), "kind" | "dataset" | "window.spec"))
}

impl Known<'_> {
    fn number(&self, path: &str) -> Option<Numbers> {
        match self.fields.domain(path)? {
            Domain::Number(numbers, _) => Some(self.numbers.get(path).cloned().unwrap_or(numbers)),
            _ => None,
        }
    }

    fn text(&self, path: &str) -> Option<Texts> {
        match self.fields.domain(path)? {
            Domain::Text(texts) => Some(self.texts.get(path).cloned().unwrap_or(texts)),
            _ => None,
        }
    }

    /// With a field that is there, or is not; `None` where the opposite is known.
    fn with_presence(mut self, path: String, is_there: bool) -> Option<Self> {
        match self.present.insert(path, is_there) {
            Some(before) if before != is_there => None,
            _ => Some(self),
        }
    }

    /// With every field in `node` there: without, it would have no value.
    fn with_all_of(mut self, node: &IdedExpr) -> Option<Self> {
        let mut paths = Vec::new();
        collect(node, &mut paths);
        for path in paths {
            self = self.with_presence(path, true)?;
        }
        Some(self)
    }

    /// What is known where `node` is `truth`; `None` where it cannot be.
    fn assume(&self, node: &IdedExpr, truth: bool) -> Option<Self> {
        if let Some((operator, parts)) = connective(node) {
            if operator == operators::LOGICAL_NOT {
                return self.assume(&parts[0], !truth);
            }
            if (operator == operators::LOGICAL_AND) == truth {
                let mut known = self.clone();
                for part in parts {
                    known = known.assume(part, truth)?;
                }
                return Some(known);
            }
            let ways = parts.iter().filter_map(|part| self.assume(part, truth));
            return ways.reduce(|one, other| one.or(&other));
        }
        match &node.expr {
            Expr::Literal(LiteralValue::Boolean(value)) => {
                (*value.inner() == truth).then(|| self.clone())
            }
            Expr::Select(select) => self.assume_has(select, truth),
            Expr::Comprehension(_) => match exists(node) {
                Some((comprehension, predicate)) if truth => match self.bind(comprehension) {
                    Some(bound) => bound.assume(predicate, true).map(|_| self.clone()),
                    None => Some(self.clone()),
                },
                _ => Some(self.clone()),
            },
            Expr::Call(call) => self.assume_call(call, truth),
            _ => Some(self.clone()),
        }
    }

    fn assume_has(&self, select: &SelectExpr, truth: bool) -> Option<Self> {
        match tree::tested(select) {
            Some(path) => self.clone().with_presence(path, truth),
            None => Some(self.clone()),
        }
    }

    fn assume_call(&self, call: &CallExpr, truth: bool) -> Option<Self> {
        if let (Some(comparison), [one, other]) = (tree::comparison(call), &call.args[..]) {
            let comparison = if truth { comparison } else { comparison.negated() };
            return self.assume_compared(comparison, one, other);
        }
        match (call.func_name.as_str(), call.target.as_deref(), &call.args[..]) {
            (operators::CONDITIONAL, None, [condition, one, other]) => {
                let way = |holds, part| self.assume(condition, holds)?.assume(part, truth);
                let ways = [way(true, one), way(false, other)];
                ways.into_iter().flatten().reduce(|one, other| one.or(&other))
            }
            (operators::IN, None, [element, container]) => {
                self.assume_in(element, container, truth)
            }
            (name @ ("startsWith" | "endsWith" | "contains"), Some(target), [part]) => {
                let known = self.clone().with_all_of(target)?;
                let (Operand::Text(texts, path), Some(part)) =
                    (known.operand(target), tree::text(part))
                else {
                    return Some(known);
                };
                let holds = |text: &str| match name {
                    "startsWith" => text.starts_with(part),
                    "endsWith" => text.ends_with(part),
                    _ => text.contains(part),
                };
                known.with_text(path, texts.kept(|text| holds(text) == truth))
            }
            _ => Some(self.clone()),
        }
    }

    fn assume_compared(
        &self,
        comparison: Comparison,
        one: &IdedExpr,
        other: &IdedExpr,
    ) -> Option<Self> {
        let known = self.clone().with_all_of(one)?.with_all_of(other)?;
        let turned = comparison.mirrored();
        match (known.operand(one), known.operand(other)) {
            (Operand::Number(left, path), Operand::Number(right, other_path)) => known
                .with_number(path, left.compared(comparison, &right))?
                .with_number(other_path, right.compared(turned, &left)),
            (Operand::Text(left, path), Operand::Text(right, other_path)) => known
                .with_text(path, left.compared(comparison, &right))?
                .with_text(other_path, right.compared(turned, &left)),
            _ => Some(known),
        }
    }

    fn assume_in(&self, element: &IdedExpr, container: &IdedExpr, truth: bool) -> Option<Self> {
        if let Expr::List(list) = &container.expr {
            let same = |with| self.assume_compared(Comparison::Equal, element, with);
            if truth {
                return list.elements.iter().filter_map(same).reduce(|one, other| one.or(&other));
            }
            let mut known = self.clone();
            for with in &list.elements {
                known = known.assume_compared(Comparison::NotEqual, element, with)?;
            }
            return Some(known);
        }
        match (tree::path(container), tree::text(element)) {
            (Some(path), Some(name)) => self.clone().with_presence(format!("{path}.{name}"), truth),
            _ => Some(self.clone()),
        }
    }

    fn with_number(mut self, path: Option<String>, numbers: Numbers) -> Option<Self> {
        if numbers.is_empty() {
            return None;
        }
        if let Some(path) = path {
            self.numbers.insert(path, numbers);
        }
        Some(self)
    }

    fn with_text(mut self, path: Option<String>, texts: Texts) -> Option<Self> {
        if texts.is_empty() {
            return None;
        }
        match path {
            Some(path) if self.bound.contains_key(&path) => {
                self.bound.insert(path, texts);
            }
            Some(path) => {
                self.texts.insert(path, texts);
            }
            None => {}
        }
        Some(self)
    }

    /// What is known where one of the two is: what both can be.
    fn or(self, other: &Self) -> Self {
        let mut known = self.clone();
        known.numbers.retain(|path, _| other.numbers.contains_key(path));
        for (path, numbers) in &mut known.numbers {
            if let Some(with) = other.numbers.get(path) {
                *numbers = numbers.or(with);
            }
        }
        for (mine, theirs) in [(&mut known.texts, &other.texts), (&mut known.bound, &other.bound)] {
            mine.retain(|path, _| theirs.contains_key(path));
            for (path, texts) in mine {
                if let Some(with) = theirs.get(path) {
                    *texts = texts.or(with);
                }
            }
        }
        known.present.retain(|path, is_there| other.present.get(path) == Some(is_there));
        known
    }

    /// With the variable of a macro that goes through the tags.
    fn bind(&self, comprehension: &ComprehensionExpr) -> Option<Self> {
        let is_tags = tree::path(&comprehension.iter_range).as_deref() == Some("tags");
        let mut known = self.clone();
        let tags = Texts::one_of(self.fields.tags());
        known.bound.insert(comprehension.iter_var.clone(), tags);
        is_tags.then_some(known)
    }

    /// What a side of a comparison can be.
    fn operand(&self, node: &IdedExpr) -> Operand {
        if let Some(path) = tree::path(node) {
            if let Some(numbers) = self.number(&path) {
                return Operand::Number(numbers, Some(path));
            }
            return match self.text(&path) {
                Some(texts) => Operand::Text(texts, Some(path)),
                None => Operand::Other,
            };
        }
        match &node.expr {
            Expr::Ident(name) => match self.bound.get(name) {
                Some(texts) => Operand::Text(texts.clone(), Some(name.clone())),
                None => Operand::Other,
            },
            Expr::Literal(literal) => literal_operand(literal),
            Expr::Call(call) => self.called(call),
            _ => Operand::Other,
        }
    }

    fn called(&self, call: &CallExpr) -> Operand {
        let parts: Vec<_> = call.target.as_deref().into_iter().chain(&call.args).collect();
        let number = |node: &IdedExpr| match self.operand(node) {
            Operand::Number(numbers, _) => Some(numbers),
            _ => None,
        };
        let found = match (call.func_name.as_str(), &parts[..]) {
            ("size", [of]) => Some(match tree::path(of).as_deref() {
                Some("tags") => {
                    let most = u32::try_from(self.fields.tags().count()).unwrap_or(u32::MAX);
                    Numbers::whole(0.0, f64::from(most))
                }
                _ => Numbers::whole(0.0, f64::INFINITY),
            }),
            ("double", [of]) => number(of).or_else(|| Some(Numbers::any())),
            (operators::NEGATE, [of]) => {
                number(of).map(|it| it.combined(&Numbers::one(-1.0), |one, by| one * by))
            }
            (operators::ADD, [one, other]) => number(one)
                .zip(number(other))
                .map(|(one, other)| one.combined(&other, |one, other| one + other)),
            (operators::SUBSTRACT, [one, other]) => number(one)
                .zip(number(other))
                .map(|(one, other)| one.combined(&other, |one, other| one - other)),
            (operators::MULTIPLY, [one, other]) => number(one)
                .zip(number(other))
                .map(|(one, other)| one.combined(&other, |one, other| one * other)),
            _ => None,
        };
        found.map_or(Operand::Other, |numbers| Operand::Number(numbers, None))
    }

    /// What the fields of a part can be at this point, for a message.
    fn told_of(&self, node: &IdedExpr) -> String {
        let mut paths = Vec::new();
        collect(node, &mut paths);
        paths.sort();
        paths.dedup();
        let mut told = String::new();
        for path in paths {
            let short = path.rsplit_once('.').map_or(path.as_str(), |(_, name)| name);
            let can_be = match (self.number(&path), self.text(&path)) {
                (Some(numbers), _) => numbers.to_string(),
                (_, Some(texts)) => texts.to_string(),
                _ => continue,
            };
            let is_narrowed = self.numbers.contains_key(&path) || self.texts.contains_key(&path);
            let here = if is_narrowed { " here" } else { "" };
            let before = if told.is_empty() { ": " } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(told, "{before}{short} is {can_be}{here}");
        }
        told
    }
}

fn literal_operand(literal: &LiteralValue) -> Operand {
    let number = |number| Operand::Number(Numbers::one(number), None);
    match literal {
        LiteralValue::Double(value) => number(*value.inner()),
        #[expect(clippy::cast_precision_loss, reason = "as CEL compares it with a double")]
        LiteralValue::Int(value) => number(*value.inner() as f64),
        #[expect(clippy::cast_precision_loss, reason = "as CEL compares it with a double")]
        LiteralValue::UInt(value) => number(*value.inner() as f64),
        LiteralValue::String(text) => Operand::Text(Texts::one_of([text.inner()]), None),
        LiteralValue::Boolean(_) | LiteralValue::Bytes(_) | LiteralValue::Null => Operand::Other,
    }
}

/// The paths of the fields that `node` needs a value of.
fn collect(node: &IdedExpr, paths: &mut Vec<String>) {
    if let Some(path) = tree::path(node) {
        paths.push(path);
        return;
    }
    match &node.expr {
        Expr::Call(call) => {
            for part in call.target.as_deref().into_iter().chain(&call.args) {
                collect(part, paths);
            }
        }
        Expr::Select(select) => match tree::tested(select) {
            Some(path) => paths.push(path),
            None => collect(&select.operand, paths),
        },
        _ => {}
    }
}
