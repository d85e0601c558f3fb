//! Syntax tree of an expression: positions and classification of nodes.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr, operators,
};
use cel::{IdedExpr, Program};

use super::{Code, Level};
use tributary_model::domain::Comparison;

/// Fault at a byte of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub level: Level,
    pub code: Code,
    pub offset: usize,
    pub message: String,
}

/// Returns the byte that the parser records for a node: its first, or that of its operator.
pub(super) fn own(program: &Program, node: &IdedExpr) -> Option<usize> {
    program.source_info().offset_for(node.id).map(|(start, _)| start as usize)
}

/// Returns the first byte of a node and its descendants.
pub(super) fn start(program: &Program, node: &IdedExpr) -> usize {
    let inside = children(node).into_iter().map(|child| start(program, child));
    inside.chain(own(program, node)).min().unwrap_or_default()
}

/// Returns the children of a node.
pub(crate) fn parts(node: &IdedExpr) -> Vec<&IdedExpr> {
    let entries = match &node.expr {
        Expr::Map(map) => &map.entries,
        Expr::Struct(structure) => &structure.entries,
        Expr::Comprehension(it) => {
            let of_macro = [&it.accu_init, &it.loop_cond, &it.loop_step, &it.result];
            return [&it.iter_range].into_iter().chain(of_macro).collect();
        }
        _ => return children(node),
    };
    let mut parts = Vec::new();
    for entry in entries {
        match &entry.expr {
            EntryExpr::MapEntry(pair) => parts.extend([&pair.key, &pair.value]),
            EntryExpr::StructField(field) => parts.push(&field.value),
        }
    }
    parts
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

/// Returns the comparison operator of a call.
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

/// Returns the operator and the operands of an operation.
pub(super) fn operation(node: &IdedExpr) -> Option<(&str, &[IdedExpr])> {
    let Expr::Call(CallExpr { func_name, target: None, args }) = &node.expr else { return None };
    Some((func_name, args))
}

/// Returns the operator and the operands of `&&`, `||` and `!`.
pub(super) fn connective(node: &IdedExpr) -> Option<(&str, &[IdedExpr])> {
    let connectives = [operators::LOGICAL_AND, operators::LOGICAL_OR, operators::LOGICAL_NOT];
    operation(node).filter(|(name, args)| connectives.contains(name) && !args.is_empty())
}

/// Returns the condition of `condition == true` and similar forms, and the value that it is
/// compared with.
pub(super) fn boolean_test(node: &IdedExpr) -> Option<(&IdedExpr, bool)> {
    let Expr::Call(call) = &node.expr else { return None };
    let is_equal = match comparison(call)? {
        Comparison::Equal => true,
        Comparison::NotEqual => false,
        _ => return None,
    };
    let [one, other] = &call.args[..] else { return None };
    let found = boolean(other).map(|truth| (one, truth)).or_else(|| Some((other, boolean(one)?)));
    found.map(|(condition, truth)| (condition, truth == is_equal))
}

/// Returns the macros `exists` and `exists_one` with their predicate.
pub(super) fn exists_macro(node: &IdedExpr) -> Option<(&ComprehensionExpr, &IdedExpr)> {
    let Expr::Comprehension(comprehension) = &node.expr else { return None };
    let is_false = boolean(&comprehension.accu_init) == Some(false);
    match connective(&comprehension.loop_step) {
        Some((operators::LOGICAL_OR, [_, predicate])) if is_false => {
            Some((comprehension, predicate))
        }
        _ => {
            let counts =
                matches!(comprehension.accu_init.expr, Expr::Literal(LiteralValue::Int(_)));
            filter_macro(node).filter(|_| counts)
        }
    }
}

/// Returns the macros `filter` and `exists_one` with their predicate.
pub(super) fn filter_macro(node: &IdedExpr) -> Option<(&ComprehensionExpr, &IdedExpr)> {
    let Expr::Comprehension(comprehension) = &node.expr else { return None };
    match operation(&comprehension.loop_step)? {
        (operators::CONDITIONAL, [predicate, ..]) => Some((comprehension, predicate)),
        _ => None,
    }
}

/// Returns true for a double literal.
pub(super) fn is_double(node: &IdedExpr) -> bool {
    matches!(node.expr, Expr::Literal(LiteralValue::Double(_)))
}

/// Returns the value of a boolean literal.
pub(super) fn boolean(node: &IdedExpr) -> Option<bool> {
    match &node.expr {
        Expr::Literal(LiteralValue::Boolean(value)) => Some(*value.inner()),
        _ => None,
    }
}

/// Returns the value of a text literal.
pub(super) fn text(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// Returns the path of an event field, `measures.severity` for `event.measures.severity` and for
/// `event.measures["severity"]`; "" for the event.
pub(super) fn path(node: &IdedExpr) -> Option<String> {
    let under = |operand: &IdedExpr, name: &str| {
        let path = path(operand)?;
        Some(if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") })
    };
    match &node.expr {
        Expr::Ident(name) if name == "event" => Some(String::new()),
        Expr::Select(select) if !select.test => under(&select.operand, &select.field),
        _ => match operation(node)? {
            (operators::INDEX, [operand, index]) => under(operand, text(index)?),
            _ => None,
        },
    }
}

/// Returns the path that `has` tests.
pub(super) fn tested(select: &SelectExpr) -> Option<String> {
    let path = path(&select.operand).filter(|_| select.test)?;
    Some(if path.is_empty() { select.field.clone() } else { format!("{path}.{}", select.field) })
}
