//! Payload that Lambda sends to a function for a batch of a topic.
//!
//! Shape: <https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html>, for a self-managed
//! cluster: `eventSource` is `SelfManagedKafka`, and there is no ARN.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::batch::{Partition, Record};

/// Maximum number of bytes of a synchronous invocation.
pub const MAX_BYTES: usize = 6 * 1024 * 1024;

/// Record as the broker returns it and as a payload has it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message<'a> {
    /// Name of the topic.
    pub topic: &'a str,
    /// Partition of the topic.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970; -1 if the broker does not know the time.
    pub timestamp: i64,
    /// Clock of the time: `CREATE_TIME`, `LOG_APPEND_TIME` or `NO_TIMESTAMP_TYPE`.
    pub timestamp_type: &'static str,
    /// Key; `None` if the record has none.
    pub key: Option<Base64<'a>>,
    /// Value; `None` for a tombstone.
    pub value: Option<Base64<'a>>,
    /// Headers in order; a name may occur twice.
    pub headers: &'a [Header<'a>],
}

/// Bytes as base64.
#[derive(Clone, Copy, Debug)]
pub struct Base64<'a>(pub &'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64_simd::STANDARD.encode_to_string(self.0))
    }
}

/// Header: an object of its name and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a>(pub &'a str, pub Option<&'a [u8]>);

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The mapping is written in Java, whose bytes are signed.
        let bytes: Option<Vec<i8>> =
            self.1.map(|bytes| bytes.iter().map(|byte| byte.cast_signed()).collect());
        serializer.collect_map([(self.0, bytes)])
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
            json: serde_json::to_string(message).unwrap(),
            arrived: Instant::now(),
        }
    }

    #[test]
    fn a_payload_has_the_shape_that_lambda_sends() {
        let first = Message {
            topic: "telemetry",
            partition: 0,
            offset: 15,
            timestamp: 1_545_084_650_987,
            timestamp_type: "CREATE_TIME",
            key: Some(Base64(b"device-1")),
            value: Some(Base64(b"{\"a\":1}")),
            headers: &[Header("trace", Some(&[0, 127, 128, 255])), Header("trace", None)],
        };
        let (timestamp, timestamp_type) = (7, "LOG_APPEND_TIME");
        let tombstone =
            Message { offset: 16, timestamp, timestamp_type, value: None, headers: &[], ..first };
        let (timestamp, timestamp_type) = (-1, "NO_TIMESTAMP_TYPE");
        let bare = Message { partition: 1, timestamp, timestamp_type, key: None, ..tombstone };
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
            timestamp: -1,
            timestamp_type: "NO_TIMESTAMP_TYPE",
            key: None,
            value: Some(Base64(b"x")),
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
