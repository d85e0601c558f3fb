//! Simulated SNS topic: messages, and acknowledgements to their publisher.

use std::sync::Mutex;

use tributary_aws::put::{EntryResult, Limits};
use tributary_aws::sns::{self, Notification};

use super::Store;
use crate::{clock, lock};

/// Simulated topic.
#[derive(Debug, Default)]
pub struct SimTopic(Mutex<Vec<Message>>);

/// Message that subscribers received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Order in which the topic accepted it, by [`clock::stamp`].
    pub stamp: u64,
    /// Content of the message.
    pub notification: Notification,
    /// True if its publisher received the answer.
    pub is_acknowledged: bool,
}

impl SimTopic {
    /// Returns the messages that subscribers received, in order.
    pub fn messages(&self) -> Vec<Message> {
        lock(&self.0).clone()
    }
}

impl Store for SimTopic {
    type Entry = Notification;

    const OPERATION: &'static str = "sns:PublishBatch";

    fn limits(&self) -> Limits {
        sns::LIMITS
    }

    fn size(&self, entry: &Notification) -> usize {
        entry.message.len()
    }

    fn take(&self, entry: &Notification) -> EntryResult {
        let notification = entry.clone();
        let message = Message { stamp: clock::stamp(), notification, is_acknowledged: false };
        lock(&self.0).push(message);
        EntryResult::Stored
    }

    fn read(&self, verdicts: Vec<EntryResult>) -> Vec<EntryResult> {
        let ids: Vec<_> = (0..verdicts.len()).map(|index| index.to_string()).collect();
        let all = || ids.iter().map(String::as_str).zip(&verdicts);
        let successful = all().filter(|it| *it.1 == EntryResult::Stored).map(|it| it.0);
        let failed = all().rev().filter_map(|(id, verdict)| match verdict {
            EntryResult::Stored => None,
            EntryResult::Failed(code) => Some((id, code.as_str(), false)),
            EntryResult::Rejected(code) => Some((id, code.as_str(), true)),
        });
        sns::verdicts(ids.len(), successful, failed)
    }

    /// Of equal messages, acknowledges the latest.
    fn acknowledge(&self, entry: &Notification) {
        let mut state = lock(&self.0);
        let unanswered = |it: &&mut Message| !it.is_acknowledged && it.notification == *entry;
        if let Some(message) = state.iter_mut().rev().find(unanswered) {
            message.is_acknowledged = true;
        }
    }
}
