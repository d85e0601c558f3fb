//! Values that the fields of an event can have at a point of an expression.
//!
//! Assumptions are never too narrow: a part about which nothing is known may hold or not.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::rc::Rc;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, operators};

use super::tree;
use tributary_model::domain::{Comparison, Domain, Fields, NumberSet, TextSet};

/// Maximum number of parts of one expression that are examined; parts after them may hold or not.
/// Repeated branching would otherwise take exponential time.
const MAX_STEPS: usize = 10_000;

/// Maximum number of texts or ranges of numbers tracked per field. A field with more is taken to
/// have any value.
const MAX_VALUES_TRACKED: usize = 1_000;

/// Values that the fields can have at a point of an expression.
#[derive(Clone)]
pub(super) struct Facts<'f> {
    fields: &'f Fields,
    numbers: BTreeMap<String, NumberSet>,
    texts: BTreeMap<String, TextSet>,
    /// Fields, and tags as `tags.<tag>`, that are there or are not.
    present: BTreeMap<String, bool>,
    /// Values of the variable of a macro.
    bound: BTreeMap<String, TextSet>,
    steps: Rc<Cell<usize>>,
}

/// A side of a comparison, and the field that it is where it is no more than that.
enum Operand {
    Number(NumberSet, Option<String>),
    Text(TextSet, Option<String>),
    Other,
}

impl<'f> Facts<'f> {
    /// Returns the facts before any condition.
    pub(super) fn of(fields: &'f Fields) -> Self {
        Self {
            fields,
            numbers: BTreeMap::new(),
            texts: BTreeMap::new(),
            present: BTreeMap::new(),
            bound: BTreeMap::new(),
            steps: Rc::default(),
        }
    }
}

