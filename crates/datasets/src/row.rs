//! Reads a row, which is a JSON object, into the slots of the columns that a schema reads.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, Ordering};

use tributary_model::bad_row::{Code, Rejection, shown};
use tributary_model::json::find_quote_or_escape;

/// Maximum columns of a schema.
pub(crate) const MAX_COLUMNS: usize = 1_000;

/// A value of a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Value<'a> {
    /// The row does not have the column.
    #[default]
    Absent,
    /// JSON null.
    Null,
    /// A text, or `true` or `false`.
    Text(Cow<'a, str>),
    /// A JSON number as written.
    Number(&'a str),
    /// JSON text of an object or an array.
    Nested(&'a str),
}

/// Values of a row, by slot.
pub(crate) struct Row<'a> {
    values: Vec<Value<'a>>,
    /// Slots whose name in the row differs in case from the schema's.
    inexact: Vec<usize>,
    /// Name of the first column that the schema does not read.
    pub unknown: Option<Cow<'a, str>>,
}

/// Slots of the columns that a schema reads.
///
/// A column matches regardless of case, unless another one of the schema or of the row matches
/// exactly. A name with dots is also a path into nested objects.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    slots: usize,
    top: Level,
}

/// Names of one object.
#[derive(Debug, Default)]
struct Level {
    entries: Vec<Entry>,
    exact: HashMap<String, u16>,
    folded: HashMap<String, u16>,
    /// Entry that came first in the last row.
    first: AtomicU16,
}

#[derive(Debug)]
struct Entry {
    name: String,
    /// The name as it stands in a row: in quotes. Names with escapes are not found by it.
    quoted: String,
    slot: Option<usize>,
    inner: Option<Box<Level>>,
    /// Entry that followed this one in the last row. Rows of a feed have the same columns in the
    /// same order, so one comparison finds most names.
    next: AtomicU16,
}

impl<'a> Row<'a> {
    /// Returns the value of a slot.
    pub(crate) fn value(&self, slot: usize) -> &Value<'a> {
        &self.values[slot]
    }

    /// Returns the values of all slots.
    #[cfg(test)]
    pub(crate) fn values(self) -> Vec<Value<'a>> {
        self.values
    }
}

impl Columns {
    /// Returns the slot of a column, which it adds if necessary.
    pub(crate) fn slot(&mut self, column: &str) -> usize {
        let next = self.slots;
        let slot = *self.top.entry(column).slot.get_or_insert(next);
        if slot == next {
            self.slots += 1;
            let mut level = &mut self.top;
            let mut rest = column;
            while let Some((first, tail)) = rest.split_once('.') {
                level = level.entry(first).inner.get_or_insert_default();
                rest = tail;
            }
            if rest.len() < column.len() {
                level.entry(rest).slot.get_or_insert(slot);
            }
        }
        slot
    }

    /// Returns the number of slots.
    pub(crate) fn len(&self) -> usize {
        self.slots
    }

    /// Reads a payload, which must be a valid JSON object.
    ///
    /// # Errors
    ///
    /// [`Code::InvalidJson`] if it is none, [`Code::DuplicateField`] if it names a column twice.
    pub(crate) fn read<'a>(&self, payload: &'a str) -> Result<Row<'a>, Rejection> {
        let values = vec![Value::Absent; self.slots];
        let mut row = Row { values, inexact: Vec::new(), unknown: None };
        let mut cursor = Cursor { text: payload, at: 0 };
        if cursor.peek() != Some(b'{') {
            return Err(Rejection::row(Code::InvalidJson, "the payload is not an object"));
        }
        match self.top.read(&mut cursor, &mut row, true) {
            Ok(()) => Ok(row),
            Err(Broken::Json) => {
                let message = format!("the payload cannot be read at column {}", cursor.at + 1);
                Err(Rejection::row(Code::InvalidJson, message))
            }
            Err(Broken::Twice(name)) => Err(Rejection {
                code: Code::DuplicateField,
                field: Some(Cow::Owned(name.into_owned())),
                message: "is there more than once".into(),
            }),
        }
    }
}

impl Level {
    fn entry(&mut self, name: &str) -> &mut Entry {
        let next = u16::try_from(self.entries.len()).unwrap_or(u16::MAX);
        let at = *self.exact.entry(name.to_owned()).or_insert(next);
        if at == next {
            self.folded.entry(name.trim().to_lowercase()).or_insert(next);
            let is_escaped = name.contains('\\');
            let quoted = if is_escaped { "\0".to_owned() } else { format!("\"{name}\"") };
            let (name, next) = (name.to_owned(), AtomicU16::new(0));
            self.entries.push(Entry { name, quoted, slot: None, inner: None, next });
        }
        &mut self.entries[usize::from(at)]
    }

