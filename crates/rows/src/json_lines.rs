//! Checks lines of JSON Lines and looks up their fields.

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer as _, Error, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::value::RawValue;

use super::csv::Scanned;
use super::line::Line;

/// Scan for the end of one line.
#[derive(Debug, Default)]
pub(super) struct LineScan {
    at: usize,
}

impl LineScan {
    /// Discards the progress on the current line.
    pub(super) fn restart(&mut self) {
        self.at = 0;
    }

    /// Searches for the end of the line that starts at `bytes`, as
    /// [`Scan::row`](super::csv::Scan::row) does for a CSV row.
    pub(super) fn line(&mut self, bytes: &[u8], at_end: bool, max_bytes: usize) -> Scanned {
        let window = &bytes[..bytes.len().min(max_bytes + 2)];
        let overflows = bytes.len() >= max_bytes + 2;
        let line = match Line::first(window, self.at) {
            Ok(line) => line,
            Err(_) if overflows => Line { end: window.len(), next: window.len() },
            Err(_) if at_end => Line::last(window),
            Err(at) => {
                self.at = at;
                return Scanned::More;
            }
        };
        self.at = 0;
        if line.end > max_bytes {
            return Scanned::TooLarge;
        }
        Scanned::Row { line, first_line: line }
    }
}

/// Returns why `text`, a line of JSON Lines or text from any source, is not one JSON object, or
/// `None` if it is. Lines and columns are counted from 1, columns in bytes.
///
/// Any reader built on `serde_json` can read what passes here: numbers are in range, strings are
/// UTF-8, and nesting stays below the limit of 128.
#[must_use]
pub fn object_fault(text: &str) -> Option<String> {
    let column = text.len() - text.trim_start_matches([' ', '\t', '\r']).len() + 1;
    if text.as_bytes().get(column - 1) != Some(&b'{') {
        return Some(format!("not a JSON object at column {column}"));
    }
    let error = serde_json::from_str::<Sound>(text).err()?;
    // `serde_json` rejects some valid JSON: numbers out of range, deep nesting. It exposes no kind
    // for them, only a message.
    let said = error.to_string();
    let what = if error.is_eof() {
        "JSON that ends too early"
    } else if said.starts_with("number out of range") {
        "a number too large"
    } else if said.starts_with("recursion limit exceeded") {
        "JSON that is nested 128 deep or more"
    } else {
        "not valid JSON"
    };
    let (mut line, mut column) = (error.line(), error.column());
    if column == 0 && line > 1 {
        // `serde_json` counts an LF to the line after it.
        line -= 1;
        column = text.split('\n').nth(line - 1).map_or(0, str::len) + 1;
    }
    Some(match line {
        0 | 1 => format!("{what} at column {column}"),
        line => format!("{what} at line {line}, column {column}"),
    })
}

/// Returns a top-level string or number of a JSON object as text. If a name occurs more than once,
/// the last value counts.
#[must_use]
pub fn object_field<'a>(text: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let raw = object_value(text, name)?;
    match raw.as_bytes().first()? {
        b'"' => match raw.get(1..raw.len() - 1) {
            Some(inside) if !inside.contains('\\') => Some(Cow::Borrowed(inside)),
            _ => serde_json::from_str(raw).ok().map(Cow::Owned),
        },
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(raw)),
        _ => None,
    }
}

/// Returns the JSON text of a top-level value of an object. If a name occurs more than once, the
/// last value counts.
#[must_use]
pub fn object_value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_map(Lookup(name)).ok()?.map(RawValue::get)
}

/// Any JSON value, parsed to its end and dropped.
///
/// [`IgnoredAny`] does not do: `serde_json` skips over it without parsing numbers and strings and
/// without a nesting limit.
struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Sound)
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Sound>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<Sound, Sound>()?.is_some() {}
        Ok(self)
    }
}

/// Visitor that finds the value of a key.
struct Lookup<'n>(&'n str);

impl<'de> Visitor<'de> for Lookup<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(wanted) = map.next_key_seed(Is(self.0))? {
            if wanted {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Seed that compares a key with a name without storing the key.
struct Is<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}
