//! Line of the quarantine, as written by [`tributary_model::bad_row`].

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use tributary_model::json::BorrowedText;
use tributary_model::time::{as_optional_millis, as_rfc3339};
use tributary_rows::Position;

/// Bad row read back from quarantine.
///
/// The code is text, so that codes of older and newer versions can be shown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct QuarantinedRow<'a> {
    /// Code of the fault.
    #[serde(borrow)]
    pub code: Cow<'a, str>,
    /// Message of the fault.
    #[serde(borrow)]
    pub message: Cow<'a, str>,
    /// Field at fault.
    #[serde(default, deserialize_with = "some_text")]
    pub field: Option<Cow<'a, str>>,
    /// Dataset, if known.
    #[serde(default, deserialize_with = "some_text")]
    pub dataset: Option<Cow<'a, str>>,
    /// Source of the row.
    #[serde(borrow)]
    pub source: Cow<'a, str>,
    /// Id of its record.
    #[serde(borrow)]
    pub record_id: Cow<'a, str>,
    /// Shard of the record, if the row had reached a stream.
    #[serde(default, deserialize_with = "some_text")]
    pub shard_id: Option<Cow<'a, str>>,
    /// Sequence number of the record, if the row had reached a stream.
    #[serde(default, deserialize_with = "some_text")]
    pub sequence_number: Option<Cow<'a, str>>,
    /// Arrival time of the record in its stream or topic.
    #[serde(default, with = "as_optional_millis")]
    pub arrived_at: Option<Timestamp>,
    /// Time at which the row was rejected.
    #[serde(with = "as_rfc3339")]
    pub rejected_at: Timestamp,
    /// Base64 of the exact bytes. Absent if they were too large, and if the row stands for the rest
    /// of an object.
    #[serde(default, deserialize_with = "some_text")]
    pub payload_base64: Option<Cow<'a, str>>,
}

/// Kind of source of a bad row, which determines the meaning of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind<'r> {
    /// Record of a stream: the bytes are the whole record.
    Record,
    /// Object: the bytes are one row of it, without the header of a CSV.
    Object(ObjectPosition<'r>),
    /// Kafka topic: the bytes are the value.
    Topic(&'r str),
    /// Queue of objects: the bytes are a message that names no object.
    Message,
    /// Any other source.
    Unknown,
}

/// Position of a row in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectPosition<'r> {
    /// Bucket of the object.
    pub bucket: &'r str,
    /// Key of the object.
    pub key: &'r str,
    /// Version of the object, in a versioned bucket.
    pub version_id: Option<&'r str>,
    /// Entity tag of the object, in an unversioned bucket.
    pub etag: Option<&'r str>,
    /// Start of the row.
    pub position: Position,
}

impl<'a> QuarantinedRow<'a> {
    /// Parses one line.
    ///
    /// # Errors
    ///
    /// Returns an error if the line is not a bad row.
    pub fn from_json(line: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }

    /// Returns the exact bytes, or `None` if they were not stored.
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let text = self.payload_base64.as_ref()?;
        base64_simd::STANDARD.decode_to_vec(text.as_bytes()).ok()
    }

    /// Returns the kind of source.
    #[must_use]
    pub fn source_kind(&self) -> SourceKind<'_> {
        if self.sequence_number.is_some() {
            return SourceKind::Record;
        }
        let (scheme, rest) = self.source.split_once(':').unwrap_or_default();
        match scheme {
            "s3" => object_position(rest).map_or(SourceKind::Unknown, SourceKind::Object),
            "kafka" => {
                let partition = rest.split_once("#offset=").map_or(rest, |(name, _)| name);
                SourceKind::Topic(partition.rsplit_once('-').map_or(partition, |(topic, _)| topic))
            }
            "sqs" => SourceKind::Message,
            _ => SourceKind::Unknown,
        }
    }
}