    /// Reads the object at the cursor.
    fn read<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        row: &mut Row<'a>,
        is_top: bool,
    ) -> Result<(), Broken<'a>> {
        cursor.at += 1;
        let mut guess = &self.first;
        if cursor.peek() == Some(b'}') {
            cursor.at += 1;
            return Ok(());
        }
        loop {
            let guessed = self.entries.get(usize::from(guess.load(Ordering::Relaxed)));
            let key = match guessed.and_then(|guessed| cursor.guess(&guessed.quoted)) {
                Some(key) => Cow::Borrowed(key),
                None => cursor.string().ok_or(Broken::Json)?,
            };
            cursor.expect(b':')?;
            match self.find(&key, guess) {
                Some(entry) => {
                    Self::store(entry, key, cursor, row)?;
                    guess = &entry.next;
                }
                None => {
                    cursor.raw().ok_or(Broken::Json)?;
                    if is_top && row.unknown.is_none() {
                        row.unknown = Some(key);
                    }
                }
            }
            match cursor.peek() {
                Some(b',') => cursor.at += 1,
                Some(b'}') => {
                    cursor.at += 1;
                    return Ok(());
                }
                _ => return Err(Broken::Json),
            }
        }
    }

    fn find(&self, key: &str, guess: &AtomicU16) -> Option<&Entry> {
        let guessed = self.entries.get(usize::from(guess.load(Ordering::Relaxed)));
        if let Some(entry) = guessed.filter(|entry| entry.name == key) {
            return Some(entry);
        }
        let exact = self.exact.get(key);
        let at = exact.or_else(|| self.folded.get(folded(key.trim(), &mut [0; 64]).as_ref()))?;
        guess.store(*at, Ordering::Relaxed);
        self.entries.get(usize::from(*at))
    }

    fn store<'a>(
        entry: &Entry,
        key: Cow<'a, str>,
        cursor: &mut Cursor<'a>,
        row: &mut Row<'a>,
    ) -> Result<(), Broken<'a>> {
        let start = cursor.at;
        if let (Some(inner), Some(b'{')) = (&entry.inner, cursor.peek()) {
            inner.read(cursor, row, false)?;
            if entry.slot.is_none() {
                return Ok(());
            }
            cursor.at = start;
        }
        let value = cursor.value().ok_or(Broken::Json)?;
        let Some(slot) = entry.slot else { return Ok(()) };
        let is_exact = entry.name == key;
        let was_exact = !row.inexact.contains(&slot);
        if !matches!(row.values[slot], Value::Absent) {
            match (is_exact, was_exact) {
                (false, true) => return Ok(()),
                (true, false) => {}
                _ => return Err(Broken::Twice(key)),
            }
        }
        if is_exact {
            row.inexact.retain(|inexact| *inexact != slot);
        } else {
            row.inexact.push(slot);
        }
        row.values[slot] = value;
        Ok(())
    }
}

/// Returns a name in lower case. A short one of ASCII needs no allocation: rows have many columns
/// that no schema reads.
fn folded<'b>(name: &str, buffer: &'b mut [u8; 64]) -> Cow<'b, str> {
    if let Some(short) = buffer.get_mut(..name.len()).filter(|_| name.is_ascii()) {
        short.copy_from_slice(name.as_bytes());
        short.make_ascii_lowercase();
        if let Ok(short) = std::str::from_utf8(short) {
            return Cow::Borrowed(short);
        }
    }
    Cow::Owned(name.to_lowercase())
}

/// Reason why a row cannot be read.
enum Broken<'a> {
    Json,
    /// This column occurs more than once.
    Twice(Cow<'a, str>),
}

