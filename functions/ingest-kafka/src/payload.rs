//! Kafka payload of a function, and the answer to it.
//!
//! A record of another shape fails alone: it is passed on as its JSON text. Shapes: <https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html> and, for the answer,
//! <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tributary_aws::payload::{BatchResponse, object};
use tributary_model::json::BorrowedText;

/// Payload of a batch of topics, borrowed from its JSON text.
#[derive(Debug, Default)]
pub struct KafkaPayload<'a> {
    /// Partitions of the batch.
    pub partitions: Vec<Partition<'a>>,
}

/// Records of one partition.
#[derive(Debug)]
pub struct Partition<'a> {
    /// `<topic>-<partition>`, the name by which the answer reports it.
    pub name: Cow<'a, str>,
    /// Positions of its records in the batch, which count those of the partitions before it.
    pub positions: Range<usize>,
    /// Records in the order of their offsets. One without an offset stays behind its predecessor.
    pub records: Vec<Received<'a>>,
    /// Offset by which each record is reported: its own, or that of the last record before it that
    /// has one.
    pub places: Vec<Option<i64>>,
}

/// Received record.
#[derive(Debug)]
pub enum Received<'a> {
    /// A record of the documented shape.
    Record(KafkaRecord<'a>),
    /// JSON of another shape, and its offset where that can be read.
    Unreadable(&'a str, Option<i64>),
}

/// Record of a partition. Its headers are not read: they are no part of a row.
#[derive(Debug, Deserialize)]
pub struct KafkaRecord<'a> {
    /// Topic.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// Number of the partition.
    pub partition: i64,
    /// Position in the partition.
    pub offset: i64,
    /// Milliseconds since 1970, by the clock of the producer or the broker.
    timestamp: Option<i64>,
    #[serde(borrow)]
    key: Option<BorrowedText<'a>>,
    #[serde(borrow)]
    value: Option<BorrowedText<'a>>,
}

/// Received value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Decoded into the buffer.
    Bytes,
    /// No value: a tombstone.
    Null,
    /// Text that is not base64.
    NotBase64(&'a str),
}

impl<'a> KafkaPayload<'a> {
    /// Parses a payload.
    ///
    /// # Errors
    ///
    /// Fails when it is no Kafka payload.
    pub fn from_json(text: &'a str) -> Result<Self, serde_json::Error> {
        Ok(match object::<Payload<'a, KafkaRecord<'a>>>(text) {
            Ok(payload) => Self::new(payload, Received::Record),
            // Parse record by record only where the payload needs it.
            Err(_) => Self::new(object(text)?, received),
        })
    }

    fn new<R>(payload: Payload<'a, R>, received: impl Fn(R) -> Received<'a> + Copy) -> Self {
        let mut start = 0;
        let partition = |(name, records): (_, Vec<R>)| {
            let partition = Partition::new(name, start, records.into_iter().map(received));
            start = partition.positions.end;
            partition
        };
        Self { partitions: payload.records.into_iter().map(partition).collect() }
    }
}

#[derive(Deserialize)]
struct Payload<'a, R> {
    #[serde(borrow)]
    records: BTreeMap<Cow<'a, str>, Vec<R>>,
}

fn received(json: &RawValue) -> Received<'_> {
    #[derive(Deserialize)]
    struct Position {
        offset: i64,
    }

    let json = json.get();
    match object(json) {
        Ok(record) => Received::Record(record),
        Err(_) => {
            let offset = object(json).map(|Position { offset }| offset);
            Received::Unreadable(json, offset.ok())
        }
    }
}

impl<'a> Partition<'a> {
    fn new(name: Cow<'a, str>, start: usize, records: impl Iterator<Item = Received<'a>>) -> Self {
        let mut last = None;
        let with_place = |record: Received<'a>| {
            last = match &record {
                Received::Record(record) => Some(record.offset),
                Received::Unreadable(_, offset) => offset.or(last),
            };
            (last, record)
        };
        let mut pairs: Vec<_> = records.map(with_place).collect();
        // Lambda sends them in order; sorting makes that a guarantee.
        pairs.sort_by_key(|(place, _)| *place);
        let positions = start..start + pairs.len();
        let (places, records) = pairs.into_iter().unzip();
        Self { name, positions, records, places }
    }
}

impl KafkaRecord<'_> {
    /// Returns the time at which the record was written, where it has one.
    #[must_use]
    pub fn arrival_time(&self) -> Option<Timestamp> {
        // Kafka writes -1 for a missing timestamp.
        let millis = self.timestamp.filter(|millis| *millis >= 0)?;
        Timestamp::from_millisecond(millis).ok()
    }

    /// Returns the key if it is text: not empty, and without control characters, which tell a
    /// binary key that happens to be UTF-8. `bytes` is scratch space.
    #[must_use]
    pub fn key_in<'b>(&self, bytes: &'b mut Vec<u8>) -> Option<&'b str> {
        bytes.clear();
        base64_simd::STANDARD.decode_append(self.key.as_ref()?.0.as_ref(), bytes).ok()?;
        let key = str::from_utf8(bytes).ok()?;
        (!key.is_empty() && !key.contains(char::is_control)).then_some(key)
    }

    /// Decodes the value into `bytes`, replacing its content.
    pub fn value_into(&self, bytes: &mut Vec<u8>) -> Value<'_> {
        bytes.clear();
        let Some(BorrowedText(value)) = &self.value else { return Value::Null };
        match base64_simd::STANDARD.decode_append(value.as_ref(), bytes) {
            Ok(()) => Value::Bytes,
            Err(_) => Value::NotBase64(value),
        }
    }
}

