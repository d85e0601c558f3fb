//! Syntax tree of an expression: positions and classification of nodes.

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators};
use cel::{IdedExpr, Program};

use tributary_model::domain::Comparison;

/// Returns the byte that the parser records for a node: its first, or that of its operator.
pub(crate) fn own(program: &Program, node: &IdedExpr) -> Option<usize> {
    program.source_info().offset_for(node.id).map(|(start, _)| start as usize)
}

/// Returns the first byte of a node and its descendants.
pub(crate) fn start(program: &Program, node: &IdedExpr) -> usize {
    // The parts that a macro adds have no place of their own.
    let children = match &node.expr {
        Expr::Comprehension(of) => vec![&of.iter_range],
        _ => parts(node),
    };
    let inside = children.into_iter().map(|child| start(program, child));
    inside.chain(own(program, node)).min().unwrap_or_default()
}

/// Returns the children of a node.
pub(crate) fn parts(node: &IdedExpr) -> Vec<&IdedExpr> {
    match &node.expr {
        Expr::Select(select) => vec![&*select.operand],
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => entries(map.entries.iter().map(|it| &it.expr)),
        Expr::Struct(structure) => entries(structure.entries.iter().map(|it| &it.expr)),
        Expr::Comprehension(of) => {
            vec![&of.iter_range, &of.accu_init, &of.loop_cond, &of.loop_step, &of.result]
        }
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Vec::new(),
    }
}

fn entries<'e>(entries: impl Iterator<Item = &'e EntryExpr>) -> Vec<&'e IdedExpr> {
    let parts = |entry: &'e EntryExpr| match entry {
        EntryExpr::MapEntry(pair) => vec![&pair.key, &pair.value],
        EntryExpr::StructField(field) => vec![&field.value],
    };
    entries.flat_map(parts).collect()
}

/// Calls `visit` for each node, parents first, with the variables of the macros around it.
pub(crate) fn visit<'e>(
    node: &'e IdedExpr,
    bound: &mut Vec<&'e str>,
    visit_node: &mut impl FnMut(&'e IdedExpr, &[&'e str]),
) {
    visit_node(node, bound);
    let outer = bound.len();
    for (position, part) in parts(node).into_iter().enumerate() {
        if let Expr::Comprehension(of) = &node.expr
            && position == 2
        {
            // Range and initial value are outside of the loop.
            bound.extend([of.iter_var.as_str(), &of.accu_var]);
            bound.extend(of.iter_var2.as_deref());
        }
        visit(part, bound, visit_node);
    }
    bound.truncate(outer);
}

/// Returns the comparison operator of a call.
pub(crate) fn comparison(call: &CallExpr) -> Option<Comparison> {
    Some(match call.func_name.as_str() {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

/// Returns the condition of the macro `exists`.
pub(crate) fn exists(of: &ComprehensionExpr) -> Option<&IdedExpr> {
    let Expr::Literal(LiteralValue::Boolean(initial)) = &of.accu_init.expr else { return None };
    match &of.loop_step.expr {
        Expr::Call(CallExpr { func_name, args, .. }) if func_name == operators::LOGICAL_OR => {
            args.get(1).filter(|_| !*initial.inner() && of.iter_var2.is_none())
        }
        _ => None,
    }
}

/// Returns the value of a text literal.
pub(crate) fn text(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// Returns the path of an event field, `measures.severity` for `event.measures.severity` and for
/// `event.measures["severity"]`; "" for the event.
pub(crate) fn path(node: &IdedExpr) -> Option<String> {
    match &node.expr {
        Expr::Ident(name) if name == "event" => Some(String::new()),
        Expr::Select(select) if !select.test => Some(join(&path(&select.operand)?, &select.field)),
        Expr::Call(call) => match (call.func_name.as_str(), &call.args[..]) {
            (operators::INDEX, [object, index]) => Some(join(&path(object)?, text(index)?)),
            _ => None,
        },
        _ => None,
    }
}

/// Returns the path of a member of the object at `path`.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
