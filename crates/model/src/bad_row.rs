//! Bad rows: data that can never become an event, stored with its bytes for repair and replay.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::id::Id;
use crate::json::to_json;
use crate::time::{as_millis, as_optional_millis};

/// Maximum characters of a name in a bad row that is too large even without its payload. Only
/// records that no Tributary function wrote have such names.
const MAX_NAME_CHARS: usize = 1024;

/// Codes of bad rows. The list is closed because a code is a metric dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The record's data is not base64.
    BrokenBase64,
    /// The record is a KPL aggregate that is truncated or damaged.
    BrokenAggregate,
    /// The record, or the line of a JSON Lines file, is not one JSON object of the expected shape.
    InvalidJson,
    /// A JSON object names the same field twice.
    DuplicateField,
    /// No dataset has this name or this header.
    UnknownDataset,
    /// A record of the EVENTS stream is not an event.
    NotAnEvent,
    /// A required value is absent or empty.
    MissingField,
    /// A value should be a finite number, or a whole one, and is not.
    InvalidNumber,
    /// A number or a time is outside its valid range.
    OutOfRange,
    /// A value should be an existing date and time and is not.
    InvalidTime,
    /// A value is not in the closed list of its field.
    UnknownValue,
    /// The row has a column that the schema does not read, and the schema refuses those.
    UnknownColumn,
    /// The event would exceed the size limit of a stream record.
    EventTooLarge,
    /// A CSV row's quotes do not match.
    BrokenQuoting,
    /// A CSV row has more or fewer fields than the header has columns.
    WrongColumnCount,
    /// A row's bytes are not UTF-8.
    NotUtf8,
    /// A row holds a NUL byte.
    NulByte,
    /// A row, or the record made of it, exceeds the size limit of a record.
    RowTooLarge,
    /// The object holds no header and no row.
    EmptyObject,
    /// The header lacks a column that the dataset requires.
    MissingColumn,
    /// The header names the same column twice.
    DuplicateColumn,
    /// The header is larger, or has more columns, than any dataset allows.
    HeaderTooLarge,
    /// The object was deleted before it was read.
    ObjectMissing,
    /// The object was overwritten while it was read.
    ObjectChanged,
    /// The gzip stream ends too early.
    TruncatedGzip,
    /// The gzip stream is damaged.
    CorruptGzip,
    /// The gzip stream expands beyond the configured ratio.
    GzipRatio,
    /// A reading is too late for a window it belongs to.
    Late,
    /// A notification is of a kind of event that is not known to create or remove an object.
    UnknownEvent,
    /// A service refuses what the row becomes.
    Refused,
    /// The sender may not send rows of this entity.
    NotPermitted,
}

impl Code {
    /// All codes with their names in records and metrics, in the order of declaration.
    pub const ALL: [(Self, &'static str); 31] = [
        (Self::BrokenBase64, "broken_base64"),
        (Self::BrokenAggregate, "broken_aggregate"),
        (Self::InvalidJson, "invalid_json"),
        (Self::DuplicateField, "duplicate_field"),
        (Self::UnknownDataset, "unknown_dataset"),
        (Self::NotAnEvent, "not_an_event"),
        (Self::MissingField, "missing_field"),
        (Self::InvalidNumber, "invalid_number"),
        (Self::OutOfRange, "out_of_range"),
        (Self::InvalidTime, "invalid_time"),
        (Self::UnknownValue, "unknown_value"),
        (Self::UnknownColumn, "unknown_column"),
        (Self::EventTooLarge, "event_too_large"),
        (Self::BrokenQuoting, "broken_quoting"),
        (Self::WrongColumnCount, "wrong_column_count"),
        (Self::NotUtf8, "not_utf8"),
        (Self::NulByte, "nul_byte"),
        (Self::RowTooLarge, "row_too_large"),
        (Self::EmptyObject, "empty_object"),
        (Self::MissingColumn, "missing_column"),
        (Self::DuplicateColumn, "duplicate_column"),
        (Self::HeaderTooLarge, "header_too_large"),
        (Self::ObjectMissing, "object_missing"),
        (Self::ObjectChanged, "object_changed"),
        (Self::TruncatedGzip, "truncated_gzip"),
        (Self::CorruptGzip, "corrupt_gzip"),
        (Self::GzipRatio, "gzip_ratio"),
        (Self::Late, "late"),
        (Self::UnknownEvent, "unknown_event"),
        (Self::Refused, "refused"),
        (Self::NotPermitted, "not_permitted"),
    ];

    /// Returns the name used in records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reason a row was rejected, without its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The kind of fault.
    pub code: Code,
    /// The field at fault.
    pub field: Option<Cow<'static, str>>,
    /// Message for a person: lower case, no full stop.
    pub message: String,
}

impl Rejection {
    /// Creates a rejection of the row as a whole.
    pub fn row(code: Code, message: impl Into<String>) -> Self {
        Self { code, field: None, message: message.into() }
    }

