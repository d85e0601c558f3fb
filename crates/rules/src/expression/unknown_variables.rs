//! Unknown variables of an expression.

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr};

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
        Expr::Select(select) => walk(&select.operand, bound, found),
        Expr::Call(call) => {
            for part in call.target.as_deref().into_iter().chain(&call.args) {
                walk(part, bound, found);
            }
        }
        Expr::List(list) => {
            for element in &list.elements {
                walk(element, bound, found);
            }
        }
        Expr::Map(map) => walk_entries(&map.entries, bound, found),
        Expr::Struct(structure) => walk_entries(&structure.entries, bound, found),
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
        Expr::Literal(_) | Expr::Unspecified => {}
    }
}

fn walk_entries<'e>(
    entries: &'e [cel::common::ast::IdedEntryExpr],
    bound: &mut Vec<&'e str>,
    found: &mut Vec<&'e str>,
) {
    for entry in entries {
        match &entry.expr {
            EntryExpr::StructField(field) => walk(&field.value, bound, found),
            EntryExpr::MapEntry(pair) => {
                walk(&pair.key, bound, found);
                walk(&pair.value, bound, found);
            }
        }
    }
}
