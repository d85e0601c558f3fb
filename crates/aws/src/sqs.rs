//! SQS queues: where an ingest function hands the rest of an object to itself.

use std::future::Future;

use aws_sdk_sqs::Client;

use crate::error::CallError;

/// A queue that takes messages.
pub trait Queue: Send + Sync {
    /// Sends one message.
    ///
    /// # Errors
    ///
    /// When the queue did not take it.
    fn send(&self, body: String) -> impl Future<Output = Result<(), CallError>> + Send;
}

/// One queue of SQS.
#[derive(Clone, Debug)]
pub struct SqsQueue {
    client: Client,
    url: String,
}

impl SqsQueue {
    /// The queue at `url`.
    #[must_use]
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }
}

impl Queue for SqsQueue {
    async fn send(&self, body: String) -> Result<(), CallError> {
        let request = self.client.send_message().queue_url(&self.url).message_body(body);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(CallError::from_sdk("sqs:SendMessage", &self.url, &error)),
        }
    }
}
