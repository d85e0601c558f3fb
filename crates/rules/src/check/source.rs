//! Positions of rules, fields and expressions in the text of an `alerts.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Spanned, Value};

/// Text of a rules file with the positions of its rules.
pub(super) struct Source<'t> {
    text: &'t str,
    rules: Vec<Located>,
}

/// A rule with the byte ranges of its keys and values.
type Located = Spanned<BTreeMap<Spanned<String>, Spanned<Value>>>;

#[derive(Default, Deserialize)]
struct File {
    #[serde(default)]
    rules: Vec<Located>,
}

impl<'t> Source<'t> {
    /// Finds the rules of `text`; none in invalid TOML or a file of another shape.
    pub(super) fn new(text: &'t str) -> Self {
        let file: File = toml::from_str(text).unwrap_or_default();
        Self { text, rules: file.rules }
    }

    /// Iterates over the rules as tables.
    pub(super) fn tables(&self) -> impl Iterator<Item = toml::Table> {
        self.rules.iter().map(|rule| {
            let fields = rule.get_ref().iter();
            fields.map(|(key, value)| (key.get_ref().clone(), value.get_ref().clone())).collect()
        })
    }

    /// Returns the id of a rule.
    pub(super) fn id(&self, rule: usize) -> Option<String> {
        Some(self.rules.get(rule)?.get_ref().get("id")?.get_ref().as_str()?.to_owned())
    }

    /// Returns line and column of a byte, see [`place`].
    pub(super) fn place(&self, offset: usize) -> (usize, usize) {
        place(self.text, offset)
    }

    /// Returns the first byte of a field's key, or of the rule if it lacks the field.
    pub(super) fn key(&self, rule: usize, field: &str) -> usize {
        let Some(rule) = self.rules.get(rule) else { return 0 };
        let field = rule.get_ref().get_key_value(field);
        field.map_or(rule.span().start, |(key, _)| key.span().start)
    }

    /// Returns the first byte of a field's value, or of the rule if it lacks the field.
    pub(super) fn value(&self, rule: usize, field: &str) -> usize {
        let Some(rule) = self.rules.get(rule) else { return 0 };
        rule.get_ref().get(field).map_or(rule.span().start, |value| value.span().start)
    }

    /// Returns the byte of the file at which the byte `offset` of a field's text is written.
    pub(super) fn inside(&self, rule: usize, field: &str, offset: usize) -> usize {
        let value = self.rules.get(rule).and_then(|rule| rule.get_ref().get(field));
        let written = value.and_then(|value| self.text.get(value.span()));
        self.value(rule, field) + written.map_or(0, |written| written_at(written, offset))
    }

    /// Returns the index of the rule that contains a byte.
    pub(super) fn rule_at(&self, offset: usize) -> Option<usize> {
        let starts = self.rules.iter().map(|rule| {
            let fields = rule.get_ref().iter();
            let ends = fields.flat_map(|(key, value)| [key.span().start, value.span().end]);
            rule.span().start..=ends.chain([rule.span().end]).max().unwrap_or_default()
        });
        starts.into_iter().position(|span| span.contains(&offset))
    }
}

/// Returns line and column of a byte, both from 1; the column counts characters.
pub(crate) fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (1 + before.matches('\n').count(), 1 + before[line_start..].chars().count())
}

/// Returns the byte of a TOML string, quotes and escapes included, at which the byte `offset` of
/// its value is written.
///
/// The forms: <https://toml.io/en/v1.1.0#string>.
#[must_use]
pub fn written_at(written: &str, offset: usize) -> usize {
    let (quotes, is_basic) = match written.as_bytes() {
        [b'"', b'"', b'"', ..] => (3, true),
        [b'\'', b'\'', b'\'', ..] => (3, false),
        [b'"', ..] => (1, true),
        _ => (1, false),
    };
    let mut at = quotes;
    if quotes == 3 {
        // A newline right after the quotes is no part of the value.
        let rest = &written[at..];
        at += if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
    }
    if !is_basic {
        return at + offset;
    }
    let mut value = 0;
    while value < offset && at < written.len() {
        let rest = &written[at..];
        let (length, stands_for) = match rest.strip_prefix('\\') {
            Some(escape) => escaped(escape),
            None => {
                let length = rest.chars().next().map_or(1, char::len_utf8);
                (length, length)
            }
        };
        at += length;
        value += stands_for;
    }
    at
}

/// Returns the length of an escape, backslash included, and the number of bytes it stands for.
fn escaped(escape: &str) -> (usize, usize) {
    let digits = match escape.as_bytes().first() {
        Some(b'x') => 2,
        Some(b'u') => 4,
        Some(b'U') => 8,
        // A line that goes on: what is blank up to the next text is no part of the value.
        Some(byte) if byte.is_ascii_whitespace() => {
            return (1 + escape.len() - escape.trim_start().len(), 0);
        }
        _ => return (2, 1),
    };
    let code = escape.get(1..=digits).and_then(|code| u32::from_str_radix(code, 16).ok());
    (2 + digits, code.and_then(char::from_u32).map_or(1, char::len_utf8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_byte_maps_to_its_source_position() {
        for written in [
            "'a == \"b\" && MARK'",
            "\"a == \\\"b\\\" && \\u00b0 MARK\"",
            "\"\\x41\\t\\U0001F600 ° MARK\"",
            "'''\na &&\n  MARK'''",
            "\"\"\"a && \\\n     b && MARK\"\"\"",
            "\"\"\"\n\\\"MARK\"\"\"",
            "'MARK'",
        ] {
            let text = format!("[[rules]]\nid = 'é'\nwhen = {written} # MARK\n");
            let value = text.parse::<toml::Table>().unwrap();
            let value = value["rules"][0]["when"].as_str().unwrap();
            let source = Source::new(&text);

            let at = source.inside(0, "when", value.find("MARK").unwrap());

            assert_eq!(&text[at..at + 4], "MARK", "{written}");
            assert_eq!(at, text.find("MARK").unwrap(), "{written}");
        }
    }

    #[test]
    fn position_counts_lines_and_characters() {
        let text = "[[rules]]\nid = 'é' # x\n\n[[rules]]\nid = 'b'\n";
        let source = Source::new(text);

        assert_eq!(source.place(0), (1, 1));
        assert_eq!(source.place(text.find('x').unwrap()), (2, 12));
        assert_eq!(source.place(source.key(1, "id")), (5, 1));
        assert_eq!(source.place(source.value(1, "id")), (5, 6));
        assert_eq!(source.place(source.key(1, "when")).0, 4);
        assert_eq!(source.rule_at(text.find("'b'").unwrap()), Some(1));
    }
}
