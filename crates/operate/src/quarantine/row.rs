//! A line of the quarantine, as it was written by [`tributary_model::bad_row`].

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};

use tributary_model::json::BorrowedText;
use tributary_model::time::as_rfc3339;
use tributary_rows::Position;

/// A bad row that is read back. Codes are text here: an older one, or one that a newer function
/// writes, should be shown too.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct QuarantinedRow<'a> {
    /// The kind of fault.
    #[serde(borrow)]
    pub code: Cow<'a, str>,
    /// What is wrong, for a person.
    #[serde(borrow)]
    pub message: Cow<'a, str>,
    /// The field that is at fault.
    #[serde(default, deserialize_with = "some_text")]
    pub field: Option<Cow<'a, str>>,
    /// The dataset, where it was known.
    #[serde(default, deserialize_with = "some_text")]
    pub dataset: Option<Cow<'a, str>>,
    /// Where the row was.
    #[serde(borrow)]
    pub source: Cow<'a, str>,
    /// The id of its record.
    #[serde(borrow)]
    pub record_id: Cow<'a, str>,
    /// The shard of the record, where the row had reached a stream.
    #[serde(default, deserialize_with = "some_text")]
    pub shard_id: Option<Cow<'a, str>>,
    /// The sequence number of the record, where the row had reached a stream.
    #[serde(default, deserialize_with = "some_text")]
    pub sequence_number: Option<Cow<'a, str>>,
    /// When the record arrived in its stream or topic.
    #[serde(default, deserialize_with = "some_time")]
    pub arrived_at: Option<Timestamp>,
    /// When the row was found to be bad.
    #[serde(with = "as_rfc3339")]
    pub rejected_at: Timestamp,
    /// The exact bytes; absent where there were too many, and where the row stands for all that is
    /// left of an object.
    #[serde(default, deserialize_with = "some_text")]
    pub payload_base64: Option<Cow<'a, str>>,
}

/// Where a bad row was met, which says what its bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind<'r> {
    /// A record of a stream: the bytes are the whole record.
    Record,
    /// An object: the bytes are one row of it, and of a CSV without its header.
    Object(ObjectPosition<'r>),
    /// A topic of Kafka: the bytes are the value.
    Topic(&'r str),
    /// The queue of objects: the bytes are a message that asks for none.
    Message,
    /// Somewhere else.
    Unknown,
}

/// A row of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectPosition<'r> {
    /// The bucket.
    pub bucket: &'r str,
    /// The key.
    pub key: &'r str,
    /// The version, where the bucket keeps versions.
    pub version_id: Option<&'r str>,
    /// The entity tag, where it does not.
    pub etag: Option<&'r str>,
    /// Where the row begins.
    pub position: Position,
}

impl<'a> QuarantinedRow<'a> {
    /// Reads one line.
    ///
    /// # Errors
    ///
    /// When it is no bad row.
    pub fn from_json(line: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }

    /// The exact bytes; `None` where they were not kept.
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let text = self.payload_base64.as_ref()?;
        base64_simd::STANDARD.decode_to_vec(text.as_bytes()).ok()
    }

    /// Where it was met.
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

/// `//bucket/key?versionId=v#offset=1234&row=12`. What a key may hold too is looked for from the end.
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

fn some_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let time =
        |text: Cow<'de, str>| text.parse().map_err(|_| de::Error::custom("not an RFC 3339 time"));
    some_text(deserializer)?.map(time).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_datasets::ingest::SourceName;
    use tributary_model::bad_row::{BadRow, Code, Origin, Rejection};

    fn line(origin: &Origin<'_>, payload: Option<&[u8]>) -> Vec<u8> {
        let rejection = Rejection::field(Code::OutOfRange, "Severity", "5 is \"not\" in 1 to 4");
        BadRow::new(&rejection, origin, payload, "2026-11-20T10:00:00.5Z".parse().unwrap())
            .to_line()
    }

    fn of_source(source: &str) -> Vec<u8> {
        line(&Origin { source: source.into(), ..Origin::default() }, None)
    }

    #[test]
    fn what_is_written_is_read_back() {
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
    fn a_row_of_an_object_says_which_version_and_where() {
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
    fn other_homes_are_told_by_their_sources() {
        for (source, home) in [
            ("kafka:prod.flood-readings-12#offset=345", SourceKind::Topic("prod.flood-readings")),
            ("kafka:flood-0", SourceKind::Topic("flood")),
            ("sqs:0195bc0e", SourceKind::Message),
            ("file:a.csv#offset=1&row=1", SourceKind::Unknown),
            ("s3://bucket", SourceKind::Unknown),
            ("", SourceKind::Unknown),
        ] {
            let line = of_source(source);
            assert_eq!(QuarantinedRow::from_json(&line).unwrap().source_kind(), home, "{source}");
        }
    }

    #[test]
    fn what_is_no_bad_row_is_told() {
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
