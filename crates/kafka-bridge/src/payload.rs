//! Payload that Lambda sends to a function for a batch of a topic.
//!
//! Shape: <https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html>, for a self-managed
//! cluster: `eventSource` is `SelfManagedKafka`, and there is no ARN.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::batch::{Partition, Record};

/// Maximum number of bytes of a synchronous invocation.
pub const MAX_BYTES: usize = 6 * 1024 * 1024;

/// Record as the broker returns it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Name of the topic.
    pub topic: &'a str,
    /// Partition of the topic.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970, and the clock they are from.
    pub time: Time,
    /// Key; `None` if the record has none.
    pub key: Option<&'a [u8]>,
    /// Value; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in order; a name may occur twice.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Time of a record, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub enum Time {
    /// Unknown to the broker.
    None,
    /// Time of the producer's clock.
    Create(i64),
    /// Time of the broker's clock.
    LogAppend(i64),
}

impl Time {
    fn parts(self) -> (i64, &'static str) {
        match self {
            Self::None => (-1, "NO_TIMESTAMP_TYPE"),
            Self::Create(millis) => (millis, "CREATE_TIME"),
            Self::LogAppend(millis) => (millis, "LOG_APPEND_TIME"),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shape<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    timestamp_type: &'static str,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<Header<'a>>,
}

/// Header: an object of its name and its bytes.
struct Header<'a>(&'a str, Option<&'a [u8]>);

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The mapping is written in Java, whose bytes are signed.
        let bytes: Option<Vec<i8>> =
            self.1.map(|bytes| bytes.iter().map(|byte| byte.cast_signed()).collect());
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, &bytes)?;
        map.end()
    }
}

impl Message<'_> {
    /// Serializes the record for a payload.
    ///
    /// # Errors
    ///
    /// Returns no known error: text and numbers can always be serialized.
    pub fn json(&self) -> serde_json::Result<String> {
        let base64 = |bytes: &[u8]| base64_simd::STANDARD.encode_to_string(bytes);
        let (timestamp, timestamp_type) = self.time.parts();
        serde_json::to_string(&Shape {
            topic: self.topic,
            partition: self.partition,
            offset: self.offset,
            timestamp,
            timestamp_type,
            key: self.key.map(base64),
            value: self.value.map(base64),
            headers: self.headers.iter().map(|(name, bytes)| Header(name, *bytes)).collect(),
        })
    }
}

/// Returns the bytes of a payload without any record.
#[must_use]
pub fn frame(bootstrap: &str) -> usize {
    payload(bootstrap, &[]).len()
}

/// Returns the bytes that a partition adds to a payload besides its first record. Each further
/// record adds a comma.
#[must_use]
pub fn partition_frame(partition: &Partition) -> usize {
    // A quoted name, a colon, brackets and a comma. The name of a topic needs no escapes.
    partition.to_string().len() + r#""":[],"#.len()
}

/// Builds the payload of `batch`, whose records of one partition are in order.
#[must_use]
pub fn payload(bootstrap: &str, batch: &[Record]) -> String {
    let mut partitions: BTreeMap<&Partition, Vec<&str>> = BTreeMap::new();
    for record in batch {
        partitions.entry(&record.partition).or_default().push(&record.json);
    }
    let records: Vec<_> = partitions
        .into_iter()
        .map(|(partition, records)| format!(r#""{partition}":[{}]"#, records.join(",")))
        .collect();
    format!(
        r#"{{"eventSource":"SelfManagedKafka","bootstrapServers":{},"records":{{{}}}}}"#,
        serde_json::Value::from(bootstrap),
        records.join(",")
    )
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn record(message: &Message<'_>) -> Record {
        Record {
            partition: Partition::new(message.topic, message.partition),
            offset: message.offset,
            json: message.json().unwrap(),
            arrived: Instant::now(),
        }
    }

    #[test]
    fn a_payload_has_the_shape_that_lambda_sends() {
        let first = Message {
            topic: "telemetry",
            partition: 0,
            offset: 15,
            time: Time::Create(1_545_084_650_987),
            key: Some(b"device-1"),
            value: Some(b"{\"a\":1}"),
            headers: &[("trace", Some(&[0, 127, 128, 255])), ("trace", None)],
        };
        let tombstone =
            Message { offset: 16, time: Time::LogAppend(7), value: None, headers: &[], ..first };
        let bare = Message { partition: 1, time: Time::None, key: None, ..tombstone };
        let batch = [record(&first), record(&bare), record(&tombstone)];

        let payload: serde_json::Value =
            serde_json::from_str(&payload("127.0.0.1:9092", &batch)).unwrap();

        insta::assert_json_snapshot!(payload);
    }

    #[test]
    fn payload_size_is_predicted_exactly() {
        let message = Message {
            topic: "a",
            partition: 10,
            offset: 1,
            time: Time::None,
            key: None,
            value: Some(b"x"),
            headers: &[],
        };
        let other = Message { partition: 2, ..message };
        let batch = [record(&message), record(&other), record(&message)];

        let expected = frame("h:1")
            + partition_frame(&batch[0].partition)
            + partition_frame(&batch[1].partition)
            + batch.iter().map(|it| it.json.len()).sum::<usize>()
            + 1;
        // The last partition has no comma after it.
        assert_eq!(payload("h:1", &batch).len(), expected - 1);
    }
}
