//! What a line of JSON Lines must be, and a look at one of its fields.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer as _, Error, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::value::RawValue;

use super::csv::{Line, Scanned, line_to};

/// A scan for one line.
#[derive(Debug, Default)]
pub(super) struct LineScan {
    at: usize,
}

impl LineScan {
    /// Forgets what has been seen of a line.
    pub(super) fn restart(&mut self) {
        self.at = 0;
    }

    /// Looks for the end of the line that begins with `bytes`, as
    /// [`Scan::row`](super::csv::Scan::row) does for the end of a CSV row.
    pub(super) fn line(&mut self, bytes: &[u8], at_end: bool, max_bytes: usize) -> Scanned {
        let window = &bytes[..bytes.len().min(max_bytes + 2)];
        let line = match memchr(b'\n', &window[self.at..]) {
            Some(length) => line_to(window, self.at + length),
            None if at_end && bytes.len() < max_bytes + 2 => Line::last(window),
            None if bytes.len() < max_bytes + 2 => {
                self.at = window.len();
                return Scanned::More;
            }
            None => Line { end: window.len(), next: window.len() },
        };
        self.at = 0;
        if line.end > max_bytes {
            return Scanned::TooLarge;
        }
        Scanned::Row { line, first_line: line }
    }
}

/// Says why a line is not one JSON object, if it is not.
///
/// What passes here can be read by anything built on `serde_json`: numbers are in range, strings
/// are text, and nothing is nested deeper than its limit of 128.
pub(super) fn fault(text: &str) -> Option<String> {
    let column = text.len() - text.trim_start_matches([' ', '\t', '\r']).len() + 1;
    if text.as_bytes().get(column - 1) != Some(&b'{') {
        return Some(format!("not a JSON object at column {column}"));
    }
    let error = serde_json::from_str::<Sound>(text).err()?;
    // Valid JSON can be more than is read. There is no kind for it, only words.
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
    Some(format!("{what} at column {}", error.column()))
}

/// A top-level string or number as text; the last, if there are several.
pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let raw = raw_field(text, name)?;
    match raw.as_bytes().first()? {
        b'"' => match raw.get(1..raw.len() - 1) {
            Some(inside) if !inside.contains('\\') => Some(Cow::Borrowed(inside)),
            _ => serde_json::from_str(raw).ok().map(Cow::Owned),
        },
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(raw)),
        _ => None,
    }
}

/// The text of a top-level value; the last, if there are several.
pub(super) fn raw_field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_map(Lookup(name)).ok()?.map(RawValue::get)
}

/// Any JSON value, read to its end and forgotten.
///
/// Unlike [`IgnoredAny`], which `serde_json` passes over without reading numbers and strings and
/// without a limit to nesting.
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

/// Finds the value of a key.
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

/// Whether a key is this name, without keeping it.
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
