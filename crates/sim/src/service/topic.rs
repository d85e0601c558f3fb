//! An SNS topic: messages, and whether their publisher learnt of them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tributary_aws::put::{Limits, Verdict};
use tributary_aws::sns::{self, Notification};

use super::Store;

/// One topic.
#[derive(Debug, Default)]
pub struct SimTopic(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    messages: Vec<Notification>,
    acknowledged: usize,
}

impl SimTopic {
    /// What subscribers received, in order.
    pub fn messages(&self) -> Vec<Notification> {
        self.state().messages.clone()
    }

    /// How many messages there are of which no publisher learnt.
    pub fn unacknowledged(&self) -> usize {
        let state = self.state();
        state.messages.len().saturating_sub(state.acknowledged)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn take(&self, entry: &Notification) -> Verdict {
        self.state().messages.push(entry.clone());
        Verdict::Stored
    }

    fn read(&self, verdicts: Vec<Verdict>) -> Vec<Verdict> {
        let ids: Vec<_> = (0..verdicts.len()).map(|index| index.to_string()).collect();
        let all = || ids.iter().map(String::as_str).zip(&verdicts);
        let successful = all().filter(|it| *it.1 == Verdict::Stored).map(|it| it.0);
        let failed = all().rev().filter_map(|(id, verdict)| match verdict {
            Verdict::Stored => None,
            Verdict::Failed(code) => Some((id, code.as_str(), false)),
            Verdict::Refused(code) => Some((id, code.as_str(), true)),
        });
        sns::verdicts(ids.len(), successful, failed)
    }

    fn acknowledge(&self, _entry: &Notification) {
        self.state().acknowledged += 1;
    }
}
