//! Suggestions for unknown names: all names, or the closest one.

use tributary_model::domain::Fields;

/// Maximum number of names in a message.
const MAX_SHOWN: usize = 12;

/// Maximum length in bytes of a text that is compared with names.
const MAX_SUGGESTION_BYTES: usize = 200;

/// Returns the message for an unknown field.
pub(super) fn no_field(fields: &Fields, path: &str, name: &str) -> String {
    let full = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    format!("{} has no {full}{}", fields.owner(), shown(&fields.names(path), name))
}

/// Returns the closest name, or all names.
pub(super) fn shown(names: &[&str], meant: &str) -> String {
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