/// Answer to a batch, with the positions from which Lambda must redeliver partitions.
pub type KafkaResponse = BatchResponse<KafkaPosition>;

/// Position in a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KafkaPosition {
    /// `<topic>-<partition>`, as in the payload.
    pub partition: String,
    /// Offset of the first record to redeliver.
    pub offset: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &str = r#"{
        "eventSource": "aws:kafka", "eventSourceArn": "arn:aws:kafka:us-east-1:000000000000:cluster/c/1",
        "bootstrapServers": "b-1.example:9092",
        "records": {"telemetry-0": [
            {"topic": "telemetry", "partition": 0, "offset": 15, "timestamp": 1545084650987,
             "timestampType": "CREATE_TIME", "key": "ZGV2aWNlLTE=", "value": "e30=",
             "headers": [{"trace": [-1, 0, -2]}, {"none": null}]},
            {"topic": "telemetry", "partition": 0, "offset": 16, "timestamp": -1, "key": null, "value": null},
            {"topic": "telemetry", "partition": 0, "offset": 17, "key": "/w==", "value": "§", "headers": []},
            {"topic": "telemetry", "partition": 0, "offset": 18, "key": "AAAABw==", "value": ""}]}}"#;

    fn partition(records: &str) -> Partition<'_> {
        KafkaPayload::from_json(records).unwrap().partitions.remove(0)
    }

    #[test]
    fn null_keys_tombstones_and_binary_headers_are_read() {
        let (mut value, mut key) = (b"old".to_vec(), Vec::new());
        let partition = partition(PAYLOAD);
        let records: Vec<_> = partition
            .records
            .iter()
            .map(|record| match record {
                Received::Record(record) => {
                    let kind = match record.value_into(&mut value) {
                        Value::Bytes => String::from_utf8_lossy(&value).into_owned(),
                        other => format!("{other:?}"),
                    };
                    (record.offset, kind, record.key_in(&mut key).map(str::to_owned))
                }
                Received::Unreadable(json, _) => (-1, (*json).to_owned(), None),
            })
            .collect();

        assert_eq!(partition.name, "telemetry-0");
        assert_eq!(
            records,
            [
                (15, "{}".to_owned(), Some("device-1".to_owned())),
                (16, "Null".to_owned(), None),
                (17, "NotBase64(\"§\")".to_owned(), None),
                (18, String::new(), None),
            ]
        );
        let Received::Record(first) = &partition.records[0] else { unreachable!() };
        let Received::Record(second) = &partition.records[1] else { unreachable!() };
        assert_eq!(first.arrival_time().unwrap().to_string(), "2018-12-17T22:10:50.987Z");
        assert_eq!(second.arrival_time(), None);
    }

    #[test]
    fn unreadable_record_keeps_its_readable_position() {
        let partition = partition(
            r#"{"records": {"t-0": [{}, {"topic": "t", "partition": 0, "offset": 7},
                {"offset": 8, "topic": 5}, 9, {"topic": "t", "partition": 0, "offset": 10}]}}"#,
        );

        assert_eq!(partition.places, [None, Some(7), Some(8), Some(8), Some(10)]);
        let unreadable: Vec<_> = partition
            .records
            .iter()
            .map(|it| match it {
                Received::Unreadable(json, offset) => Some((*json, *offset)),
                Received::Record(_) => None,
            })
            .collect();
        let eight = r#"{"offset": 8, "topic": 5}"#;
        assert_eq!(
            unreadable,
            [Some(("{}", None)), None, Some((eight, Some(8))), Some(("9", None)), None]
        );
    }

    #[test]
    fn records_are_in_the_order_of_their_offsets() {
        let partition = partition(
            r#"{"records": {"t-0": [{"topic": "t", "partition": 0, "offset": 9}, 1,
                {"topic": "t", "partition": 0, "offset": 7}]}}"#,
        );

        assert_eq!(partition.places, [Some(7), Some(9), Some(9)]);
        assert!(matches!(partition.records[2], Received::Unreadable("1", None)));
    }

    #[test]
    fn what_is_no_kafka_payload_is_refused() {
        for text in [
            "7",
            "{}",
            "[{}]",
            r#"{"Records": []}"#,
            r#"{"records": []}"#,
            r#"{"records": {"t-0": {}}}"#,
        ] {
            assert!(KafkaPayload::from_json(text).is_err(), "{text}");
        }
        assert!(KafkaPayload::from_json(r#"{"records": {}}"#).unwrap().partitions.is_empty());
    }

    #[test]
    fn a_failure_names_partition_and_offset() {
        let position = KafkaPosition { partition: "telemetry-0".into(), offset: 15 };
        let response = KafkaResponse::failed([position]);

        let json = serde_json::to_string(&response).unwrap();

        let expected =
            r#"{"batchItemFailures":[{"itemIdentifier":{"partition":"telemetry-0","offset":15}}]}"#;
        assert_eq!(json, expected);
    }
}
