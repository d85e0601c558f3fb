//! Unknown variables of an expression.

use cel::IdedExpr;
use cel::common::ast::Expr;

use crate::check::tree::parts;

/// Returns the names in `expression` that are neither `known` nor bound by a macro such as
/// `exists`, in order of appearance, each once.
pub(super) fn unknown_variables<'e>(expression: &'e IdedExpr, known: &[&'e str]) -> Vec<&'e str> {
    let mut found = Vec::new();
    walk(expression, &mut known.to_vec(), &mut found);
    found
}

fn walk<'e>(node: &'e IdedExpr, bound: &mut Vec<&'e str>, found: &mut Vec<&'e str>) {
    match &node.expr {
        Expr::Ident(name) => {
            if !bound.contains(&name.as_str()) && !found.contains(&name.as_str()) {
                found.push(name);
            }
        }
        Expr::Comprehension(macro_call) => {
            walk(&macro_call.iter_range, bound, found);
            walk(&macro_call.accu_init, bound, found);
            let outer = bound.len();
            bound.push(&macro_call.iter_var);
            bound.extend(macro_call.iter_var2.as_deref());
            bound.push(&macro_call.accu_var);
            for part in [&macro_call.loop_cond, &macro_call.loop_step, &macro_call.result] {
                walk(part, bound, found);
            }
            bound.truncate(outer);
        }
        _ => {
            for part in parts(node) {
                walk(part, bound, found);
            }
        }
    }
}
