//! Event source mapping of a queue.
//!
//! Rules: <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>. Lambda
//! deletes messages that are not reported as failed. Reported ones, or the whole batch if the
//! function fails, become visible again after the visibility timeout.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::task::spawn_local;

use super::{Reported, idle};
use crate::lambda::Lambda;
use crate::service::{Message, SimQueue};

const POLL: Duration = Duration::from_millis(500);

/// Simulated mapping of a queue.
pub struct SqsMapping {
    queue: SimQueue,
    lambda: Lambda,
    batch_size: usize,
    busy: Cell<usize>,
    /// Number of redelivered messages.
    pub redelivered: Cell<u64>,
    is_stopped: Cell<bool>,
}

impl SqsMapping {
    /// Creates a mapping of `queue` to `lambda`, with `ReportBatchItemFailures`.
    #[must_use]
    pub fn new(queue: SimQueue, lambda: Lambda, batch_size: usize) -> Rc<Self> {
        let (busy, redelivered) = (Cell::new(0), Cell::new(0));
        Rc::new(Self { queue, lambda, batch_size, busy, redelivered, is_stopped: Cell::new(false) })
    }

    /// Starts this many pollers, which run until stopped. Must run on a `LocalSet`.
    pub fn run(self: &Rc<Self>, pollers: usize) {
        for _ in 0..pollers.max(1) {
            spawn_local(self.clone().poll());
        }
    }

    /// Stops the mapping.
    pub fn stop(&self) {
        self.is_stopped.set(true);
        self.queue.wake_readers();
    }

    /// Returns true if no message is queued or being processed.
    pub fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.busy.get() == 0
    }

    async fn poll(self: Rc<Self>) {
        while !self.is_stopped.get() {
            let messages = self.queue.receive(self.batch_size);
            if messages.is_empty() {
                idle(POLL, self.queue.changed()).await;
                continue;
            }
            self.busy.set(self.busy.get() + 1);
            let again = messages.iter().filter(|message| message.receives > 1).count();
            self.redelivered.set(self.redelivered.get() + again as u64);
            for id in self.done(&messages).await {
                self.queue.delete(id);
            }
            self.busy.set(self.busy.get() - 1);
        }
    }

    /// Invokes the function and returns the ids of the completed messages.
    async fn done(&self, messages: &[Message]) -> Vec<u64> {
        let all = messages.iter().map(|message| message.id);
        let Ok(answer) = self.lambda.invoke(payload(messages)).await else { return Vec::new() };
        match Reported::by(&answer) {
            Reported::Nothing => all.collect(),
            Reported::Everything => Vec::new(),
            Reported::Items(items) => {
                let failed: Option<BTreeSet<u64>> =
                    items.iter().map(|item| item.as_str()?.parse().ok()).collect();
                // An id outside the batch fails the whole batch.
                let is_known = |id: &u64| all.clone().any(|known| known == *id);
                match failed.filter(|failed| failed.iter().all(is_known)) {
                    Some(failed) => all.filter(|id| !failed.contains(id)).collect(),
                    None => Vec::new(),
                }
            }
        }
    }
}

/// Returns the payload of a batch, as a function receives it.
fn payload(messages: &[Message]) -> String {
    let record = |message: &Message| {
        json!({
            "messageId": message.id.to_string(),
            "receiptHandle": format!("{}-{}", message.id, message.receives),
            "body": message.body,
            "attributes": {
                "ApproximateReceiveCount": message.receives.to_string(),
                "SentTimestamp": message.sent_ms.to_string(),
            },
            "messageAttributes": {},
            "md5OfBody": "",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:simulated",
            "awsRegion": "us-east-1",
        })
    };
    json!({ "Records": messages.iter().map(record).collect::<Vec<_>>() }).to_string()
}
