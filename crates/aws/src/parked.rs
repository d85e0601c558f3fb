//! Parsers for parked data: batches that Lambda gave up on and records that Firehose could not
//! deliver.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use tributary_model::json::BorrowedText;

use crate::payload::{KinesisPayload, KinesisRecord};

/// Batch that an event source mapping gave up on.
///
/// Lambda writes it to an on-failure destination that is a bucket, with the invocation's context
/// and the whole payload.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedBatch<'a> {
    /// ARN of the function, with or without a version.
    pub function_arn: Cow<'a, str>,
    /// Payload of the failed invocation.
    pub payload: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "requestContext", borrow)]
    request_context: RequestContext<'a>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Deserialize)]
struct RequestContext<'a> {
    #[serde(rename = "functionArn", borrow)]
    function_arn: Cow<'a, str>,
}

impl<'a> ParkedBatch<'a> {
    /// Parses the object that Lambda wrote. Its `payload` is JSON within a string.
    ///
    /// # Errors
    ///
    /// Returns an error if the object is malformed or has no payload: only a bucket destination
    /// gets the payload.
    pub fn from_json(object: &'a [u8]) -> Result<Self, serde_json::Error> {
        let Envelope { request_context, payload } = serde_json::from_slice(object)?;
        let payload = match payload.get().as_bytes().first() {
            Some(b'"') => serde_json::from_str::<BorrowedText<'a>>(payload.get())?.0,
            _ => payload.get().into(),
        };
        Ok(Self { function_arn: request_context.function_arn, payload })
    }

    /// Returns the name of the function from
    /// `arn:aws:lambda:region:account:function:name[:version]`.
    #[must_use]
    pub fn function(&self) -> &str {
        self.function_arn.split(':').nth(6).unwrap_or(&self.function_arn)
    }
}

/// Returns the items that a function's answer to a batch reports as failed, as text.
///
/// An empty answer, `null` and an object without failures mean that the batch succeeded.
///
/// # Errors
///
/// Returns an error if Lambda would not accept the answer and would treat the whole batch as
/// failed.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>
pub fn failed_items(answer: &str) -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    struct Failure {
        #[serde(rename = "itemIdentifier", default)]
        item: Value,
    }
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "batchItemFailures", default)]
        failures: Option<Vec<Failure>>,
    }
    if answer.trim().is_empty() {
        return Ok(Vec::new());
    }
    let text = |failure: Failure| match failure.item {
        Value::String(item) => item,
        item => item.to_string(),
    };
    let read: Result<Option<Answer>, _> = serde_json::from_str(answer);
    let is_object_or_null = matches!(answer.trim_start().as_bytes().first(), Some(b'{' | b'n'));
    match read {
        Ok(answer) if is_object_or_null => {
            let failures = answer.and_then(|answer| answer.failures).unwrap_or_default();
            Ok(failures.into_iter().map(text).collect())
        }
        _ => Err("the answer is none to a batch".to_owned()),
    }
}

/// Returns the payload of a stream's batch without the records before the earliest failed one;
/// `None` if there are none before it, or the payload is of another kind.
///
/// The function did its work for these, so that a batch that is too long for one invocation comes
/// to its end in several.
#[must_use]
pub fn remaining(payload: &str, failed: &[String]) -> Option<String> {
    let mut batch: BTreeMap<&str, &RawValue> = serde_json::from_str(payload).ok()?;
    let records: Vec<&RawValue> = serde_json::from_str(batch.get("Records")?.get()).ok()?;
    let read = KinesisPayload::from_json(payload).ok()?;
    let is_failed = |it: &KinesisRecord<'_>| failed.iter().any(|item| item == it.sequence_number());
    let first = read.records.iter().position(is_failed).filter(|first| *first > 0)?;
    let rest = serde_json::value::to_raw_value(&records[first..]).ok()?;
    batch.insert("Records", &rest);
    serde_json::to_string(&batch).ok()
}

/// Record that Firehose could not convert or process: one line of an object under its error prefix.
///
/// <https://docs.aws.amazon.com/firehose/latest/dev/record-format-conversion-error-handling.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndeliveredRecord {
    /// Bytes of the record.
    pub data: Vec<u8>,
    /// Arrival time in milliseconds since 1970.
    pub arrived_at_ms: Option<i64>,
    /// Error message of Firehose.
    pub message: String,
}

