//! Limits on the size of expressions: the parser and the check recurse into them, and an object in
//! S3 must neither delay a batch nor overflow the stack.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, operators};
use cel::{IdedExpr, Program};

use crate::tree;

/// Maximum nesting of brackets and `?:`.
const MAX_DEPTH: usize = 32;

/// Maximum number of consecutive operators, and of fields of fields.
const MAX_CHAIN: usize = 64;

/// Maximum number of nodes of a syntax tree; literals in a list do not count.
const MAX_NODES: usize = 2_000;

/// Maximum depth of a syntax tree.
const MAX_TREE_DEPTH: usize = 64;

/// Maximum number of list elements that the macros of an expression visit for one event.
const MAX_VISITS: u64 = 10_000;

/// Assumed length of a list that is not written down, such as the tags of an event.
const ASSUMED_LENGTH: u64 = 64;

/// Nesting counters at a point of a text, since a bracket, a comma or a connective.
#[derive(Clone, Copy, Default)]
struct Open {
    /// `?` in it: what comes after each is inside it.
    choices: usize,
    operators: usize,
    members: usize,
}

/// Returns the position and message of a text that is too deep to be parsed. Invalid CEL is left to
/// the parser.
pub(crate) fn of_text(text: &str) -> Option<(usize, String)> {
    let bytes = text.as_bytes();
    let (mut open, mut outer) = (Open::default(), Vec::<Open>::new());
    let mut at = 0;
    while at < bytes.len() {
        let here = at;
        at += 1;
        match bytes[here] {
            quote @ (b'"' | b'\'') => {
                let is_raw =
                    matches!(&bytes[..here], [.., b'r' | b'R'] | [.., b'r' | b'R', b'b' | b'B']);
                at = after_text(bytes, here, quote, is_raw);
            }
            b'/' if bytes.get(at) == Some(&b'/') => {
                at = bytes[at..]
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .map_or(bytes.len(), |end| at + end);
            }
            b'(' | b'[' | b'{' => {
                open.members += 1;
                outer.push(open);
                open = Open::default();
            }
            b')' | b']' | b'}' => open = outer.pop().unwrap_or_default(),
            b'?' => open = Open { choices: open.choices + 1, ..Open::default() },
            b':' | b'&' | b'|' => open = Open { choices: open.choices, ..Open::default() },
            b',' => open = Open::default(),
            b'.' => open.members += 1,
            byte if b"+-*/%<>!".contains(&byte) || bytes[here..].starts_with(b"==") => {
                open = Open { operators: open.operators + 1, members: 0, ..open };
            }
            _ => {}
        }
        let depth = outer.len() + open.choices + outer.iter().map(|it| it.choices).sum::<usize>();
        if depth > MAX_DEPTH {
            return Some((here, format!("is too deep: more than {MAX_DEPTH} brackets or choices")));
        }
        if open.operators > MAX_CHAIN || open.members > MAX_CHAIN {
            return Some((here, format!("is too long: more than {MAX_CHAIN} in a row")));
        }
    }
    None
}

/// The byte after a text that begins at `start`.
fn after_text(bytes: &[u8], start: usize, quote: u8, is_raw: bool) -> usize {
    let is_triple = bytes.get(start..start + 3) == Some(&[quote; 3][..]);
    let end: &[u8] = if is_triple { &[quote; 3] } else { &[quote] };
    let mut at = start + end.len();
    while at < bytes.len() {
        if bytes[at] == b'\\' && !is_raw {
            at += 2;
        } else if bytes[at..].starts_with(end) {
            return at + end.len();
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// Returns the position and message of a tree that is too large or too deep.
pub(crate) fn of_tree(program: &Program) -> Option<(usize, String)> {
    let mut nodes = 0;
    let mut open = vec![(program.expression(), 1)];
    while let Some((node, depth)) = open.pop() {
        nodes += 1;
        let fault = |message| Some((tree::own(program, node).unwrap_or_default(), message));
        if depth > MAX_TREE_DEPTH {
            return fault(format!("is too deep: more than {MAX_TREE_DEPTH} parts in each other"));
        }
        if nodes > MAX_NODES {
            return fault(format!("is too large: more than {MAX_NODES} parts"));
        }
        let is_list = matches!(node.expr, Expr::List(_));
        let counts = |part: &&IdedExpr| !(is_list && matches!(part.expr, Expr::Literal(_)));
        open.extend(tree::parts(node).into_iter().filter(counts).map(|part| (part, depth + 1)));
    }
    visits(program.expression()).err().map(|node| {
        let message = format!("costs too much: macros visit more than {MAX_VISITS} list elements");
        (tree::start(program, node), message)
    })
}

/// Returns the number of list elements that a part visits, or the macro that visits too many.
fn visits(node: &IdedExpr) -> Result<u64, &IdedExpr> {
    if let Expr::Comprehension(of) = &node.expr {
        let ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, .. } = &**of;
        let range = visits(iter_range)?;
        let length = match &iter_range.expr {
            // Elements that `map` and `+` make longer are as long as they cost.
            Expr::List(_) | Expr::Comprehension(_) => range,
            _ => range.saturating_add(ASSUMED_LENGTH),
        };
        let each = visits(accu_init)? + visits(loop_cond)? + visits(loop_step)? + visits(result)?;
        let all = length.saturating_mul(1 + each);
        return if all > MAX_VISITS { Err(node) } else { Ok(all) };
    }
    let (mut all, parts) = (0_u64, tree::parts(node));
    if matches!(node.expr, Expr::List(_)) {
        all = parts.len() as u64;
    }
    for part in parts {
        all = all.saturating_add(visits(part)?);
    }
    // A sum of texts or lists is as long as both: `x + x` in a chain of macros doubles each time.
    let is_sum =
        matches!(&node.expr, Expr::Call(CallExpr { func_name, .. }) if func_name == operators::ADD);
    Ok(if is_sum { all.max(1).saturating_mul(2) } else { all })
}

#[cfg(test)]
mod tests;
