//! The Kinesis payload of a function, and the answer to it.
//!
//! `aws_lambda_events` rejects the whole payload if the data of one record is not base64, or if it
//! has the window state that AWS documents. These types accept both; a broken record is one bad
//! row.
//!
//! Shape: <https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html>.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64_simd::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

/// Kinesis payload of one invocation, borrowed from its JSON text.
#[derive(Debug, Deserialize)]
pub struct KinesisPayload<'a> {
    /// Records in the order of the shard.
    #[serde(borrow, rename = "Records", default)]
    pub records: Vec<KinesisRecord<'a>>,
    /// Set by an operator who gives late readings to their windows: see [`revising`]. Lambda's own
    /// payloads do not have it.
    #[serde(default)]
    pub revises_windows: bool,
}

/// Returns a Kinesis payload that asks `windows` to take readings however late they are.
///
/// # Errors
///
/// Fails when `payload` is no JSON object.
pub fn revising(payload: &str) -> Result<String, serde_json::Error> {
    let mut payload: BTreeMap<&str, &RawValue> = serde_json::from_str(payload)?;
    let flag = RawValue::from_string("true".to_owned())?;
    payload.insert("revises_windows", &flag);
    serde_json::to_string(&payload)
}

/// Returns a payload of events that asks `windows` to take them however late they are. The sequence
/// number of an event is its index.
///
/// # Errors
///
/// Fails if it cannot be serialized, which does not happen.
pub fn revising_with<'e>(
    events: impl IntoIterator<Item = &'e [u8]>,
    now: Timestamp,
) -> Result<String, serde_json::Error> {
    let record = |(index, event): (usize, &[u8])| {
        json!({"kinesis": {
            "data": STANDARD.encode_to_string(event),
            "sequenceNumber": index.to_string(),
            "approximateArrivalTimestamp": now.as_duration().as_secs_f64(),
        }})
    };
    let records: Vec<_> = events.into_iter().enumerate().map(record).collect();
    serde_json::to_string(&json!({"Records": records, "revises_windows": true}))
}

/// One record of a batch.
#[derive(Debug, Deserialize)]
pub struct KinesisRecord<'a> {
    /// `shardId-000000000000:<sequence number>`.
    #[serde(borrow, rename = "eventID", default)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    kinesis: KinesisData<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KinesisData<'a> {
    #[serde(borrow, default)]
    data: Cow<'a, str>,
    #[serde(borrow)]
    sequence_number: Cow<'a, str>,
    #[serde(default)]
    approximate_arrival_timestamp: f64,
}

impl<'a> KinesisPayload<'a> {
    /// Parses a payload.
    ///
    /// # Errors
    ///
    /// Fails when it is not a Kinesis payload, or a record has no sequence number to report it by.
    pub fn from_json(text: &'a str) -> Result<Self, serde_json::Error> {
        object(text)
    }
}

/// Parses a payload that must be a JSON object.
///
/// Serde also reads the fields of a struct from an array, and would accept `[]` as a batch without
/// records.
///
/// # Errors
///
/// Fails when the text is not a JSON object, or does not have the shape of `T`.
pub fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    if text.trim_ascii_start().starts_with('{') {
        serde_json::from_str(text)
    } else {
        Err(serde::de::Error::custom("not an object"))
    }
}

/// Payload of an `EventBridge` schedule.
///
/// Format: <https://docs.aws.amazon.com/eventbridge/latest/ref/events-structure.html>.
#[derive(Deserialize)]
struct Scheduled<'a> {
    #[serde(rename = "detail-type")]
    detail_type: &'a str,
}

/// Returns true for a payload that an `EventBridge` schedule sent.
#[must_use]
pub fn is_scheduled(payload: &str) -> bool {
    let scheduled = object::<Scheduled<'_>>(payload);
    scheduled.is_ok_and(|it| it.detail_type == "Scheduled Event")
}

