//! SQS queues: an ingest function enqueues the rest of an object, and an operator reads the dead
//! letters.

use std::future::Future;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use jiff::Timestamp;

use crate::error::CallError;

/// Queue to send messages to.
pub trait Queue: Send + Sync {
    /// Sends one message.
    ///
    /// # Errors
    ///
    /// Returns an error if the queue did not accept the message.
    fn send(&self, body: String) -> impl Future<Output = Result<(), CallError>> + Send;
}

/// Received message. SQS redelivers it unless it is [removed](SqsQueue::remove).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Message text.
    pub body: String,
    /// Time at which it was sent to its first queue; a dead-letter queue keeps that.
    pub sent_at: Option<Timestamp>,
    receipt: String,
}

/// SQS queue.
#[derive(Clone, Debug)]
pub struct SqsQueue {
    client: Client,
    url: String,
}

impl SqsQueue {
    /// Creates access to the queue at `url`.
    #[must_use]
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Returns the approximate number of messages: waiting and in flight.
    ///
    /// # Errors
    ///
    /// Returns an error if the queue cannot be queried.
    pub async fn message_count(&self) -> Result<u64, CallError> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let request = self.client.get_queue_attributes().queue_url(&self.url);
        let answer = request.set_attribute_names(Some(names.to_vec())).send().await;
        let answer = answer.map_err(CallError::from_sdk("sqs:GetQueueAttributes", &self.url))?;
        let attributes = answer.attributes.unwrap_or_default();
        let count = |name| attributes.get(name).and_then(|count| count.parse::<u64>().ok());
        Ok(names.iter().filter_map(count).sum())
    }

    /// Receives up to ten messages, which then stay hidden from other receivers for the visibility
    /// timeout. Waits at most 1 second for the first one.
    ///
    /// # Errors
    ///
    /// Returns an error if the queue cannot be queried.
    pub async fn receive(&self) -> Result<Vec<Received>, CallError> {
        let request = self.client.receive_message().queue_url(&self.url);
        let request = request.max_number_of_messages(10).wait_time_seconds(1);
        let sent = MessageSystemAttributeName::SentTimestamp;
        let answer = request.message_system_attribute_names(sent.clone()).send().await;
        let answer = answer.map_err(CallError::from_sdk("sqs:ReceiveMessage", &self.url))?;
        let received = |message: aws_sdk_sqs::types::Message| {
            let sent_at = message.attributes.as_ref().and_then(|attributes| attributes.get(&sent));
            let sent_at = sent_at.and_then(|millis| millis.parse().ok());
            Some(Received {
                body: message.body?,
                sent_at: sent_at.and_then(|millis| Timestamp::from_millisecond(millis).ok()),
                receipt: message.receipt_handle?,
            })
        };
        Ok(answer.messages.unwrap_or_default().into_iter().filter_map(received).collect())
    }

    /// Makes a received message visible to other receivers again.
    ///
    /// # Errors
    ///
    /// Returns an error if the message cannot be released; it then stays hidden for the visibility
    /// timeout.
    pub async fn release(&self, message: &Received) -> Result<(), CallError> {
        let request = self.client.change_message_visibility().queue_url(&self.url);
        let request = request.receipt_handle(&message.receipt).visibility_timeout(0);
        let released = request.send().await;
        released.map(drop).map_err(CallError::from_sdk("sqs:ChangeMessageVisibility", &self.url))
    }

    /// Removes a received message.
    ///
    /// # Errors
    ///
    /// Returns an error if the message cannot be removed; SQS then redelivers it.
    pub async fn remove(&self, message: &Received) -> Result<(), CallError> {
        let request = self.client.delete_message().queue_url(&self.url);
        let removed = request.receipt_handle(&message.receipt).send().await;
        removed.map(drop).map_err(CallError::from_sdk("sqs:DeleteMessage", &self.url))
    }
}

impl Queue for SqsQueue {
    async fn send(&self, body: String) -> Result<(), CallError> {
        let request = self.client.send_message().queue_url(&self.url).message_body(body);
        let sent = request.send().await;
        sent.map(drop).map_err(CallError::from_sdk("sqs:SendMessage", &self.url))
    }
}
