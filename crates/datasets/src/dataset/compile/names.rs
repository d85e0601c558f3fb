//! Checks names of fields and columns.

use std::collections::BTreeSet;

use toml::Spanned;

use super::{Compiled, fault};
use crate::schema::Names;

/// Maximum length of the name of a column, or of a path to it.
const MAX_COLUMN_BYTES: usize = 1_000;

pub(super) fn check_columns(columns: &Names, what: &str) -> Compiled<()> {
    let mut seen = BTreeSet::new();
    for column in &columns.0 {
        let length = column.get_ref().len();
        if column.get_ref().trim().is_empty() || length > MAX_COLUMN_BYTES {
            let message = format!(
                "`{what}` names a column of {length} bytes: a name has 1 to {MAX_COLUMN_BYTES}"
            );
            return fault(column.span(), message);
        }
        if !seen.insert(column.get_ref()) {
            let message = format!("`{what}` names column {:?} twice", column.get_ref());
            return fault(column.span(), message);
        }
    }
    Ok(())
}

pub(super) fn check_name(name: &Spanned<String>) -> Compiled<()> {
    if !is_name(name.get_ref(), false) {
        let message = format!(
            "{:?} is no name: it has a to z, digits and _, and begins with a letter",
            name.get_ref()
        );
        return fault(name.span(), message);
    }
    Ok(())
}

/// Returns `true` for a name of lower-case letters, digits and `_`, that begins with a letter.
pub(super) fn is_name(name: &str, is_dataset: bool) -> bool {
    let is_plain = |byte: u8| {
        byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || byte == b'_'
            || is_dataset && byte == b'-'
    };
    name.len() <= 64
        && name.starts_with(|it: char| it.is_ascii_lowercase())
        && name.bytes().all(is_plain)
}

/// Returns the message about an unknown name, with the known ones.
pub(super) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    match known {
        [] => format!("there is no {what} {name:?}, and no other"),
        known => format!("there is no {what} {name:?}: expected one of {}", known.join(", ")),
    }
}

pub(super) fn texts(names: &Names) -> Vec<String> {
    names.0.iter().map(|name| name.get_ref().clone()).collect()
}
