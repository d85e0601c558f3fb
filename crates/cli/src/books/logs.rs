//! Batch counts from the functions' logs: one line per batch, exact.

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

/// Reads the batch lines of all functions.
pub(super) async fn read(
    config: &SdkConfig,
    stack: &Stack,
    window: TimeRange,
) -> Result<Vec<FunctionSeries>> {
    let client = Client::new(config);
    let functions = stack.functions();
    let mut progress = Progress::of_steps(functions.len() as u64, "logs");
    let mut found = Vec::new();
    for (name, function) in functions {
        let points = points(&client, &format!("/aws/lambda/{function}"), &name, window).await?;
        found.push(FunctionSeries { name, points });
        progress.step();
    }
    Ok(found)
}

async fn points(
    client: &Client,
    group: &str,
    name: &str,
    window: TimeRange,
) -> Result<Vec<(Timestamp, BatchCounts)>> {
    let first = window.since.checked_sub(window.slack).unwrap_or(window.since);
    let request = client.filter_log_events().log_group_name(group).filter_pattern(BATCH);
    let request = request.start_time(first.as_millisecond());
    let request = request.end_time(window.until.as_millisecond() + LATE_MS);
    let mut pages = request.into_paginator().send();
    let mut points = Vec::new();
    while let Some(page) = pages.next().await {
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                let service = error.as_service_error();
                if service.is_some_and(FilterLogEventsError::is_resource_not_found_exception) {
                    // A function that was never invoked may have no log group.
                    return Ok(points);
                }
                return Err(anyhow!("the log {group} cannot be read: {}", why(&error)));
            }
        };
        let messages = page.events.into_iter().flatten().filter_map(|event| event.message);
        let lines = messages.filter_map(|message| parse_batch_line(&message));
        points.extend(lines.filter(|(it, ..)| it == name).map(|(_, at, counts)| (at, counts)));
    }
    Ok(points)
}

/// Parses a metrics log line of one batch into the function's name, the time and the counts.
///
/// Returns `None` for any other log line.
fn parse_batch_line(line: &str) -> Option<(String, Timestamp, BatchCounts)> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "_aws")]
        aws: Aws,
        function: String,
        #[serde(flatten)]
        counts: BatchCounts,
    }
    #[derive(Deserialize)]
    struct Aws {
        #[serde(rename = "Timestamp")]
        timestamp: i64,
    }
    let Line { aws, function, counts } = serde_json::from_str(line).ok()?;
    Some((function, Timestamp::from_millisecond(aws.timestamp).ok()?, counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_batch_lines_are_parsed() {
        let line = r#"{"_aws":{"Timestamp":1795168800000,"CloudWatchMetrics":[]},"level":"INFO","function":"transform",
            "in":3,"out":2,"quarantined":1,"filtered":0,"late":0,"undelivered":0,"retried":0,"message":"batch","duration_ms":12}"#;

        let at = Timestamp::from_second(1_795_168_800).unwrap();
        let counts =
            BatchCounts { received: 3, delivered: 2, quarantined: 1, ..BatchCounts::default() };
        assert_eq!(parse_batch_line(line), Some(("transform".to_owned(), at, counts)));
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
