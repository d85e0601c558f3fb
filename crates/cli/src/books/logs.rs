//! Batch counts from the functions' logs: one line per batch, exact.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow};
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::operation::filter_log_events::FilterLogEventsError;
use jiff::Timestamp;
use serde::Deserialize;
use tributary_aws::clients::SdkConfig;
use tributary_model::counts::BatchCounts;
use tributary_operate::reconciliation::{FunctionSeries, TimeRange};

use crate::progress::Progress;
use crate::stack::{Stack, why};

/// Filter pattern: every batch line contains this word, and few other lines do.
const BATCH: &str = "batch";

/// Maximum delay, in milliseconds, between the time in a line and its arrival in the log.
const LATE_MS: i64 = 60_000;

/// Versions of the configuration that each function worked with.
pub(super) type Versions = BTreeMap<String, BTreeSet<String>>;

/// Reads the batch lines of all functions.
pub(super) async fn read(
    config: &SdkConfig,
    stack: &Stack,
    window: TimeRange,
) -> Result<(Vec<FunctionSeries>, Versions)> {
    let client = Client::new(config);
    let functions = stack.functions();
    let mut versions = BTreeMap::new();
    let mut progress = Progress::of_steps(functions.len() as u64, "logs");
    let mut found = Vec::new();
    for (name, function) in functions {
        let lines = lines(&client, &format!("/aws/lambda/{function}"), &name, window).await?;
        let used: BTreeSet<_> = lines.iter().filter_map(|line| line.config.clone()).collect();
        if !used.is_empty() {
            versions.insert(name.clone(), used);
        }
        let points = lines.into_iter().map(|line| (line.at, line.counts)).collect();
        found.push(FunctionSeries { name, points });
        progress.step();
    }
    Ok((found, versions))
}

async fn lines(
    client: &Client,
    group: &str,
    name: &str,
    window: TimeRange,
) -> Result<Vec<BatchLine>> {
    let first = window.since.checked_sub(window.slack).unwrap_or(window.since);
    let request = client.filter_log_events().log_group_name(group).filter_pattern(BATCH);
    let request = request.start_time(first.as_millisecond());
    let request = request.end_time(window.until.as_millisecond() + LATE_MS);
    let mut pages = request.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                let service = error.as_service_error();
                if service.is_some_and(FilterLogEventsError::is_resource_not_found_exception) {
                    // A function that was never invoked may have no log group.
                    return Ok(found);
                }
                return Err(anyhow!("the log {group} cannot be read: {}", why(&error)));
            }
        };
        let messages = page.events.into_iter().flatten().filter_map(|event| event.message);
        let lines = messages.filter_map(|message| parse_batch_line(&message));
        found.extend(lines.filter(|line| line.function == name));
    }
    Ok(found)
}

/// Line of one batch.
#[derive(Debug, PartialEq)]
struct BatchLine {
    function: String,
    at: Timestamp,
    counts: BatchCounts,
    /// Version of the configuration.
    config: Option<String>,
}

/// Parses a metrics log line of one batch. Returns `None` for any other log line.
fn parse_batch_line(line: &str) -> Option<BatchLine> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "_aws")]
        aws: Aws,
        function: String,
        config: Option<String>,
        #[serde(flatten)]
        counts: BatchCounts,
    }
    #[derive(Deserialize)]
    struct Aws {
        #[serde(rename = "Timestamp")]
        timestamp: i64,
    }
    let Line { aws, function, config, counts } = serde_json::from_str(line).ok()?;
    let at = Timestamp::from_millisecond(aws.timestamp).ok()?;
    Some(BatchLine { function, at, counts, config })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_batch_lines_are_parsed() {
        let line = r#"{"_aws":{"Timestamp":1795168800000,"CloudWatchMetrics":[]},"level":"INFO","function":"transform",
            "in":3,"out":2,"quarantined":1,"filtered":0,"late":0,"undelivered":0,"retried":0,"config":"6f1e","message":"batch","duration_ms":12}"#;

        let at = Timestamp::from_second(1_795_168_800).unwrap();
        let counts =
            BatchCounts { received: 3, delivered: 2, quarantined: 1, ..BatchCounts::default() };
        let config = Some("6f1e".to_owned());
        let parsed = BatchLine { function: "transform".to_owned(), at, counts, config };
        assert_eq!(parse_batch_line(line), Some(parsed));
        for line in [
            "",
            "{}",
            "START RequestId",
            r#"{"message":"batch"}"#,
            r#"{"_aws":{"Timestamp":1},"function":"transform","code":"x","quarantined":1,"message":"bad rows"}"#,
        ] {
            assert_eq!(parse_batch_line(line), None, "{line}");
        }
    }
}
