//! Answer to a request, with an entry for each item.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use tributary_model::bad_row::Code;
use tributary_model::json::to_json;

/// Delay in seconds after which it is worth sending unstored items again.
pub const RETRY_AFTER_SECONDS: u32 = 5;

/// Maximum number of bytes of messages in an answer. Further entries have only code and field.
/// Lambda accepts an answer of 6 MB, in which each quote of this body counts at least twice.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Response of a function behind a URL.
///
/// See <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-response-payload>.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpAnswer {
    /// HTTP status.
    pub status_code: u16,
    /// Header fields by name, in lower case.
    pub headers: BTreeMap<&'static str, String>,
    /// Body: one JSON object.
    pub body: String,
    /// Always false.
    pub is_base64_encoded: bool,
}

/// Rejection of a whole request, before any of its items is validated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Kind of error, for a program.
    pub error: &'static str,
    /// Message for a person: lower case, no full stop.
    pub message: String,
    #[serde(skip)]
    header: Option<(&'static str, &'static str)>,
}

/// Status of an item.
#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum ItemStatus {
    /// Stored in the stream, under this record id.
    Accepted {
        /// Id of its record.
        record_id: String,
    },
    /// Rejected: it can never become an event.
    Rejected {
        /// Code of the fault.
        code: Code,
        /// Field at fault.
        #[serde(skip_serializing_if = "Option::is_none")]
        field: Option<Cow<'static, str>>,
        /// Message, within the first [`MAX_MESSAGE_BYTES`] of an answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// Not known to be stored.
    SendAgain {
        /// Id of its record, also if it is sent again.
        record_id: String,
    },
}

/// Item and its status.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// Number of the item in its request, from 0.
    pub item: usize,
    /// Line of the body, if items are lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Status of the item.
    #[serde(flatten)]
    pub status: ItemStatus,
}

/// Number of items by status.
#[derive(Debug, Default)]
pub struct Counts {
    /// Stored items.
    pub accepted: u64,
    /// Items that can never become an event.
    pub rejected: u64,
    /// Rejected items by code.
    pub codes: BTreeMap<Code, u64>,
    /// Items to send again.
    pub send_again: u64,
}

#[derive(Serialize)]
struct Body {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    message: String,
    accepted: u64,
    rejected: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    send_again: Vec<usize>,
    items: Vec<Entry>,
}

impl Refusal {
    /// Creates a rejection of a whole request.
    #[must_use]
    pub fn new(status: u16, error: &'static str, message: impl Into<String>) -> Self {
        Self { status, error, message: message.into(), header: None }
    }

    /// Adds a header field that names what is accepted.
    #[must_use]
    pub fn with(self, name: &'static str, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// Returns the answer with this rejection.
    #[must_use]
    pub fn answer(&self) -> HttpAnswer {
        let mut answer = HttpAnswer::new(self.status, self);
        answer.headers.extend(self.header.map(|(name, value)| (name, value.to_owned())));
        answer
    }
}

impl Counts {
    /// Counts entries by status.
    #[must_use]
    pub fn of(entries: &[Entry]) -> Self {
        let mut counts = Self::default();
        for entry in entries {
            match entry.status {
                ItemStatus::Accepted { .. } => counts.accepted += 1,
                ItemStatus::Rejected { code, .. } => {
                    counts.rejected += 1;
                    *counts.codes.entry(code).or_default() += 1;
                }
                ItemStatus::SendAgain { .. } => counts.send_again += 1,
            }
        }
        counts
    }

    /// Returns the HTTP status and the kind of error: 503 if any item is to be sent again, whatever
    /// the status of the others; otherwise 202, 207 or 422 for all, some or none accepted.
    fn status(&self) -> (u16, Option<&'static str>) {
        match self {
            Self { send_again: 1.., .. } => (503, Some("send_again")),
            Self { rejected: 0, .. } => (202, None),
            Self { accepted: 0, .. } => (422, Some("all_rejected")),
            _ => (207, Some("some_rejected")),
        }
    }
}

impl HttpAnswer {
    /// Builds the answer to a request that has an entry for each item, counted in `counts`.
    /// `has_key` is true if ids are made of an idempotency key.
    #[must_use]
    pub fn of_items(mut items: Vec<Entry>, counts: &Counts, has_key: bool) -> Self {
        let (mut send_again, mut message_bytes) = (Vec::new(), 0);
        for Entry { item, line, status } in &mut items {
            match status {
                // Requests often have thousands of these, so they carry only what is needed.
                ItemStatus::Accepted { .. } => *line = None,
                ItemStatus::SendAgain { .. } => send_again.push(*item),
                ItemStatus::Rejected { message, .. } => {
                    message_bytes += message.as_ref().map_or(0, String::len);
                    message.take_if(|_| message_bytes > MAX_MESSAGE_BYTES);
                }
            }
        }
        let (status, error) = counts.status();
        let (accepted, rejected) = (counts.accepted, counts.rejected);
        let message = message(counts, has_key);
        let body = Body { status, error, message, accepted, rejected, send_again, items };
        let mut answer = Self::new(status, &body);
        if status == 503 {
            answer.headers.insert("retry-after", RETRY_AFTER_SECONDS.to_string());
        }
        answer
    }

    fn new(status: u16, body: &impl Serialize) -> Self {
        let headers = [
            ("cache-control", "no-store".to_owned()),
            ("content-type", "application/json".to_owned()),
        ];
        Self {
            status_code: status,
            headers: BTreeMap::from(headers),
            body: to_json(body),
            is_base64_encoded: false,
        }
    }
}

fn message(counts: &Counts, has_key: bool) -> String {
    let &Counts { accepted, rejected, send_again, .. } = counts;
    let all = accepted + rejected + send_again;
    let mut message = format!("{accepted} of {all} accepted");
    // Writing to a string cannot fail.
    if rejected > 0 {
        let _ = write!(message, ", {rejected} rejected and not to be sent again as they are");
    }
    if send_again > 0 {
        let how = if has_key {
            "the same request again under the same key, or these items under another"
        } else {
            "these items again, or the same request"
        };
        let _ = write!(message, ", {send_again} not known to be stored: send {how}");
    }
    message
}