/// Position in JSON text.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Skips blanks and returns the next byte.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), Broken<'a>> {
        if self.peek() != Some(byte) {
            return Err(Broken::Json);
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a string if it is `quoted`, and returns it without quotes.
    fn guess(&mut self, quoted: &str) -> Option<&'a str> {
        self.peek();
        let rest = self.text.get(self.at..)?;
        let text = rest.get(..quoted.len()).filter(|text| *text == quoted)?;
        self.at += quoted.len();
        text.get(1..text.len() - 1)
    }

    /// Reads a string; only one with escapes is copied.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let start = self.at;
        let is_escaped = self.skip_string()?;
        let raw = self.text.get(start..self.at)?;
        if is_escaped {
            return serde_json::from_str(raw).ok().map(Cow::Owned);
        }
        raw.get(1..raw.len() - 1).map(Cow::Borrowed)
    }

    /// Skips the string at the cursor. Returns `true` if it has escapes.
    fn skip_string(&mut self) -> Option<bool> {
        let bytes = self.text.as_bytes();
        let mut at = self.at + 1;
        let mut is_escaped = false;
        loop {
            at += find_quote_or_escape(bytes.get(at..)?)?;
            if bytes[at] == b'"' {
                self.at = at + 1;
                return Some(is_escaped);
            }
            is_escaped = true;
            at += 2;
        }
    }

    fn value(&mut self) -> Option<Value<'a>> {
        if self.peek()? == b'"' {
            return self.string().map(Value::Text);
        }
        let raw = self.raw()?;
        Some(match raw.as_bytes().first()? {
            b'{' | b'[' => Value::Nested(raw),
            b'n' => Value::Null,
            b't' | b'f' => Value::Text(Cow::Borrowed(raw)),
            b'-' | b'0'..=b'9' => Value::Number(raw),
            _ => return None,
        })
    }

    /// Skips a value and returns its text.
    fn raw(&mut self) -> Option<&'a str> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => {
                self.skip_string()?;
            }
            b'{' | b'[' => self.skip_nested()?,
            _ => {
                let rest = &self.text.as_bytes()[start..];
                let is_end =
                    |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
                self.at += rest.iter().position(is_end).unwrap_or(rest.len());
            }
        }
        self.text.get(start..self.at)
    }

    fn skip_nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match *self.text.as_bytes().get(self.at)? {
                b'"' => {
                    self.skip_string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}

/// Rejection of a row with a column that the schema does not read.
pub(crate) fn unknown_column(column: &str) -> Rejection {
    Rejection {
        code: Code::UnknownColumn,
        field: Some(Cow::Owned(column.to_owned())),
        message: format!(
            "the schema does not read {}, and `unknown_columns` refuses",
            shown(column)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Columns {
        let mut columns = Columns::default();
        for name in names {
            columns.slot(name);
        }
        columns
    }

    fn text(value: &str) -> Value<'_> {
        Value::Text(Cow::Borrowed(value))
    }

    #[test]
    fn columns_match_in_any_order_and_case() {
        let columns = columns(&["a", "Big", "big", "c"]);

        for (json, expected) in [
            (
                r#"{"a":1,"Big":"x","c":null}"#,
                [Value::Number("1"), text("x"), Value::Absent, Value::Null],
            ),
            (
                r#" { "C" : [1,"]"] , "big":"\u0041", "A":true }"#,
                [text("true"), Value::Absent, text("A"), Value::Nested(r#"[1,"]"]"#)],
            ),
            ("{}", Default::default()),
        ] {
            assert_eq!(
                columns.read(json).ok().map(Row::values).as_deref(),
                Some(&expected[..]),
                "{json}"
            );
        }
    }

    #[test]
    fn dotted_column_is_a_path() {
        let columns = columns(&["device.id", "device", "device.at.lat"]);

        let row = columns.read(r#"{"device":{"id":"d","at":{"lat":1}}}"#).ok().unwrap().values();
        assert_eq!(row[0], text("d"));
        assert!(matches!(row[1], Value::Nested(_)));
        assert_eq!(row[2], Value::Number("1"));
        let row = columns.read(r#"{"device.id":"flat"}"#).ok().unwrap().values();
        assert_eq!(row[0], text("flat"));
    }

    #[test]
    fn repeated_column_is_rejected() {
        let columns = columns(&["a"]);
        for json in [r#"{"a":1,"a":2}"#, r#"{"a":null,"a":2}"#, r#"{"A":1,"A":2}"#] {
            assert_eq!(columns.read(json).err().unwrap().code, Code::DuplicateField, "{json}");
        }
        assert!(columns.read(r#"{"b":1,"b":2,"a":1}"#).is_ok());
        for json in [r#"{"a":1,"A":2}"#, r#"{"A":2,"a":1}"#] {
            let values = columns.read(json).ok().unwrap().values();
            assert_eq!(values, [Value::Number("1")], "the exact name counts: {json}");
        }
    }

    #[test]
    fn broken_json_is_rejected() {
        let columns = columns(&["a"]);
        for json in [
            "",
            "[]",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":x}",
            "{\"a\":[}",
        ] {
            let rejection = columns.read(json).err();
            assert_eq!(rejection.map(|it| it.code), Some(Code::InvalidJson), "{json}");
        }
    }
}
