//! SNS topics.

use aws_sdk_sns::Client;
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};

use crate::error::{CallError, SetupError, is_refusal};
use crate::put::{BatchPut, EntryResult, Limits};

/// Limits of a `PublishBatch` call. One message may be as large as the whole call.
///
/// See <https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html>.
pub const LIMITS: Limits = Limits { entries: 10, bytes: 256 * 1024, entry_bytes: 256 * 1024 };

/// Maximum length of a message's text: its subject and attributes take less than the last 1 KiB.
pub const MAX_MESSAGE_BYTES: usize = LIMITS.entry_bytes - 1024;

/// Upper bound, in bytes, of a message's subject and attributes beside its text.
const OVERHEAD_BYTES: usize = 512;

/// Maximum length of a subject, in characters.
const MAX_SUBJECT_CHARS: usize = 100;

/// Message for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Subject line of e-mails: printable ASCII, see [`Notification::subject_of`].
    pub subject: String,
    /// Message text.
    pub message: String,
    /// String attributes, which subscribers filter by.
    pub attributes: Vec<(&'static str, String)>,
}

impl Notification {
    /// Converts `title` to an SNS subject: printable ASCII that begins with a letter, digit or
    /// punctuation, at most 100 characters.
    #[must_use]
    pub fn subject_of(title: &str) -> String {
        let printable = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
        let subject: String = title.trim().chars().take(MAX_SUBJECT_CHARS).map(printable).collect();
        // SNS rejects a message with an empty subject.
        if subject.is_empty() { "alert".to_owned() } else { subject }
    }
}

/// SNS topic.
#[derive(Clone, Debug)]
pub struct Topic {
    client: Client,
    arn: String,
}

impl Topic {
    /// Creates a sink for the topic `arn`.
    #[must_use]
    pub fn new(client: Client, arn: String) -> Self {
        Self { client, arn }
    }

    fn request_entry(
        &self,
        index: usize,
        notification: &Notification,
    ) -> Result<PublishBatchRequestEntry, SetupError> {
        let broken = |error: aws_sdk_sns::error::BuildError| {
            SetupError::request(Self::OPERATION, &self.arn, &error)
        };
        let mut entry = PublishBatchRequestEntry::builder()
            .id(index.to_string())
            .subject(&notification.subject)
            .message(&notification.message);
        for (name, value) in &notification.attributes {
            let value = MessageAttributeValue::builder()
                .data_type("String")
                .string_value(value)
                .build()
                .map_err(broken)?;
            entry = entry.message_attributes(*name, value);
        }
        entry.build().map_err(broken)
    }
}

impl BatchPut for Topic {
    type Entry = Notification;

    const OPERATION: &'static str = "sns:PublishBatch";

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn size(&self, entry: &Notification) -> usize {
        entry.message.len() + OVERHEAD_BYTES
    }

    async fn put(&self, entries: &[&Notification]) -> Result<Vec<EntryResult>, CallError> {
        let requests = entries
            .iter()
            .enumerate()
            .map(|(index, entry)| self.request_entry(index, entry))
            .collect::<Result<Vec<_>, _>>()?;
        let answer = self
            .client
            .publish_batch()
            .topic_arn(&self.arn)
            .set_publish_batch_request_entries(Some(requests))
            .send()
            .await
            .map_err(CallError::from_sdk(Self::OPERATION, &self.arn))?;

        let successful = answer.successful().iter().filter_map(|it| it.id());
        let failed = answer.failed().iter().map(|it| (it.id(), it.code(), it.sender_fault()));
        Ok(verdicts(entries.len(), successful, failed))
    }
}

/// Returns the results of a call of `count` entries whose ids are their indexes. The answer has two
/// lists: the ids of stored entries; id, code and `SenderFault` of the others.
///
/// The lists are in any order. An entry in neither has no answer. `SenderFault` makes a failure
/// permanent where its code is about the message, and not about access to the topic or its key.
#[must_use]
pub fn verdicts<'a>(
    count: usize,
    successful: impl IntoIterator<Item = &'a str>,
    failed: impl IntoIterator<Item = (&'a str, &'a str, bool)>,
) -> Vec<EntryResult> {
    let mut verdicts = vec![EntryResult::Failed("no_answer".to_owned()); count];
    let mut set = |id: &str, verdict| {
        let index = id.parse::<usize>().ok();
        if let Some(slot) = index.and_then(|index| verdicts.get_mut(index)) {
            *slot = verdict;
        }
    };
    for id in successful {
        set(id, EntryResult::Stored);
    }
    for (id, code, is_final) in failed {
        let code = code.to_owned();
        let is_final = is_final && is_refusal(&code);
        set(id, if is_final { EntryResult::Rejected(code) } else { EntryResult::Failed(code) });
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_is_valid_for_sns() {
        assert_eq!(Notification::subject_of(" 31 °C in Cañon City\n"), "31 ?C in Ca?on City");
        assert_eq!(Notification::subject_of(&"x".repeat(200)).len(), 100);
        assert_eq!(Notification::subject_of(" "), "alert");
    }
}