impl UndeliveredRecord {
    /// Parses one line.
    ///
    /// # Errors
    ///
    /// Returns a message that names the fault of the line.
    pub fn from_json(line: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Line<'a> {
            #[serde(rename = "rawData", borrow)]
            raw_data: Cow<'a, str>,
            #[serde(rename = "arrivalTimestamp", default)]
            arrival: Option<i64>,
            #[serde(rename = "lastErrorMessage", alias = "errorMessage", borrow, default)]
            message: Cow<'a, str>,
        }
        let Line { raw_data, arrival, message } = serde_json::from_slice(line)
            .map_err(|error| format!("is no record that Firehose could not deliver: {error}"))?;
        let data = base64_simd::STANDARD
            .decode_to_vec(raw_data.as_bytes())
            .map_err(|_| "its rawData is not base64".to_owned())?;
        Ok(Self { data, arrived_at_ms: arrival, message: message.into_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARKED: &str = r#"{"requestContext":{"requestId":"c9b8fa9f","condition":"RetryAttemptsExhausted",
        "functionArn":"arn:aws:lambda:eu-central-1:123456789012:function:dev-transform:$LATEST","approximateInvokeCount":101},
        "responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},
        "version":"1.0","timestamp":"2026-11-20T06:00:00.000Z",
        "KinesisBatchInfo":{"shardId":"shardId-000000000000","batchSize":1},
        "payload":"{\"Records\":[{\"kinesis\":{\"data\":\"\\u0041\"}}]}"}"#;

    #[test]
    fn parked_batch_payload_is_json_in_string() {
        let batch = ParkedBatch::from_json(PARKED.as_bytes()).unwrap();

        assert_eq!(batch.function(), "dev-transform");
        assert_eq!(batch.payload, r#"{"Records":[{"kinesis":{"data":"\u0041"}}]}"#);
    }

    #[test]
    fn malformed_parked_batch_is_rejected() {
        let without_payload = PARKED.replace("\"payload\"", "\"other\"");
        for object in ["", "{}", "[]", r#"{"payload":"x"}"#, &without_payload] {
            assert!(ParkedBatch::from_json(object.as_bytes()).is_err(), "{object}");
        }
    }

    #[test]
    fn answer_lists_failed_records() {
        for (answer, failed) in [
            ("", Ok(0)),
            ("null", Ok(0)),
            ("{}", Ok(0)),
            (r#"{"batchItemFailures":[]}"#, Ok(0)),
            (r#"{"batchItemFailures":null}"#, Ok(0)),
            (r#"{"batchItemFailures":[{"itemIdentifier":"42"}]}"#, Ok(1)),
            (
                r#"{"batchItemFailures":[{"itemIdentifier":{"partition":"a-0","offset":1}},{}]}"#,
                Ok(2),
            ),
        ] {
            assert_eq!(failed_items(answer).map(|it| it.len()), failed, "{answer}");
        }
        for answer in ["7", "\"\"", "[]", "[null]", r#"{"batchItemFailures":7}"#, "no"] {
            assert!(failed_items(answer).is_err(), "{answer}");
        }
    }

    #[test]
    fn remaining_payload_begins_with_earliest_failure() {
        let record = |number: &u32| format!(r#"{{"kinesis":{{"sequenceNumber":"{number}"}}}}"#);
        let batch = |numbers: &[u32]| {
            let records: Vec<_> = numbers.iter().map(record).collect();
            format!(r#"{{"Records":[{}],"revises_windows":true}}"#, records.join(","))
        };
        let remaining = |failed: &[&str]| {
            let failed: Vec<_> = failed.iter().map(|it| (*it).to_owned()).collect();
            remaining(&batch(&[7, 8, 9]), &failed)
        };

        assert_eq!(remaining(&["9", "8"]), Some(batch(&[8, 9])));
        for (failed, why) in [("7", "no progress"), ("6", "another batch")] {
            assert_eq!(remaining(&[failed]), None, "{why}");
        }
        assert_eq!(super::remaining(r#"{"records":{}}"#, &["1".to_owned()]), None);
    }

    #[test]
    fn firehose_error_line_yields_record_bytes() {
        let line = r#"{"attemptsMade":1,"arrivalTimestamp":1795168800123,
            "lastErrorCode":"DataFormatConversion.ParseError","lastErrorMessage":"a \"map\"",
            "attemptEndingTimestamp":1795168801000,"rawData":"eyJhIjoxfQ==","sequenceNumber":"42",
            "subSequenceNumber":null,"dataCatalogTable":{"tableName":"events"}}"#;

        let record = UndeliveredRecord::from_json(line.as_bytes()).unwrap();

        assert_eq!(record.data, br#"{"a":1}"#);
        assert_eq!(record.arrived_at_ms, Some(1_795_168_800_123));
        assert_eq!(record.message, "a \"map\"");
        for line in ["", "{}", r#"{"rawData":"%"}"#, r#"{"rawData":7}"#] {
            assert!(UndeliveredRecord::from_json(line.as_bytes()).is_err(), "{line}");
        }
    }
}
