//! What others set aside for us: batches that Lambda gave up on, records that Firehose could not deliver.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use tributary_model::json::BorrowedText;

/// A batch that an event source mapping gave up on, as Lambda writes it to an on-failure destination
/// that is a bucket: what it knows of the invocation, and the whole payload.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedBatch<'a> {
    /// The function, and perhaps its version.
    pub function_arn: Cow<'a, str>,
    /// Why Lambda gave up: `RetryAttemptsExhausted`, `RecordAgeExceeded`, …
    pub condition: Cow<'a, str>,
    /// What the function was to be invoked with.
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
    #[serde(borrow, default)]
    condition: Cow<'a, str>,
}

impl<'a> ParkedBatch<'a> {
    /// Reads the object that Lambda wrote. Its `payload` is JSON inside of a string.
    ///
    /// # Errors
    ///
    /// When it is no such object, or has no payload: a destination that is no bucket gets none.
    pub fn from_json(object: &'a [u8]) -> Result<Self, serde_json::Error> {
        let Envelope { request_context, payload } = serde_json::from_slice(object)?;
        let payload = match payload.get().as_bytes().first() {
            Some(b'"') => serde_json::from_str::<BorrowedText<'a>>(payload.get())?.0,
            _ => payload.get().into(),
        };
        let RequestContext { function_arn, condition } = request_context;
        Ok(Self { function_arn, condition, payload })
    }

    /// The name of the function: the part of `arn:aws:lambda:region:account:function:name[:version]`.
    #[must_use]
    pub fn function(&self) -> &str {
        self.function_arn.split(':').nth(6).unwrap_or(&self.function_arn)
    }
}

/// How many records a function says that it could not process, by its answer to a batch. Nothing,
/// `null`, and an object without failures say that all is done.
///
/// # Errors
///
/// When the answer is nothing that Lambda knows, which it takes for a failure of the whole batch.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>
pub fn failures(answer: &str) -> Result<usize, String> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "batchItemFailures", default)]
        failures: Option<Vec<serde::de::IgnoredAny>>,
    }
    if answer.trim().is_empty() {
        return Ok(0);
    }
    let read: Result<Option<Answer>, _> = serde_json::from_str(answer);
    let is_object_or_null = matches!(answer.trim_start().as_bytes().first(), Some(b'{' | b'n'));
    match read {
        Ok(answer) if is_object_or_null => {
            Ok(answer.and_then(|answer| answer.failures).map_or(0, |failures| failures.len()))
        }
        _ => Err("the answer is none to a batch".to_owned()),
    }
}

/// A record that Firehose could not convert or process, one line of an object below its error prefix.
///
/// <https://docs.aws.amazon.com/firehose/latest/dev/record-format-conversion-error-handling.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndeliveredRecord {
    /// The record.
    pub data: Vec<u8>,
    /// When it arrived, in milliseconds since 1970.
    pub arrived_at_ms: Option<i64>,
    /// What is wrong with it, or with the delivery.
    pub message: String,
}

impl UndeliveredRecord {
    /// Reads one line.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
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
    fn a_parked_batch_has_its_payload_in_a_string() {
        let batch = ParkedBatch::from_json(PARKED.as_bytes()).unwrap();

        assert_eq!(batch.function(), "dev-transform");
        assert_eq!(batch.condition, "RetryAttemptsExhausted");
        assert_eq!(batch.payload, r#"{"Records":[{"kinesis":{"data":"\u0041"}}]}"#);
    }

    #[test]
    fn what_is_no_parked_batch_is_told() {
        let without_payload = PARKED.replace("\"payload\"", "\"other\"");
        for object in ["", "{}", "[]", r#"{"payload":"x"}"#, &without_payload] {
            assert!(ParkedBatch::from_json(object.as_bytes()).is_err(), "{object}");
        }
    }

    #[test]
    fn an_answer_says_how_many_records_failed() {
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
            assert_eq!(failures(answer), failed, "{answer}");
        }
        for answer in ["7", "\"\"", "[]", "[null]", r#"{"batchItemFailures":7}"#, "no"] {
            assert!(failures(answer).is_err(), "{answer}");
        }
    }

    #[test]
    fn a_record_that_firehose_could_not_deliver_has_its_bytes() {
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
