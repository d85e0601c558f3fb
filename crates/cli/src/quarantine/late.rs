//! Late readings, which `windows` takes into windows that it has closed.

use anyhow::Result;
use aws_sdk_lambda::Client;
use jiff::Timestamp;
use tributary_aws::clients::SdkConfig;
use tributary_aws::parked::failed_items;
use tributary_aws::payload::revising_with;

use super::layer::Mark;
use crate::redrive::{client, invoke};

/// Maximum events of one invocation, and their bytes: below the 6 MB of a payload in base64.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_EVENTS: usize = 500;
const MAX_BYTES: usize = 3 * 1024 * 1024;

/// Sender of late readings to the function `windows` of a stack.
pub(super) struct LateReadings {
    lambda: Client,
    function: String,
    /// Events, each with the mark of its row.
    pending: Vec<(Vec<u8>, Mark)>,
}

/// Result of one invocation.
pub(super) struct Revised {
    /// Marks of the rows that are in their windows now.
    pub marks: Vec<Mark>,
    pub undelivered: u64,
    pub error: Option<String>,
}

impl LateReadings {
    pub(super) fn new(config: &SdkConfig, function: &str) -> Self {
        Self { lambda: client(config), function: function.to_owned(), pending: Vec::new() }
    }

    pub(super) fn add(&mut self, event: Vec<u8>, mark: Mark) {
        self.pending.push((event, mark));
    }

    /// Returns true if a further event could be too much for one invocation.
    pub(super) fn is_full(&self) -> bool {
        let bytes: usize = self.pending.iter().map(|(event, _)| event.len()).sum();
        self.pending.len() >= MAX_EVENTS || bytes >= MAX_BYTES
    }

    /// Invokes the function with the events, in the order of their rows.
    pub(super) async fn flush(&mut self) -> Result<Revised> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Ok(Revised { marks: Vec::new(), undelivered: 0, error: None });
        }
        let events = pending.iter().map(|(event, _)| event.as_slice());
        let payload = revising_with(events, Timestamp::now())?;
        let count = pending.len();
        let done = match invoke(&self.lambda, &self.function, &payload).await {
            // The function takes all events before the first that it reports.
            Ok(answer) => match failed_items(&answer) {
                Ok(failed) => {
                    let first = failed.iter().filter_map(|it| it.parse().ok()).min();
                    let why = format!("{} reports {} failures", self.function, failed.len());
                    Ok((first.unwrap_or(count), first.map(|_| why)))
                }
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        let (taken, error) = done.unwrap_or_else(|error| (0, Some(error)));
        let marks: Vec<_> = pending.into_iter().take(taken).map(|(_, mark)| mark).collect();
        Ok(Revised { undelivered: (count - marks.len()) as u64, marks, error })
    }
}
