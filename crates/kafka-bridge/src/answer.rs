//! Answer of a function to a batch.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

use crate::batch::{Partition, Record};

/// First failed offset of each partition that was not delivered completely.
pub type FailedOffsets = BTreeMap<Partition, i64>;

/// Answer that does not show what was delivered: the batch counts as failed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BadAnswer {
    /// Text that is no JSON of the shape that Lambda reads.
    #[error("the answer is no list of batch item failures: {0}")]
    NotAnAnswer(String),
    /// Failure without partition or offset.
    #[error("a batch item failure names no partition and offset")]
    NoPosition,
    /// Failure of a record that was not in the batch.
    #[error("a batch item failure names {partition} offset {offset}, which was not in the batch")]
    NotInBatch {
        /// Partition in the answer.
        partition: String,
        /// Offset in the answer.
        offset: i64,
    },
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "batchItemFailures")]
    failures: Option<Vec<Failure>>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(rename = "itemIdentifier")]
    position: Option<Position>,
}

#[derive(Deserialize)]
struct Position {
    partition: Option<String>,
    offset: Option<i64>,
}

/// Parses the answer to `batch` as
/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html> defines it.
/// Nothing, null, and an empty or missing list are success. Of several failures of one partition,
/// the lowest offset counts.
///
/// # Errors
///
/// Returns an error if the answer does not identify a failure. Lambda then treats the whole batch
/// as failed.
pub fn read(text: &str, batch: &[Record]) -> Result<FailedOffsets, BadAnswer> {
    if text.trim().is_empty() {
        return Ok(FailedOffsets::new());
    }
    let answer: Option<Answer> =
        serde_json::from_str(text).map_err(|error| BadAnswer::NotAnAnswer(error.to_string()))?;
    let mut failed_offsets = FailedOffsets::new();
    for failure in answer.and_then(|it| it.failures).unwrap_or_default() {
        let Some(Position { partition: Some(name), offset: Some(offset) }) = failure.position
        else {
            return Err(BadAnswer::NoPosition);
        };
        let known = batch.iter().find(|it| it.offset == offset && it.partition.to_string() == name);
        let Some(record) = known else {
            return Err(BadAnswer::NotInBatch { partition: name, offset });
        };
        let resume_at = failed_offsets.entry(record.partition.clone()).or_insert(offset);
        *resume_at = offset.min(*resume_at);
    }
    Ok(failed_offsets)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn batch() -> Vec<Record> {
        let record = |partition, offset| Record {
            partition: Partition::new("a-b", partition),
            offset,
            json: "{}".into(),
            arrived: Instant::now(),
        };
        vec![record(0, 7), record(0, 8), record(11, 3), record(0, 9)]
    }

    fn failure(partition: &str, offset: i64) -> String {
        format!(r#"{{"itemIdentifier":{{"partition":"{partition}","offset":{offset}}}}}"#)
    }

    fn failures(list: &[String]) -> String {
        format!(r#"{{"batchItemFailures":[{}]}}"#, list.join(","))
    }

    #[test]
    fn nothing_to_report_is_success() {
        for text in ["", "null", "{}", r#"{"batchItemFailures":null}"#, &failures(&[])] {
            assert_eq!(read(text, &batch()), Ok(FailedOffsets::new()), "{text}");
        }
    }

    #[test]
    fn the_lowest_offset_of_each_partition_counts() {
        let text = failures(&[failure("a-b-0", 9), failure("a-b-11", 3), failure("a-b-0", 8)]);

        let failed_offsets = read(&text, &batch()).unwrap();

        let expected = [(Partition::new("a-b", 0), 8), (Partition::new("a-b", 11), 3)];
        assert_eq!(failed_offsets, FailedOffsets::from(expected));
    }

    #[test]
    fn failure_without_position_fails_the_batch() {
        for one in [
            "{}",
            r#"{"itemIdentifier":null}"#,
            r#"{"itemIdentifier":{}}"#,
            r#"{"itemIdentifier":{"partition":"a-b-0"}}"#,
            r#"{"identifier":{"partition":"a-b-0","offset":7}}"#,
        ] {
            let text = failures(&[failure("a-b-0", 7), one.to_owned()]);
            assert_eq!(read(&text, &batch()), Err(BadAnswer::NoPosition), "{one}");
        }
    }

    #[test]
    fn unknown_record_in_answer_fails_the_batch() {
        for one in [failure("a-b-0", 6), failure("a-b-11", 7), failure("a", 7), failure("", 7)] {
            let answer = read(&failures(&[one]), &batch());
            assert!(matches!(answer, Err(BadAnswer::NotInBatch { .. })), "{answer:?}");
        }
    }

    #[test]
    fn invalid_answer_fails_the_batch() {
        let as_for_kinesis = r#"{"batchItemFailures":[{"itemIdentifier":"7"}]}"#;
        for text in ["{", "7", "\"fine\"", r#"{"batchItemFailures":1}"#, as_for_kinesis] {
            let answer = read(text, &batch());
            assert!(matches!(answer, Err(BadAnswer::NotAnAnswer(_))), "{text}");
        }
    }
}
