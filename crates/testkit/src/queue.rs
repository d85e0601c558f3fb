//! A queue in memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tributary_aws::error::CallError;
use tributary_aws::sqs::Queue;

/// Keeps the messages it is sent.
#[derive(Debug, Default)]
pub struct MemoryQueue {
    messages: Mutex<Vec<String>>,
    down: bool,
}

impl MemoryQueue {
    /// A queue that takes nothing.
    #[must_use]
    pub fn down() -> Self {
        Self { down: true, ..Self::default() }
    }

    /// Takes all messages out.
    pub fn drain(&self) -> Vec<String> {
        std::mem::take(&mut self.messages())
    }

    fn messages(&self) -> MutexGuard<'_, Vec<String>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue for MemoryQueue {
    async fn send(&self, body: String) -> Result<(), CallError> {
        if self.down {
            return Err(CallError::Retryable {
                operation: "sqs:SendMessage",
                code: "ServiceUnavailable".into(),
                message: "the service is down".into(),
            });
        }
        self.messages().push(body);
        Ok(())
    }
}