impl Facts<'_> {
    fn number(&self, path: &str) -> Option<NumberSet> {
        match self.fields.domain(path)? {
            Domain::Number(numbers, _) => Some(self.numbers.get(path).cloned().unwrap_or(numbers)),
            _ => None,
        }
    }

    fn text(&self, path: &str) -> Option<TextSet> {
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

    /// With every field there that `node` has no value without.
    fn with_required_fields(mut self, node: &IdedExpr) -> Option<Self> {
        let mut paths = Vec::new();
        required_paths(node, &mut paths);
        for path in paths {
            self = self.with_presence(path, true)?;
        }
        Some(self)
    }

    /// Returns the facts if `node` is `truth`, or `None` if it cannot be.
    pub(super) fn assume(&self, node: &IdedExpr, truth: bool) -> Option<Self> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > MAX_STEPS {
            return Some(self.clone());
        }
        if let Some((operator, parts)) = tree::connective(node) {
            if operator == operators::LOGICAL_NOT {
                return self.assume(&parts[0], !truth);
            }
            if (operator == operators::LOGICAL_AND) == truth {
                let mut facts = self.clone();
                for part in parts {
                    facts = facts.assume(part, truth)?;
                }
                return Some(facts);
            }
            let ways = parts.iter().filter_map(|part| self.assume(part, truth));
            return ways.reduce(|one, other| one.or(&other));
        }
        if let Some((condition, is_so)) = tree::boolean_test(node) {
            return self.assume(condition, is_so == truth);
        }
        if let Some(value) = tree::boolean(node) {
            return (value == truth).then(|| self.clone());
        }
        if truth
            && let Some((comprehension, predicate)) = tree::exists_macro(node)
            && let Some(bound) = self.bind(comprehension)
        {
            return bound.assume(predicate, true).map(|_| self.clone());
        }
        match &node.expr {
            Expr::Select(select) => match tree::tested(select) {
                Some(path) => self.clone().with_presence(path, truth),
                None => Some(self.clone()),
            },
            Expr::Call(call) => self.assume_call(call, truth),
            _ => Some(self.clone()),
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
                let facts = self.clone().with_required_fields(target)?;
                let (Operand::Text(texts, path), Some(part)) =
                    (facts.operand(target), tree::text(part))
                else {
                    return Some(facts);
                };
                let holds = |text: &str| match name {
                    "startsWith" => text.starts_with(part),
                    "endsWith" => text.ends_with(part),
                    _ => text.contains(part),
                };
                facts.with_text(path, texts.filtered(|text| holds(text) == truth))
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
        let facts = self.clone().with_required_fields(one)?.with_required_fields(other)?;
        let turned = comparison.mirrored();
        match (facts.operand(one), facts.operand(other)) {
            (Operand::Number(left, path), Operand::Number(right, other_path)) => facts
                .with_number(path, left.compared(comparison, &right))?
                .with_number(other_path, right.compared(turned, &left)),
            (Operand::Text(left, path), Operand::Text(right, other_path)) => facts
                .with_text(path, left.compared(comparison, &right))?
                .with_text(other_path, right.compared(turned, &left)),
            _ => Some(facts),
        }
    }

    fn assume_in(&self, element: &IdedExpr, container: &IdedExpr, truth: bool) -> Option<Self> {
        let Expr::List(list) = &container.expr else {
            return match (tree::path(container), tree::text(element)) {
                (Some(path), Some(name)) => {
                    self.clone().with_presence(format!("{path}.{name}"), truth)
                }
                _ => Some(self.clone()),
            };
        };
        let facts = self.clone().with_required_fields(element)?;
        // What is written down is held against the element at once, the rest one by one.
        let (mut numbers, mut texts, mut others) = (Vec::new(), BTreeSet::new(), Vec::new());
        for with in &list.elements {
            match &with.expr {
                Expr::Literal(LiteralValue::String(text)) => {
                    texts.insert(text.inner().to_owned());
                }
                Expr::Literal(literal) => match literal_number(literal) {
                    Some(number) => numbers.push(number),
                    None => others.push(with),
                },
                _ => others.push(with),
            }
        }
        let numbers = NumberSet::from_values(numbers);
        if truth {
            let written = match facts.operand(element) {
                Operand::Number(of, path) => facts.clone().with_number(path, of.and(&numbers)),
                Operand::Text(of, path) => {
                    facts.clone().with_text(path, of.and(&TextSet::OneOf(texts)))
                }
                Operand::Other if numbers.is_empty() && texts.is_empty() => None,
                Operand::Other => Some(facts.clone()),
            };
            let same = |with| facts.assume_compared(Comparison::Equal, element, with);
            let ways = others.into_iter().filter_map(same);
            return written.into_iter().chain(ways).reduce(|one, other| one.or(&other));
        }
        let mut facts = match facts.operand(element) {
            Operand::Number(of, path) => facts.with_number(path, of.difference(&numbers))?,
            Operand::Text(of, path) => facts.with_text(path, of.and(&TextSet::AllExcept(texts)))?,
            Operand::Other => facts,
        };
        for with in others {
            facts = facts.assume_compared(Comparison::NotEqual, element, with)?;
        }
        Some(facts)
    }

    /// The elements of a list that `element` can never be.
    pub(super) fn impossible_elements<'l>(
        &self,
        element: &IdedExpr,
        list: &'l [IdedExpr],
    ) -> Vec<&'l IdedExpr> {
        let operand = self.operand(element);
        let can_be = |with: &IdedExpr| match (&operand, &with.expr) {
            (Operand::Text(texts, _), Expr::Literal(LiteralValue::String(text))) => {
                texts.contains(text.inner())
            }
            (Operand::Number(numbers, _), Expr::Literal(literal)) => {
                literal_number(literal).is_none_or(|number| numbers.contains(number))
            }
            (_, Expr::Literal(_)) => true,
            _ => self.assume_compared(Comparison::Equal, element, with).is_some(),
        };
        list.iter().filter(|with| !can_be(with)).collect()
    }

    fn with_number(mut self, path: Option<String>, numbers: NumberSet) -> Option<Self> {
        if numbers.is_empty() {
            return None;
        }
        if let Some(path) = path {
            self.numbers.insert(path, numbers.widened(MAX_VALUES_TRACKED));
        }
        Some(self)
    }

    fn with_text(mut self, path: Option<String>, texts: TextSet) -> Option<Self> {
        if texts.is_empty() {
            return None;
        }
        let texts = texts.widened(MAX_VALUES_TRACKED);
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

    /// Returns the facts if one of the two sets of facts holds: the union of both.
    fn or(self, other: &Self) -> Self {
        let mut facts = self.clone();
        facts.numbers.retain(|path, _| other.numbers.contains_key(path));
        for (path, numbers) in &mut facts.numbers {
            if let Some(with) = other.numbers.get(path) {
                *numbers = numbers.or(with);
            }
        }
        for (mine, theirs) in [(&mut facts.texts, &other.texts), (&mut facts.bound, &other.bound)] {
            mine.retain(|path, _| theirs.contains_key(path));
            for (path, texts) in mine {
                if let Some(with) = theirs.get(path) {
                    *texts = texts.or(with);
                }
            }
        }
        facts.present.retain(|path, is_there| other.present.get(path) == Some(is_there));
        facts
    }

    /// With the variable of a macro that goes through the tags.
    pub(super) fn bind(&self, comprehension: &ComprehensionExpr) -> Option<Self> {
        let is_tags = tree::path(&comprehension.iter_range).as_deref() == Some("tags");
        let mut facts = self.clone();
        let tags = TextSet::one_of(self.fields.tags.iter().cloned());
        facts.bound.insert(comprehension.iter_var.clone(), tags);
        is_tags.then_some(facts)
    }

    /// Returns the values that a side of a comparison can have.
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
            Expr::Literal(LiteralValue::String(text)) => {
                Operand::Text(TextSet::one_of([text.inner()]), None)
            }
            Expr::Literal(literal) => literal_number(literal)
                .map_or(Operand::Other, |number| Operand::Number(NumberSet::of(number), None)),
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
        let combined = |sides: &[&IdedExpr], combine: fn(f64, f64) -> f64| match sides {
            [one, other] => Some(number(one)?.combined(&number(other)?, combine)),
            _ => None,
        };
        let found = match (call.func_name.as_str(), &parts[..]) {
            ("size", [of]) => Some(match tree::path(of).as_deref() {
                Some("tags") => {
                    let max = u32::try_from(self.fields.tags.len()).unwrap_or(u32::MAX);
                    NumberSet::whole(0.0, f64::from(max))
                }
                _ => NumberSet::whole(0.0, f64::INFINITY),
            }),
            ("double", [of]) => number(of).or_else(|| Some(NumberSet::any())),
            // Integer division differs, and the values of a parsed text are unknown.
            (operators::DIVIDE, [one, other]) if tree::is_double(other) => {
                number(one).zip(number(other)).and_then(|(one, other)| one.divided(&other))
            }
            (operators::NEGATE, [of]) => {
                number(of).map(|it| it.combined(&NumberSet::of(-1.0), |one, by| one * by))
            }
            (operators::ADD, sides) => combined(sides, |one, other| one + other),
            (operators::SUBSTRACT, sides) => combined(sides, |one, other| one - other),
            (operators::MULTIPLY, sides) => combined(sides, |one, other| one * other),
            _ => None,
        };
        found.map_or(Operand::Other, |numbers| Operand::Number(numbers, None))
    }

    /// Describes the possible values of the fields of a part at this point, for a message.
    pub(super) fn describe(&self, node: &IdedExpr) -> String {
        let mut paths = Vec::new();
        all_paths(node, &mut paths);
        paths.sort();
        paths.dedup();
        let mut reported = String::new();
        for path in paths {
            let short = path.rsplit_once('.').map_or(path.as_str(), |(_, name)| name);
            let can_be = match (self.number(&path), self.text(&path)) {
                (Some(numbers), _) => numbers.to_string(),
                (_, Some(texts)) => texts.to_string(),
                _ => continue,
            };
            let is_narrowed = self.numbers.contains_key(&path) || self.texts.contains_key(&path);
            let here = if is_narrowed { " here" } else { "" };
            let before = if reported.is_empty() { ": " } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(reported, "{before}{short} is {can_be}{here}");
        }
        reported
    }
}

