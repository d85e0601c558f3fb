//! Event source mappings: the way Lambda feeds streams, queues and topics to functions, as
//! documented.

pub mod kafka;
pub mod kinesis;
pub mod sqs;

use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::clock;

/// Result of a batch with `ReportBatchItemFailures`, from its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reported {
    /// No failures: the whole batch is done.
    Nothing,
    /// Lambda redelivers these items.
    Items(Vec<Value>),
    /// The answer is invalid: the whole batch failed.
    Everything,
}

impl Reported {
    /// Interprets an answer as Lambda does: an empty answer, an empty list, a null list and a null
    /// answer are success; an answer of another form is failure.
    ///
    /// See
    /// <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>.
    #[must_use]
    pub fn by(answer: &str) -> Self {
        if answer.trim().is_empty() {
            return Self::Nothing;
        }
        let Ok(answer) = serde_json::from_str::<Value>(answer) else { return Self::Everything };
        let failures = match &answer {
            Value::Null => return Self::Nothing,
            Value::Object(fields) if fields.is_empty() => return Self::Nothing,
            Value::Object(fields) => fields.get("batchItemFailures"),
            _ => None,
        };
        match failures {
            Some(Value::Null) => Self::Nothing,
            Some(Value::Array(items)) if items.is_empty() => Self::Nothing,
            Some(Value::Array(items)) => {
                let is_usable = |id: &&Value| !id.is_null() && id.as_str() != Some("");
                let id = |item: &Value| item.get("itemIdentifier").filter(is_usable).cloned();
                let ids: Option<Vec<_>> = items.iter().map(id).collect();
                ids.map_or(Self::Everything, Self::Items)
            }
            _ => Self::Everything,
        }
    }
}

/// Waits as a poller that finds nothing: until `changed`, then for the next multiple of `interval`.
/// A timer for each poll was half of the CPU time of a simulation.
async fn idle(interval: Duration, changed: impl Future<Output = ()>) {
    let begun = clock::elapsed();
    changed.await;
    let waited = clock::elapsed().saturating_sub(begun);
    let polls = waited.as_nanos().div_ceil(interval.as_nanos()).max(1);
    sleep((interval * u32::try_from(polls).unwrap_or(u32::MAX)).saturating_sub(waited)).await;
}

/// Returns the backoff before a retry. Lambda backs off without documenting the delays.
fn pause(attempt: u32) -> Duration {
    Duration::from_secs(1 << attempt.min(5))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documented_success_answers_are_success() {
        for answer in
            ["", "null", "{}", r#"{"batchItemFailures":[]}"#, r#"{"batchItemFailures":null}"#]
        {
            assert_eq!(Reported::by(answer), Reported::Nothing, "{answer}");
        }
    }

    #[test]
    fn malformed_answer_fails_the_batch() {
        for answer in [
            "[]",
            "\"ok\"",
            "{",
            r#"{"failures":[]}"#,
            r#"{"batchItemFailures":"1"}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
            r#"{"batchItemFailures":[{"id":"1"}]}"#,
        ] {
            assert_eq!(Reported::by(answer), Reported::Everything, "{answer}");
        }
    }

    #[test]
    fn reported_items_are_parsed() {
        let answer = r#"{"batchItemFailures":[{"itemIdentifier":"7"},{"itemIdentifier":"9"}]}"#;

        assert_eq!(Reported::by(answer), Reported::Items(vec![json!("7"), json!("9")]));
    }
}
