//! Simulated SQS: a standard queue with a dead-letter queue.
//!
//! Rules: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/standard-queues.html>
//! and, for receive counts, the page on dead-letter queues in the same guide.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use tributary_aws::error::CallError;
use tributary_aws::sqs::Queue;

use crate::clock;
use crate::fault::{Fault, Faults};
use crate::injector::Remote;

/// Message in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Id of the message.
    pub id: u64,
    /// Body of the message.
    pub body: String,
    /// Time of day at which it was sent, in milliseconds of the Unix epoch.
    pub sent_ms: i64,
    /// Number of times it was received.
    pub receives: u32,
    visible_at: Duration,
}

/// Simulated standard queue: at-least-once delivery, unordered. Clones share state.
#[derive(Clone, Debug)]
pub struct SimQueue {
    remote: Remote<State>,
    visibility: Duration,
    max_receives: u32,
    pushed: Arc<Notify>,
}

#[derive(Clone, Debug, Default)]
struct State {
    sent: u64,
    messages: Vec<Message>,
    dead: Vec<Message>,
}

impl SimQueue {
    /// Creates a queue with this visibility timeout. A message is received at most `max_receives`
    /// times.
    #[must_use]
    pub fn new(faults: Faults, visibility: Duration, max_receives: u32) -> Self {
        let remote = Remote::new("sqs:SendMessage", faults);
        Self { remote, visibility, max_receives, pushed: Arc::default() }
    }

    /// Enqueues a message that becomes visible after `delay`.
    pub fn push(&self, body: String, delay: Duration) {
        self.remote.state().push(body, delay);
        self.wake_readers();
    }

    /// Waits until a message is pushed or becomes visible, or [`Self::wake_readers`] is called.
    pub async fn changed(&self) {
        let next = self.remote.state().messages.iter().map(|message| message.visible_at).min();
        let wait = next.map_or(Duration::MAX, |next| next.saturating_sub(clock::elapsed()));
        // An elapsed wait is a message that becomes visible.
        let _ = timeout(wait, self.pushed.notified()).await;
    }

    /// Ends every wait for a change.
    pub fn wake_readers(&self) {
        self.pushed.notify_waiters();
    }

    /// Receives up to `max` visible messages, in random order. Messages received too often move to
    /// the dead-letter queue.
    pub fn receive(&self, max: usize) -> Vec<Message> {
        let now = clock::elapsed();
        let faults = &self.remote.injector.faults;
        let mut received = Vec::new();
        let mut state = self.remote.state();
        while received.len() < max {
            let visible: Vec<_> = (0..state.messages.len())
                .filter(|&n| state.messages[n].visible_at <= now)
                .collect();
            let Some(&chosen) = visible.get(faults.below(visible.len())) else { break };
            if state.messages[chosen].receives >= self.max_receives {
                let dead = state.messages.swap_remove(chosen);
                state.dead.push(dead);
                continue;
            }
            let message = &mut state.messages[chosen];
            message.receives += 1;
            message.visible_at = now + self.visibility;
            received.push(message.clone());
        }
        received
    }

    /// Deletes a message. A standard queue may still deliver it again.
    pub fn delete(&self, id: u64) {
        let is_redelivered = self.remote.injector.faults.occurs(Fault::DuplicateMessage);
        let mut state = self.remote.state();
        if let Some(at) = state.messages.iter().position(|message| message.id == id) {
            if is_redelivered {
                let message = &mut state.messages[at];
                message.visible_at = clock::elapsed() + Duration::from_secs(5);
                message.receives = message.receives.saturating_sub(1);
            } else {
                state.messages.swap_remove(at);
            }
        }
    }

    /// Returns true if no message is left, visible or not.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remote.state().messages.is_empty()
    }

    /// Removes and returns the dead letters.
    #[must_use]
    pub fn take_dead_letters(&self) -> Vec<Message> {
        std::mem::take(&mut self.remote.state().dead)
    }
}

impl State {
    fn push(&mut self, body: String, delay: Duration) {
        let (id, visible_at) = (self.sent, clock::elapsed() + delay);
        self.sent += 1;
        let sent_ms = clock::now().as_millisecond();
        self.messages.push(Message { id, body, sent_ms, receives: 0, visible_at });
    }
}

impl Queue for SimQueue {
    async fn send(&self, body: String) -> Result<(), CallError> {
        // Readers wake as the message is stored: the caller may be killed before the answer.
        let push = |state: &mut State| {
            state.push(body, Duration::ZERO);
            self.wake_readers();
        };
        self.remote.call(push).await
    }
}