fn literal_number(literal: &LiteralValue) -> Option<f64> {
    match literal {
        LiteralValue::Double(value) => Some(*value.inner()),
        #[expect(clippy::cast_precision_loss, reason = "as CEL compares it with a double")]
        LiteralValue::Int(value) => Some(*value.inner() as f64),
        #[expect(clippy::cast_precision_loss, reason = "as CEL compares it with a double")]
        LiteralValue::UInt(value) => Some(*value.inner() as f64),
        _ => None,
    }
}

/// The paths of the fields that `node` has no value without: not those of a part that may not be
/// asked, and not those that `has` asks for.
fn required_paths(node: &IdedExpr, paths: &mut Vec<String>) {
    if let Some(path) = tree::path(node) {
        paths.push(path);
        return;
    }
    match &node.expr {
        Expr::Call(call) => {
            let parts = call.target.as_deref().into_iter().chain(&call.args);
            let certain = match call.func_name.as_str() {
                operators::CONDITIONAL => 1,
                // Where one side says what they come to, the other need not have a value.
                operators::LOGICAL_AND | operators::LOGICAL_OR => 0,
                _ => usize::MAX,
            };
            parts.take(certain).for_each(|part| required_paths(part, paths));
        }
        Expr::Select(select) if !select.test => required_paths(&select.operand, paths),
        _ => {}
    }
}

/// The paths of all fields in `node`.
fn all_paths(node: &IdedExpr, paths: &mut Vec<String>) {
    match (tree::path(node), &node.expr) {
        (Some(path), _) => paths.push(path),
        (_, Expr::Call(call)) => {
            let parts = call.target.as_deref().into_iter().chain(&call.args);
            parts.for_each(|part| all_paths(part, paths));
        }
        (_, Expr::Select(select)) => match tree::tested(select) {
            Some(path) => paths.push(path),
            None => all_paths(&select.operand, paths),
        },
        _ => {}
    }
}
