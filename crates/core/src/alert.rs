//! Alerts: what a rule says to people about one event.

mod books;
pub mod digest;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::bad_row::first_chars;
use crate::event::Event;
use crate::id::Id;
use crate::rule::{Rule, Severity};

pub use self::books::{AlertBooks, End};

/// The most bytes of an SNS message with its attributes, which take far less than 1 KiB.
///
/// See <https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html>.
pub const MAX_BYTES: usize = 255 * 1024;

/// How much of a text is kept in a message whose event is too large for it.
const MAX_TEXT_CHARS: usize = 1024;

/// One alert of one rule.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Hash of rule, key and cooldown period: one alert however often the event is delivered.
    pub alert_id: Id,
    /// How long events share this id; zero where they do for ever.
    pub cooldown: SignedDuration,
    /// The id of the rule.
    pub rule: String,
    /// How urgent it is.
    pub severity: Severity,
    /// The dataset of the event.
    pub dataset: String,
    /// What it is about: one key has one alert within a cooldown.
    pub key: String,
    /// The most messages of its rule that one batch makes.
    pub digest: usize,
    /// How many events it stands for.
    pub events: u64,
    /// Event time of the earliest of them.
    pub from: Timestamp,
    /// Event time of the latest of them.
    pub to: Timestamp,
    /// One line for a person.
    pub title: String,
    /// The message: a JSON object of `alert_id, rule, entity, severity, title, event`.
    pub message: String,
}

#[derive(Serialize)]
struct Message<'a, E> {
    alert_id: Id,
    rule: &'a str,
    entity: &'a str,
    severity: Severity,
    title: &'a str,
    event: E,
}

/// What stands for an event that is too large for a message: enough to find it in the lake.
#[derive(Serialize)]
struct EventReference<'a> {
    dataset: &'a str,
    event_id: &'a str,
    event_time: String,
}

impl Alert {
    pub(crate) fn new(
        alert_id: Id,
        rule: &Rule,
        key: String,
        title: String,
        event: &Event<'_>,
    ) -> Self {
        let severity = rule.severity();
        let (rule_id, entity) = (rule.id(), &event.entity);
        let head = Message { alert_id, rule: rule_id, entity, severity, title: &title, event };
        let mut message = to_json(&head);
        if message.len() > MAX_BYTES {
            message = to_json(&Message {
                alert_id,
                rule: rule_id,
                entity: first_chars(&event.entity, MAX_TEXT_CHARS),
                severity,
                title: first_chars(&title, MAX_TEXT_CHARS),
                event: EventReference {
                    dataset: &event.dataset,
                    event_id: first_chars(&event.event_id, MAX_TEXT_CHARS),
                    event_time: event.event_time.to_string(),
                },
            });
        }
        Self {
            alert_id,
            cooldown: rule.cooldown(),
            rule: rule_id.to_owned(),
            severity,
            dataset: event.dataset.clone().into_owned(),
            key,
            digest: rule.digest(),
            events: 1,
            from: event.event_time,
            to: event.event_time,
            title,
            message,
        }
    }

    /// Takes in another event of the same alert.
    pub fn merge(&mut self, other: &Self) {
        self.events += other.events;
        self.from = self.from.min(other.from);
        self.to = self.to.max(other.to);
    }
}

/// Strings, numbers and maps with string keys: there is nothing that JSON could not hold.
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