impl KinesisRecord<'_> {
    /// Returns the sequence number, which identifies the record in its shard.
    #[must_use]
    pub fn sequence_number(&self) -> &str {
        &self.kinesis.sequence_number
    }

    /// Returns the shard of the record; empty where the payload does not name it.
    #[must_use]
    pub fn shard_id(&self) -> &str {
        self.event_id.split_once(':').map_or("", |(shard, _)| shard)
    }

    /// Returns the arrival time: when the stream accepted the record, to the millisecond.
    #[must_use]
    pub fn arrival_time(&self) -> Timestamp {
        // Saturates, and is checked below.
        let millis = (self.kinesis.approximate_arrival_timestamp * 1e3).round() as i64;
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Replaces the content of `bytes` with the record's data.
    ///
    /// # Errors
    ///
    /// Returns the text itself when it is not base64.
    pub fn decode_into(&self, bytes: &mut Vec<u8>) -> Result<(), &str> {
        bytes.clear();
        let data: &str = &self.kinesis.data;
        STANDARD.decode_append(data, bytes).map_err(|_| data)
    }
}

/// Response to a batch: empty, or the record at which the checkpoint of the shard must stay.
///
/// See <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BatchResponse<T = String> {
    /// Empty when the whole batch succeeded.
    #[serde(rename = "batchItemFailures")]
    pub batch_item_failures: Vec<BatchItemFailure<T>>,
}

/// One item that Lambda must redeliver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BatchItemFailure<T = String> {
    /// Sequence number of a record, or id of an SQS message.
    #[serde(rename = "itemIdentifier")]
    pub item_identifier: T,
}

impl<T> BatchResponse<T> {
    /// Returns the response that reports `items` as failed.
    pub fn failed(items: impl IntoIterator<Item = T>) -> Self {
        let failure = |item_identifier| BatchItemFailure { item_identifier };
        Self { batch_item_failures: items.into_iter().map(failure).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWED: &str = r#"{
        "Records": [{"eventID": "shardId-000000000006:42", "kinesis": {
            "kinesisSchemaVersion": "1.0", "partitionKey": "1", "sequenceNumber": "42",
            "data": "SGVsbG8=", "approximateArrivalTimestamp": 1545084650.987}}],
        "window": {"start": "2020-07-30T17:00:00Z", "end": "2020-07-30T17:05:00Z"},
        "state": {"1": 282, "2": {"nested": true}}, "isFinalInvokeForWindow": false}"#;

    #[test]
    fn payload_with_window_state_is_parsed() {
        let payload = KinesisPayload::from_json(WINDOWED).unwrap();

        let record = &payload.records[0];
        let mut bytes = b"old".to_vec();
        assert_eq!(record.decode_into(&mut bytes), Ok(()));
        assert_eq!(bytes, b"Hello");
        assert_eq!((record.shard_id(), record.sequence_number()), ("shardId-000000000006", "42"));
        assert_eq!(record.arrival_time().to_string(), "2018-12-17T22:10:50.987Z");
    }

    #[test]
    fn invalid_base64_is_returned_as_text() {
        let text = WINDOWED.replace("SGVsbG8=", "§§ not base64");
        let payload = KinesisPayload::from_json(&text).unwrap();

        assert_eq!(payload.records[0].decode_into(&mut Vec::new()), Err("§§ not base64"));
    }

    #[test]
    fn non_object_payload_is_rejected() {
        for text in ["[]", "[[]]", "7", "", "{"] {
            assert!(KinesisPayload::from_json(text).is_err(), "{text}");
        }
        assert!(KinesisPayload::from_json(" {\"Records\": []}").unwrap().records.is_empty());
    }

    #[test]
    fn empty_response_means_success() {
        let json = serde_json::to_string(&BatchResponse::<String>::default()).unwrap();
        assert_eq!(json, r#"{"batchItemFailures":[]}"#);

        let json = serde_json::to_string(&BatchResponse::failed(["42"])).unwrap();
        assert_eq!(json, r#"{"batchItemFailures":[{"itemIdentifier":"42"}]}"#);
    }
}
