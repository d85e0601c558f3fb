//! Reachability of expressions: values that each comparison leaves to a field.
//!
//! A rule reported as dead is dead; a dead rule may pass.

use cel::common::ast::{Expr, operators};
use cel::{IdedExpr, Program};

use super::facts::Facts;
use super::tree::{self, Fault};
use super::{Code, Level};
use tributary_model::domain::Fields;

/// Maximum number of elements of one list that are reported.
const MAX_REPORTED: usize = 10;

/// Returns the parts of an expression over events with `fields` that never or always hold.
pub(super) fn faults(fields: &Fields, program: &Program) -> Vec<Fault> {
    let facts = Facts::of(fields);
    let mut reachability = Reachability { program, faults: Vec::new() };
    let root = program.expression();
    reachability.walk(root, true, &facts);
    let is_reported = reachability.faults.iter().any(|fault| fault.level == Level::Error);
    if !is_reported && facts.assume(root, true).is_none() {
        let message = "can never fire: its parts exclude each other".to_owned();
        reachability.report(Level::Error, Code::Dead, root, message);
    }
    reachability.faults
}

struct Reachability<'p> {
    program: &'p Program,
    faults: Vec<Fault>,
}

impl Reachability<'_> {
    fn report(&mut self, level: Level, code: Code, node: &IdedExpr, message: String) {
        let offset = tree::start(self.program, node);
        self.faults.push(Fault { level, code, offset, message });
    }

    /// Reports the parts of `node` that never contribute to it being `wanted`, or always are.
    fn walk(&mut self, node: &IdedExpr, wanted: bool, facts: &Facts<'_>) {
        if let Some((operator, parts)) = tree::connective(node) {
            if operator == operators::LOGICAL_NOT {
                return self.walk(&parts[0], !wanted, facts);
            }
            let all_are_needed = (operator == operators::LOGICAL_AND) == wanted;
            let mut here = facts.clone();
            for part in parts {
                self.walk(part, wanted, &here);
                if all_are_needed {
                    // Parts after an impossible one add nothing.
                    let Some(after) = here.assume(part, wanted) else { return };
                    here = after;
                }
            }
            return;
        }
        if let Some((condition, is_so)) = tree::boolean_test(node) {
            return self.walk(condition, is_so == wanted, facts);
        }
        if let Some((operators::CONDITIONAL, [condition, one, other])) = tree::operation(node) {
            self.walk(condition, true, facts);
            for (holds, part) in [(true, one), (false, other)] {
                if let Some(here) = facts.assume(condition, holds) {
                    self.walk(part, wanted, &here);
                }
            }
            return;
        }
        if wanted
            && let Some((comprehension, predicate)) = tree::exists_macro(node)
            && let Some(bound) = facts.bind(comprehension)
        {
            self.walk(predicate, true, &bound);
            return;
        }
        self.check_filters(node, facts);
        if is_evaluated(node) {
            self.evaluate(node, wanted, facts);
        }
    }

    /// Reports elements that the filters inside `node` can never choose.
    fn check_filters(&mut self, node: &IdedExpr, facts: &Facts<'_>) {
        let Expr::Call(call) = &node.expr else { return };
        for part in call.target.as_deref().into_iter().chain(&call.args) {
            match tree::filter_macro(part) {
                Some((comprehension, predicate)) => {
                    if let Some(bound) = facts.bind(comprehension) {
                        self.walk(predicate, true, &bound);
                    }
                }
                None => self.check_filters(part, facts),
            }
        }
    }

    /// Reports a part that never or always is `wanted`.
    fn evaluate(&mut self, node: &IdedExpr, wanted: bool, facts: &Facts<'_>) {
        let (can_be, can_fail) = (facts.assume(node, wanted), facts.assume(node, !wanted));
        let shown = facts.describe(node);
        let not = if wanted { "" } else { "not " };
        if can_be.is_none() {
            let opposite = if wanted { "" } else { "always holds, so its opposite " };
            let message = format!("{opposite}never holds{shown}");
            self.report(Level::Error, Code::Dead, node, message);
            return;
        }
        if can_fail.is_none() {
            if !names_the_event(node) {
                let message = format!("always {not}holds{shown}").replace("not holds", "fails");
                self.report(Level::Warning, Code::Always, node, message);
            }
            return;
        }
        let (level, code) =
            if wanted { (Level::Error, Code::Dead) } else { (Level::Warning, Code::Always) };
        if let Some((operators::IN, [element, list])) = tree::operation(node)
            && let Expr::List(list) = &list.expr
        {
            let impossible = facts.impossible_elements(element, &list.elements);
            for value in impossible.into_iter().take(MAX_REPORTED) {
                self.report(level, code, value, format!("is never found{shown}"));
            }
        }
    }
}

/// Returns true if a part is reported when it never or always holds.
fn is_evaluated(node: &IdedExpr) -> bool {
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

/// Returns true if a part repeats the rule's `dataset` or `window`: it always holds, and may.
fn names_the_event(node: &IdedExpr) -> bool {
    let Expr::Call(call) = &node.expr else { return false };
    let mut paths = call.args.iter().filter_map(tree::path);
    paths.any(|path| matches!(path.as_str(), "kind" | "dataset" | "window.spec"))
}
