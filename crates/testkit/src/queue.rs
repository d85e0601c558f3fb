//! In-memory queue.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tributary_aws::error::CallError;
use tributary_aws::sqs::Queue;

/// Queue that stores its messages.
#[derive(Debug, Default)]
pub struct MemoryQueue {
    messages: Mutex<Vec<String>>,
    down: bool,
}

impl MemoryQueue {
    /// Creates a queue that rejects all messages.
    #[must_use]
    pub fn down() -> Self {
        Self { down: true, ..Self::default() }
    }

    /// Removes and returns all messages.
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
