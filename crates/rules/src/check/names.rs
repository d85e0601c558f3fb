//! Names in expressions: unknown ones are reported with the closest name, or all names.

use cel::common::ast::{CallExpr, Expr, operators};
use cel::{IdedExpr, Program};

use super::{Code, Fault};
use crate::tree;
use tributary_model::domain::{Domain, Fields};

/// Supported functions besides operators and macros.
pub(super) const FUNCTIONS: [&str; 12] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "double",
    "int",
    "uint",
    "string",
    "bool",
    "bytes",
    "type",
    "dyn",
];

/// Maximum number of names in a message.
const MAX_SHOWN: usize = 12;

/// Maximum length in bytes of a text that is compared with names.
const MAX_SUGGESTION_BYTES: usize = 200;

/// Returns the unknown variables, fields, tags and functions of an expression.
pub(super) fn faults(fields: &Fields, program: &Program) -> Vec<Fault> {
    let mut faults = Vec::new();
    let start = |node| tree::start(program, node);
    tree::visit(program.expression(), &mut Vec::new(), &mut |node, bound| match &node.expr {
        Expr::Ident(name) if name != "event" && !bound.contains(&name.as_str()) => {
            let message = format!("names {name}, and only event is there");
            faults.push(Fault::error(Code::UnknownField, start(node), message));
        }
        Expr::Select(select) => {
            // The position of a selection is that of its dot.
            let dot = tree::own(program, node).filter(|_| !select.test);
            let offset = dot.map_or_else(|| start(node), |dot| dot + 1);
            faults.extend(unknown_member(fields, &select.operand, &select.field, offset));
        }
        Expr::Call(call) => match (call.func_name.as_str(), &call.args[..]) {
            (operators::INDEX, [object, index]) | (operators::IN, [index, object]) => {
                if let Some(name) = tree::text(index) {
                    faults.extend(unknown_member(fields, object, name, start(index)));
                }
            }
            (name, _) if name.starts_with(|first: char| first.is_ascii_alphabetic()) => {
                if let Some(message) = unknown_function(call) {
                    faults.push(Fault::error(Code::UnknownFunction, start(node), message));
                }
            }
            _ => {}
        },
        _ => {}
    });
    faults
}

/// Returns the fault of a name that an object, or the tags, do not have.
fn unknown_member(fields: &Fields, of: &IdedExpr, name: &str, offset: usize) -> Option<Fault> {
    let path = tree::path(of)?;
    let is_known = fields.domain(&tree::join(&path, name)).is_some();
    let message = match fields.domain(&path) {
        Some(Domain::Tags) if !fields.tags.contains(name) => {
            let names: Vec<_> = fields.tags.iter().map(String::as_str).collect();
            format!("{} has no tag {name:?}{}", fields.owner(), shown(&names, name))
        }
        Some(Domain::Object) if !is_known => no_field(fields, &path, name),
        None if path.is_empty() && !is_known => no_field(fields, &path, name),
        _ => return None,
    };
    Some(Fault::error(Code::UnknownField, offset, message))
}

fn unknown_function(call: &CallExpr) -> Option<String> {
    let name = call.func_name.as_str();
    if !FUNCTIONS.contains(&name) {
        return Some(format!("{name} is no function there is"));
    }
    let is_text_match = matches!(name, "contains" | "startsWith" | "endsWith");
    let is_known = match &call.target {
        Some(_) => call.args.len() == usize::from(is_text_match),
        None => call.args.len() == 1 && !is_text_match,
    };
    (!is_known).then(|| format!("{name} is called with other arguments than there are"))
}

/// Returns the message for an unknown field.
pub(super) fn no_field(fields: &Fields, path: &str, name: &str) -> String {
    let full = tree::join(path, name);
    format!("{} has no {full}{}", fields.owner(), shown(&fields.names(path), name))
}

/// Returns the closest name, or all names.
fn shown(names: &[&str], meant: &str) -> String {
    let mut alike: Vec<_> = names.iter().copied().filter(|name| name.starts_with(meant)).collect();
    let is_name = meant.len() <= MAX_SUGGESTION_BYTES;
    let near = names.iter().filter(|_| is_name).map(|name| (distance(name, meant), *name)).min();
    let near = near.filter(|(distance, name)| alike.is_empty() && *distance <= 1 + name.len() / 4);
    if let Some((_, name)) = near {
        return format!("; {name}?");
    }
    if alike.is_empty() {
        alike = names.to_vec();
    }
    let more = alike.len().saturating_sub(MAX_SHOWN);
    alike.truncate(MAX_SHOWN);
    match (alike.is_empty(), more) {
        (true, _) => "; it has none".to_owned(),
        (false, 0) => format!("; there are {}", alike.join(", ")),
        (false, more) => format!("; there are {} and {more} more", alike.join(", ")),
    }
}

/// Returns the Levenshtein distance.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<_> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (position, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = position + 1;
        for (at, with) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *with);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}
