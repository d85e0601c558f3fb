//! Answer to a request, with an entry for each item.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use tributary_model::bad_row::Rejection;
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Kind of error, for a program.
    pub error: &'static str,
    /// Message for a person: lower case, no full stop.
    pub message: String,
    header: Option<(&'static str, &'static str)>,
}

/// Status of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemStatus {
    /// Stored in the stream, under this record id.
    Accepted(String),
    /// Rejected: it can never become an event.
    Rejected(Rejection),
    /// Not known to be stored. If sent again, the item has this record id.
    SendAgain(String),
}

/// Item and its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Line of the body, if items are lines.
    pub line: Option<usize>,
    /// Status of the item.
    pub status: ItemStatus,
}

/// Number of items by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Stored items.
    pub accepted: usize,
    /// Items that can never become an event.
    pub rejected: usize,
    /// Items to send again.
    pub send_again: usize,
}

#[derive(Serialize)]
struct RefusalBody<'a> {
    status: u16,
    error: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct Body<'a> {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    message: String,
    accepted: usize,
    rejected: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    send_again: Vec<usize>,
    items: Vec<ItemBody<'a>>,
}

#[derive(Serialize)]
struct ItemBody<'a> {
    item: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
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
        let Self { status, error, message, header } = self;
        let mut answer = HttpAnswer::new(*status, &RefusalBody { status: *status, error, message });
        if let Some((name, value)) = header {
            answer.headers.insert(name, (*value).to_owned());
        }
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
                ItemStatus::Accepted(_) => counts.accepted += 1,
                ItemStatus::Rejected(_) => counts.rejected += 1,
                ItemStatus::SendAgain(_) => counts.send_again += 1,
            }
        }
        counts
    }

    /// Returns the HTTP status: 503 if any item is to be sent again, whatever the status of the
    /// others; otherwise 202, 207 or 422 for all, some or none accepted.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self { send_again: 1.., .. } => 503,
            Self { rejected: 0, .. } => 202,
            Self { accepted: 0, .. } => 422,
            _ => 207,
        }
    }

    fn error(self) -> Option<&'static str> {
        match self.status() {
            503 => Some("send_again"),
            422 => Some("all_rejected"),
            207 => Some("some_rejected"),
            _ => None,
        }
    }
}

impl HttpAnswer {
    /// Builds the answer to a request that has an entry for each item. `has_key` is true if ids are
    /// made of an idempotency key.
    #[must_use]
    pub fn of_items(entries: &[Entry], has_key: bool) -> Self {
        let counts = Counts::of(entries);
        let status = counts.status();
        let items = enumerate(entries);
        let send_again = items.iter().filter(|it| it.status == "send_again").map(|it| it.item);
        let body = Body {
            status,
            error: counts.error(),
            message: message(counts, has_key),
            accepted: counts.accepted,
            rejected: counts.rejected,
            send_again: send_again.collect(),
            items,
        };
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

fn enumerate(entries: &[Entry]) -> Vec<ItemBody<'_>> {
    let mut message_bytes = 0;
    entries
        .iter()
        .enumerate()
        .map(|(item, Entry { line, status })| {
            let empty = ItemBody {
                item,
                line: *line,
                status: "accepted",
                record_id: None,
                code: None,
                field: None,
                message: None,
            };
            match status {
                // Requests often have thousands of these, so they carry only what is needed.
                ItemStatus::Accepted(id) => ItemBody { line: None, record_id: Some(id), ..empty },
                ItemStatus::SendAgain(id) => {
                    ItemBody { status: "send_again", record_id: Some(id), ..empty }
                }
                ItemStatus::Rejected(Rejection { code, field, message }) => {
                    message_bytes += message.len();
                    let fits = message_bytes <= MAX_MESSAGE_BYTES;
                    ItemBody {
                        status: "rejected",
                        code: Some(code.as_str()),
                        field: field.as_deref(),
                        message: fits.then_some(message.as_str()),
                        ..empty
                    }
                }
            }
        })
        .collect()
}

fn message(counts: Counts, has_key: bool) -> String {
    let Counts { accepted, rejected, send_again } = counts;
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
