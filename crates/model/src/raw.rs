//! Raw record: a row as received, written by an ingest function for `transform`.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::json::push_json;
use crate::time::as_millis;

/// One record of the RAW stream.
///
/// ```json
/// {"dataset":"flood","record_id":"…","source":"s3://bucket/key?versionId=…#offset=1234&row=12",
///  "received_at":"2026-11-20T10:00:00.123Z","payload":{"sensor_id":"s-1"}}
/// ```
#[derive(Debug, Serialize, Deserialize)]
pub struct RawRecord<'a> {
    /// Name of the dataset.
    #[serde(borrow)]
    pub dataset: Cow<'a, str>,
    /// Hash of the source position: a second delivery has the same id.
    #[serde(borrow)]
    pub record_id: Cow<'a, str>,
    /// Source position, for operators and for replay: of an object as above, of a request
    /// `http:<dataset>/<client>#<key>&item=0`, of Kafka `kafka:<topic>-<partition>#offset=0`.
    #[serde(borrow)]
    pub source: Cow<'a, str>,
    /// Arrival time: when Tributary received the row.
    #[serde(with = "as_millis")]
    pub received_at: Timestamp,
    /// The row as received. A CSV row is an object of column name to string, without its empty
    /// fields.
    #[serde(borrow)]
    pub payload: &'a RawValue,
}

impl<'a> RawRecord<'a> {
    /// Reads a record of the RAW stream, borrowing everything from it.
    ///
    /// # Errors
    ///
    /// If the bytes are not one raw record.
    pub fn from_json(data: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(data)
    }
}

/// Writes raw records of one source. It renders the constant parts once and writes the payload in
/// place, without building a value per record.
#[derive(Debug)]
pub struct RawRecordWriter {
    head: Vec<u8>,
}

impl RawRecordWriter {
    /// Creates a writer for rows of `dataset`.
    #[must_use]
    pub fn new(dataset: &str) -> Self {
        let mut head = b"{\"dataset\":".to_vec();
        push_json(&mut head, dataset);
        head.extend_from_slice(b",\"record_id\":\"");
        Self { head }
    }

    /// Returns one record; `payload` appends one JSON object.
    pub fn write(
        &self,
        record_id: &str,
        source: &str,
        received_at: &str,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> Vec<u8> {
        let mut record = Vec::with_capacity(self.head.len() + source.len() + 1536);
        record.extend_from_slice(&self.head);
        record.extend_from_slice(record_id.as_bytes());
        record.extend_from_slice(b"\",\"source\":");
        push_json(&mut record, source);
        record.extend_from_slice(b",\"received_at\":\"");
        record.extend_from_slice(received_at.as_bytes());
        record.extend_from_slice(b"\",\"payload\":");
        payload(&mut record);
        record.push(b'}');
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_record_round_trips() {
        let source = "s3://b/k\"ü?versionId=v#offset=0&row=1";

        let record = RawRecordWriter::new("accidents").write(
            "00",
            source,
            "2026-11-20T10:00:00.123Z",
            |out| out.extend_from_slice(br#"{"ID":"A-1"}"#),
        );

        let read = RawRecord::from_json(&record).unwrap();
        assert_eq!(read.dataset, "accidents");
        assert_eq!(read.record_id, "00");
        assert_eq!(read.source, source);
        assert_eq!(read.received_at.to_string(), "2026-11-20T10:00:00.123Z");
        assert_eq!(read.payload.get(), r#"{"ID":"A-1"}"#);
    }
}