    /// Creates a rejection of one field.
    pub fn field(code: Code, field: &'static str, message: impl Into<String>) -> Self {
        Self { code, field: Some(Cow::Borrowed(field)), message: message.into() }
    }
}

/// Origin of a bad row: its source position and arrival time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Origin<'a> {
    /// The dataset, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<&'a str>,
    /// Source position: `s3://bucket/key?versionId=v#offset=0&row=1`, or the shard and sequence
    /// number.
    pub source: Cow<'a, str>,
    /// Stable id of the source position: a row delivered twice is quarantined under one id.
    pub record_id: Cow<'a, str>,
    /// Shard of the record; absent at ingest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard_id: Option<&'a str>,
    /// Sequence number of the record; absent at ingest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence_number: Option<&'a str>,
    /// Arrival time of the record in the stream.
    #[serde(skip_serializing_if = "Option::is_none", with = "as_optional_millis")]
    pub arrived_at: Option<Timestamp>,
}

impl<'a> Origin<'a> {
    /// Returns the origin of a record whose own id cannot be read. Its position in the stream
    /// replaces the id.
    #[must_use]
    pub fn of_record(shard_id: &'a str, sequence_number: &'a str, arrived_at: Timestamp) -> Self {
        Self {
            dataset: None,
            source: Cow::Owned(format!("kinesis:{shard_id}#{sequence_number}")),
            record_id: Cow::Owned(Id::of_text(&[shard_id, sequence_number]).to_string()),
            shard_id: Some(shard_id),
            sequence_number: Some(sequence_number),
            arrived_at: Some(arrived_at),
        }
    }

    /// Returns the origin of the user record at `index` of a KPL aggregate whose own id cannot be
    /// read.
    #[must_use]
    pub fn of_user_record(
        shard_id: &'a str,
        sequence_number: &'a str,
        index: usize,
        arrived_at: Timestamp,
    ) -> Self {
        let record = Self::of_record(shard_id, sequence_number, arrived_at);
        let id = Id::of_text(&[shard_id, sequence_number, &index.to_string()]);
        Self {
            source: Cow::Owned(format!("{}.{index}", record.source)),
            record_id: Cow::Owned(id.to_string()),
            ..record
        }
    }
}

/// One line of the quarantine: the fault, the origin and the exact bytes.
#[derive(Debug, Serialize)]
pub struct BadRow<'a> {
    /// The kind of fault.
    pub code: Code,
    /// Message for a person.
    pub message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(flatten)]
    origin: &'a Origin<'a>,
    #[serde(with = "as_millis")]
    rejected_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl<'a> BadRow<'a> {
    /// Creates a bad row of `rejection` at `origin`. `payload` is the exact bytes, or `None` if
    /// they were too large to store.
    #[must_use]
    pub fn new(
        rejection: &'a Rejection,
        origin: &'a Origin<'a>,
        payload: Option<&[u8]>,
        now: Timestamp,
    ) -> Self {
        Self {
            code: rejection.code,
            message: &rejection.message,
            field: rejection.field.as_deref(),
            origin,
            rejected_at: now,
            payload_base64: payload.map(|bytes| base64_simd::STANDARD.encode_to_string(bytes)),
        }
    }

    /// Returns the bad row as one line of at most `max_bytes`, with its newline.
    ///
    /// A longer line loses its bytes: `source` says where they are. If it is still too long, its
    /// names are cut: a line that quarantine rejects would hold up its whole shard.
    #[must_use]
    pub fn to_line(mut self, max_bytes: usize) -> Vec<u8> {
        let mut line = to_json(&self);
        if line.len() >= max_bytes {
            self.payload_base64 = None;
            line = to_json(&self);
        }
        if line.len() >= max_bytes {
            let cut = |name| first_chars(name, MAX_NAME_CHARS);
            let origin = Origin {
                dataset: self.origin.dataset.map(cut),
                source: cut(&self.origin.source).into(),
                record_id: cut(&self.origin.record_id).into(),
                shard_id: self.origin.shard_id.map(cut),
                sequence_number: self.origin.sequence_number.map(cut),
                arrived_at: self.origin.arrived_at,
            };
            let (message, field) = (cut(self.message), self.field.map(cut));
            line = to_json(&BadRow { message, field, origin: &origin, ..self });
        }
        line.push('\n');
        line.into_bytes()
    }
}

