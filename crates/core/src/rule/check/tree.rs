//! The syntax tree of an expression: where its nodes are, and what the plain ones say.

use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, SelectExpr, operators};
use cel::{IdedExpr, Program};

use super::{Code, Level};
use crate::domain::Comparison;

/// What is wrong at a byte of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub level: Level,
    pub code: Code,
    pub offset: usize,
    pub message: String,
}

/// The byte that the parser notes for a node: its first, or that of its operator.
pub(super) fn own(program: &Program, node: &IdedExpr) -> Option<usize> {
    program.source_info().offset_for(node.id).map(|(start, _)| start as usize)
}

/// The first byte of a node and all that is in it.
pub(super) fn start(program: &Program, node: &IdedExpr) -> usize {
    let inside = children(node).into_iter().map(|child| start(program, child));
    inside.chain(own(program, node)).min().unwrap_or_default()
}

fn children(node: &IdedExpr) -> Vec<&IdedExpr> {
    match &node.expr {
        Expr::Select(select) => vec![&*select.operand],
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => {
            let entries = map.entries.iter().filter_map(|entry| match &entry.expr {
                EntryExpr::MapEntry(pair) => Some(&pair.key),
                EntryExpr::StructField(_) => None,
            });
            entries.collect()
        }
        Expr::Comprehension(comprehension) => vec![&comprehension.iter_range],
        Expr::Struct(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Vec::new(),
    }
}

/// The comparison that a call is.
pub(super) fn comparison(call: &CallExpr) -> Option<Comparison> {
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

/// A text that is written down.
pub(super) fn text(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// The path of a field of the event, `measures.severity` for `event.measures.severity` and for
/// `event.measures["severity"]`; "" for the event.
pub(super) fn path(node: &IdedExpr) -> Option<String> {
    let under = |operand: &IdedExpr, name: &str| {
        let path = path(operand)?;
        Some(if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") })
    };
    match &node.expr {
        Expr::Ident(name) if name == "event" => Some(String::new()),
        Expr::Select(select) if !select.test => under(&select.operand, &select.field),
        Expr::Call(CallExpr { func_name, target: None, args }) => match &args[..] {
            [operand, index] if func_name == operators::INDEX => under(operand, text(index)?),
            _ => None,
        },
        _ => None,
    }
}

/// The path that `has` asks for.
pub(super) fn tested(select: &SelectExpr) -> Option<String> {
    let path = path(&select.operand).filter(|_| select.test)?;
    Some(if path.is_empty() { select.field.clone() } else { format!("{path}.{}", select.field) })
}