/// Parses `//bucket/key?versionId=v#offset=1234&row=12`.
///
/// Searches from the end, because a key may contain the same separators.
fn object_position(rest: &str) -> Option<ObjectPosition<'_>> {
    let (name, position) = rest.strip_prefix("//")?.rsplit_once("#offset=")?;
    let (offset, row) = position.split_once("&row=")?;
    let position = Position { offset: offset.parse().ok()?, row: row.parse().ok()? };
    let (name, version_id, etag) =
        match (name.rsplit_once("?versionId="), name.rsplit_once("?etag=")) {
            (Some((name, version)), _) => (name, Some(version), None),
            (None, Some((name, etag))) => (name, None, Some(etag)),
            (None, None) => return None,
        };
    let (bucket, key) = name.split_once('/')?;
    Some(ObjectPosition { bucket, key, version_id, etag, position })
}

fn some_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'de, str>>, D::Error> {
    Ok(Option::<BorrowedText<'de>>::deserialize(deserializer)?.map(|BorrowedText(text)| text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_datasets::ingest::SourceName;
    use tributary_model::bad_row::{BadRow, Code, Origin, Rejection};

    fn line(origin: &Origin<'_>, payload: Option<&[u8]>) -> Vec<u8> {
        let rejection = Rejection::field(Code::OutOfRange, "Severity", "5 is \"not\" in 1 to 4");
        BadRow::new(&rejection, origin, payload, "2026-11-20T10:00:00.5Z".parse().unwrap())
            .to_line(usize::MAX)
    }

    fn of_source(source: &str) -> Vec<u8> {
        line(&Origin { source: source.into(), ..Origin::default() }, None)
    }

    #[test]
    fn bad_row_round_trips() {
        let time = "2026-11-20T10:00:00Z".parse().unwrap();
        let origin = Origin::of_record("shardId-000000000000", "42", time);
        let line = line(&Origin { dataset: Some("accidents"), ..origin }, Some(b"\xff,\""));

        let row = QuarantinedRow::from_json(&line).unwrap();

        assert_eq!((&*row.code, &*row.message), ("out_of_range", "5 is \"not\" in 1 to 4"));
        assert_eq!(
            (row.field.as_deref(), row.dataset.as_deref()),
            (Some("Severity"), Some("accidents"))
        );
        assert_eq!(
            (row.shard_id.as_deref(), row.arrived_at),
            (Some("shardId-000000000000"), Some(time))
        );
        assert_eq!(row.bytes().as_deref(), Some(b"\xff,\"".as_slice()));
        assert_eq!(row.source_kind(), SourceKind::Record);
    }

    #[test]
    fn object_row_source_has_version_and_position() {
        for (key, version, etag) in [
            ("accidents/a b.csv", Some("v1"), None),
            ("a?versionId=x#offset=1&row=2", None, Some("\"e\"")),
        ] {
            let position = Position { offset: 1 << 40, row: 7 };
            let source = SourceName::s3("bucket", key, version, etag).at(position);
            let line = of_source(&source);

            let row = QuarantinedRow::from_json(&line).unwrap();

            let SourceKind::Object(place) = row.source_kind() else {
                panic!("{:?}", row.source_kind())
            };
            assert_eq!((place.bucket, place.position), ("bucket", position));
            if etag.is_none() {
                assert_eq!((place.key, place.version_id, place.etag), (key, version, etag));
            }
        }
    }

    #[test]
    fn source_scheme_determines_source_kind() {
        for (source, kind) in [
            ("kafka:prod.flood-readings-12#offset=345", SourceKind::Topic("prod.flood-readings")),
            ("kafka:flood-0", SourceKind::Topic("flood")),
            ("sqs:0195bc0e", SourceKind::Message),
            ("file:a.csv#offset=1&row=1", SourceKind::Unknown),
            ("s3://bucket", SourceKind::Unknown),
            ("", SourceKind::Unknown),
        ] {
            let line = of_source(source);
            assert_eq!(QuarantinedRow::from_json(&line).unwrap().source_kind(), kind, "{source}");
        }
    }

    #[test]
    fn malformed_bad_row_is_rejected() {
        for line in [
            "",
            "{}",
            "[]",
            r#"{"code":"x","message":"","source":"","record_id":"","rejected_at":"now"}"#,
        ] {
            assert!(QuarantinedRow::from_json(line.as_bytes()).is_err(), "{line}");
        }
    }
}