/// Formats a value for a message: quoted, escaped, and cut after 64 characters.
#[must_use]
pub fn shown(value: &str) -> String {
    const MAX_CHARS: usize = 64;
    match first_chars(value, MAX_CHARS) {
        all if all.len() == value.len() => format!("{all:?}"),
        some => format!("{some:?}…"),
    }
}

/// Returns at most the first `max` characters.
#[must_use]
pub fn first_chars(text: &str, max: usize) -> &str {
    text.char_indices().nth(max).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_BYTES: usize = 1_000 * 1024;

    #[test]
    fn all_lists_every_named_code() {
        let source = include_str!("bad_row.rs");
        let (_, codes) = source.split_once("pub enum Code").unwrap();
        let (codes, _) = codes.split_once("\n}").unwrap();

        let declared = codes.lines().filter(|line| !line.contains("///") && line.ends_with(','));
        assert_eq!(Code::ALL.len(), declared.count());
        for (index, (code, name)) in Code::ALL.into_iter().enumerate() {
            assert_eq!((code as usize, code.as_str()), (index, name));
            assert_eq!(serde_json::to_value(code).unwrap(), name);
        }
    }

    fn line(payload: &[u8]) -> serde_json::Value {
        let rejection = Rejection::field(Code::OutOfRange, "Severity", "5 is not in 1 to 4");
        let origin = Origin::of_record("shardId-000000000000", "42", Timestamp::UNIX_EPOCH);
        let now = "2026-11-20T10:00:00.5Z".parse().unwrap();
        let line = BadRow::new(&rejection, &origin, Some(payload), now).to_line(MAX_BYTES);
        assert_eq!(line.last(), Some(&b'\n'));
        assert!(line.len() <= MAX_BYTES);
        serde_json::from_slice(&line).unwrap()
    }

    #[test]
    fn bad_row_keeps_its_exact_bytes() {
        let line = line(b"\xff,\"");

        insta::assert_json_snapshot!(line);
    }

    #[test]
    fn oversized_payload_is_left_out() {
        let line = line(&vec![b'x'; MAX_BYTES]);

        assert!(line.get("payload_base64").is_none());
        assert_eq!(line["source"], "kinesis:shardId-000000000000#42");
    }

    #[test]
    fn oversized_names_are_cut() {
        let rejection = Rejection::row(Code::InvalidJson, "is no JSON");
        let long = "\u{1}ü".repeat(MAX_BYTES / 8);
        let origin = Origin {
            dataset: Some(&long),
            source: long.as_str().into(),
            record_id: long.as_str().into(),
            ..Origin::default()
        };

        let bad_row = BadRow::new(&rejection, &origin, Some(b"x"), Timestamp::UNIX_EPOCH);
        let line = bad_row.to_line(MAX_BYTES);

        assert!(line.len() <= MAX_BYTES);
        let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(line["source"], "\u{1}ü".repeat(512));
        assert_eq!(line["code"], "invalid_json");
    }

    #[test]
    fn user_records_of_an_aggregate_have_distinct_ids() {
        let origin =
            |index| Origin::of_user_record("shardId-0", "42", index, Timestamp::UNIX_EPOCH);
        let record = Origin::of_record("shardId-0", "42", Timestamp::UNIX_EPOCH);

        assert_eq!(origin(7).source, "kinesis:shardId-0#42.7");
        assert_eq!(origin(7).sequence_number, Some("42"));
        assert_eq!(origin(7).record_id, origin(7).record_id);
        assert_ne!(origin(7).record_id, origin(8).record_id);
        assert_ne!(origin(0).record_id, record.record_id);
    }

    #[test]
    fn long_value_is_cut_in_message() {
        assert_eq!(shown("a\0"), "\"a\\0\"");
        assert_eq!(shown(&"é".repeat(100)).chars().count(), 64 + 3);
    }
}
