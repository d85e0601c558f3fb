//! `tributary quarantine show`: bad rows, decoded.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::value::RawValue;
use tributary_model::time::millis;
use tributary_operate::quarantine::{QuarantinedRow, SourceKind};
use tributary_pipeline::transform::read_raw;
use tributary_rows::json_object;

use super::layer::State;

/// Bytes per line of a hex dump.
const HEX_BYTES: usize = 32;

/// Bad row as JSON. Its `payload` or `row`, if present, can be edited and given to `replay
/// --mended`.
#[derive(Debug, Serialize)]
pub(super) struct Decoded<'a> {
    record_id: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset: Option<&'a str>,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arrived_at: Option<String>,
    rejected_at: String,
    state: State,
    /// Reason why a replay left the row out.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<String>,
    /// Row as a JSON object, as it was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    /// Row as text, if it is not a JSON object.
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<String>,
    /// Bytes of the row, if it is not text either.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_hex: Option<String>,
}

impl<'a> Decoded<'a> {
    pub(super) fn of(row: &'a QuarantinedRow<'_>, state: State, left_out: Option<String>) -> Self {
        let mut decoded = Self {
            record_id: &row.record_id,
            code: &row.code,
            field: row.field.as_deref(),
            message: &row.message,
            dataset: row.dataset.as_deref(),
            source: &row.source,
            shard_id: row.shard_id.as_deref(),
            sequence_number: row.sequence_number.as_deref(),
            arrived_at: row.arrived_at.map(millis),
            rejected_at: millis(row.rejected_at),
            state,
            left_out,
            payload: None,
            row: None,
            bytes_hex: None,
        };
        let Some(bytes) = row.bytes() else { return decoded };
        let raw = match row.source_kind() {
            SourceKind::Record => read_raw(&bytes).ok(),
            _ => None,
        };
        let object = |text: &str| RawValue::from_string(text.to_owned()).ok();
        decoded.payload = match raw {
            Some(raw) => object(raw.payload.get()),
            None => json_object(&bytes, "row").ok().and_then(object),
        };
        if decoded.payload.is_none() {
            match String::from_utf8(bytes) {
                Ok(text) => decoded.row = Some(text),
                Err(error) => decoded.bytes_hex = Some(hex(error.as_bytes())),
            }
        }
        decoded
    }

    /// Returns the row as text for a terminal.
    pub(super) fn text(&self) -> serde_json::Result<String> {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, " {name:<16} {value}");
        };
        line("record id", self.record_id);
        let field = self.field.map(|field| format!(" of {field}")).unwrap_or_default();
        line("fault", &format!("{}{field}: {}", self.code, self.message));
        line("dataset", self.dataset.unwrap_or("-"));
        line("source", self.source);
        if let (Some(shard), Some(number)) = (self.shard_id, self.sequence_number) {
            line("place", &format!("{shard} {number}"));
        }
        if let Some(time) = &self.arrived_at {
            line("arrived", time);
        }
        line("rejected", &self.rejected_at);
        line("state", self.state.as_str());
        if let Some(payload) = &self.payload {
            let value: serde_json::Value = serde_json::from_str(payload.get())?;
            let pretty = serde_json::to_string_pretty(&value)?;
            let _ = writeln!(text, " payload\n   {}", pretty.replace('\n', "\n   "));
        } else if let Some(row) = &self.row {
            let _ = writeln!(text, " row\n   {}", shown(row));
        } else if let Some(bytes) = &self.bytes_hex {
            let _ = writeln!(text, " bytes\n{}", hex_lines(bytes));
        } else {
            let _ = writeln!(text, " bytes            were not stored");
        }
        Ok(text)
    }
}

/// Escapes control characters, which a terminal would interpret.
fn shown(row: &str) -> String {
    let mut text = String::with_capacity(row.len());
    for character in row.chars() {
        match character {
            '\n' => text.push_str("\n   "),
            '\t' => text.push('\t'),
            it if it.is_control() => text.extend(it.escape_default()),
            it => text.push(it),
        }
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Formats `hex` as lines of 32 bytes, with the ASCII characters beside them.
fn hex_lines(hex: &str) -> String {
    let pairs: Vec<_> = hex.as_bytes().chunks(2).collect();
    let mut text = String::new();
    for line in pairs.chunks(HEX_BYTES) {
        let digits: String = line.iter().map(|pair| String::from_utf8_lossy(pair)).collect();
        let byte = |pair: &&[u8]| {
            let digits = str::from_utf8(pair).unwrap_or_default();
            let byte = u8::from_str_radix(digits, 16).unwrap_or_default();
            if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' }
        };
        let ascii: String = line.iter().map(byte).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "   {digits:<64}  {ascii}");
    }
    text.trim_end().to_owned()
}
