//! Whether an expression can hold: what each comparison leaves of what a field can be.
//!
//! A rule that is called dead is dead, and a dead rule may pass.

use cel::common::ast::{CallExpr, Expr, operators};
use cel::{IdedExpr, Program};

use super::known::Known;
use super::tree::{self, Fault};
use super::{Code, Level};
use tributary_model::domain::Fields;

/// The most elements of one list that are told of.
const MOST_TOLD: usize = 10;

/// What never holds, and what always does, in an expression about events with `fields`.
pub(super) fn faults(fields: &Fields, program: &Program) -> Vec<Fault> {
    let known = Known::of(fields);
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
        if let Some((operator, parts)) = tree::connective(node) {
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
        if let Some((condition, is_so)) = tree::told_apart(node) {
            return self.walk(condition, is_so == wanted, known);
        }
        if let Some([condition, one, other]) = conditional(node) {
            self.walk(condition, true, known);
            for (holds, part) in [(true, one), (false, other)] {
                if let Some(here) = known.assume(condition, holds) {
                    self.walk(part, wanted, &here);
                }
            }
            return;
        }
        if wanted
            && let Some((comprehension, predicate)) = tree::exists(node)
            && let Some(bound) = known.bind(comprehension)
        {
            self.walk(predicate, true, &bound);
            return;
        }
        self.chosen(node, known);
        if is_judged(node) {
            self.judge(node, wanted, known);
        }
    }

    /// Tells of what filters inside `node` can never choose.
    fn chosen(&mut self, node: &IdedExpr, known: &Known<'_>) {
        let Expr::Call(call) = &node.expr else { return };
        for part in call.target.as_deref().into_iter().chain(&call.args) {
            match tree::chosen(part) {
                Some((comprehension, predicate)) => {
                    if let Some(bound) = known.bind(comprehension) {
                        self.walk(predicate, true, &bound);
                    }
                }
                None => self.chosen(part, known),
            }
        }
    }

    /// Tells of a part that never is `wanted`, or always.
    fn judge(&mut self, node: &IdedExpr, wanted: bool, known: &Known<'_>) {
        let (can_be, can_fail) = (known.assume(node, wanted), known.assume(node, !wanted));
        let shown = known.told_of(node);
        let not = if wanted { "" } else { "not " };
        if can_be.is_none() {
            let message = format!(
                "{}never holds{shown}",
                if wanted { "" } else { "always holds, so its opposite " }
            );
            self.tell(Level::Error, Code::Dead, node, message);
            return;
        }
        if can_fail.is_none() {
            if !names_the_event(node) {
                let message = format!("always {not}holds{shown}").replace("not holds", "fails");
                self.tell(Level::Warning, Code::Always, node, message);
            }
            return;
        }
        let (level, code) =
            if wanted { (Level::Error, Code::Dead) } else { (Level::Warning, Code::Always) };
        let strangers = listed(node).map(|(element, list)| known.never(element, list));
        for stranger in strangers.into_iter().flatten().take(MOST_TOLD) {
            self.tell(level, code, stranger, format!("is never found{shown}"));
        }
    }
}

/// The parts of `condition ? one : other`.
fn conditional(node: &IdedExpr) -> Option<&[IdedExpr; 3]> {
    let Expr::Call(CallExpr { func_name, target: None, args }) = &node.expr else { return None };
    if func_name == operators::CONDITIONAL { args.as_slice().try_into().ok() } else { None }
}

/// What is looked for in a list that is written down, and the list.
fn listed(node: &IdedExpr) -> Option<(&IdedExpr, &[IdedExpr])> {
    let Expr::Call(CallExpr { func_name, target: None, args }) = &node.expr else { return None };
    match &args[..] {
        [element, IdedExpr { expr: Expr::List(list), .. }] if func_name == operators::IN => {
            Some((element, &list.elements))
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
