//! Alerts: messages of a rule about an event or an entity.

mod counts;
pub mod digest;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::no_data::WatchedEntity;
use crate::{Rule, RuleSpec, Severity};
use tributary_model::bad_row::first_chars;
use tributary_model::event::Event;
use tributary_model::id::Id;
use tributary_model::json::to_json;

pub use self::counts::{AlertCounts, AlertOutcome};

/// Maximum length in characters of a text in a message whose event is too large for it.
pub(crate) const MAX_TEXT_CHARS: usize = 1024;

/// Maximum length in characters of a key and of the name of a watched entity.
const MAX_NAME_CHARS: usize = 256;

/// Alert of one rule.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Hash of rule, key and cooldown period. Redeliveries of an event yield the same id.
    pub alert_id: Id,
    /// Period in which events share this id; zero if they share it permanently.
    pub cooldown: SignedDuration,
    /// Id of the rule.
    pub rule: String,
    /// Severity of the rule.
    pub severity: Severity,
    /// Dataset of the event.
    pub dataset: String,
    /// Status: firing or resolved.
    pub status: AlertStatus,
    /// Key: a key has one alert per cooldown period.
    pub key: String,
    /// Maximum number of messages that one batch may send for the rule.
    pub digest: usize,
    /// Number of events merged into this alert.
    pub events: u64,
    /// Earliest event time of these events.
    pub from: Timestamp,
    /// Latest event time of these events.
    pub to: Timestamp,
    /// One-line summary.
    pub title: String,
    /// Message: a JSON object of `alert_id, rule, entity, severity, title, event`.
    ///
    /// A no-data alert has `dataset`, `silent_since` and, once resolved, `silent_until` in place of
    /// the event.
    pub message: String,
}

/// Status of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertStatus {
    /// The condition holds.
    Firing,
    /// The first reading after no data has arrived.
    Resolved,
}

impl AlertStatus {
    /// Returns the name in message attributes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "alert",
            Self::Resolved => "end",
        }
    }
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

#[derive(Serialize)]
struct NoDataMessage<'a> {
    alert_id: Id,
    rule: &'a str,
    entity: &'a str,
    severity: Severity,
    title: &'a str,
    dataset: &'a str,
    silent_since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    silent_until: Option<String>,
}

/// Reference to an event that is too large for a message: enough to find it in the lake.
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
        let (rule_id, severity, entity) = (&rule.spec.id, rule.spec.severity, &event.entity);
        let head = Message { alert_id, rule: rule_id, entity, severity, title: &title, event };
        let mut message = to_json(&head);
        if message.len() > rule.max_message_bytes {
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
            cooldown: rule.spec.cooldown.0,
            rule: rule_id.clone(),
            severity,
            dataset: event.dataset.clone().into_owned(),
            status: AlertStatus::Firing,
            key,
            digest: rule.digest(),
            events: 1,
            from: event.event_time,
            to: event.event_time,
            title,
            message,
        }
    }

    /// Creates the alert of a no-data period, by the arrival times of the last reading before it
    /// and the first reading after it.
    pub(crate) fn of_no_data(
        alert_id: Id,
        rule: &Rule,
        watched: &WatchedEntity,
        since: Timestamp,
        until: Option<Timestamp>,
    ) -> Self {
        let RuleSpec { id, dataset, severity, cooldown, .. } = &rule.spec;
        let title = first_chars(&watched.title, MAX_TEXT_CHARS);
        let (status, title) = match until {
            None => (AlertStatus::Firing, title.to_owned()),
            Some(_) => (AlertStatus::Resolved, format!("Over: {title}")),
        };
        let message = to_json(&NoDataMessage {
            alert_id,
            rule: id,
            entity: first_chars(&watched.entity, MAX_TEXT_CHARS),
            severity: *severity,
            title: &title,
            dataset,
            silent_since: since.to_string(),
            silent_until: until.map(|until| until.to_string()),
        });
        Self {
            alert_id,
            cooldown: cooldown.0,
            rule: id.clone(),
            severity: *severity,
            dataset: dataset.clone(),
            status,
            key: watched.key.clone(),
            digest: rule.digest(),
            events: 1,
            from: since,
            to: until.unwrap_or(since),
            title,
            message,
        }
    }

    /// Merges another event of the same alert.
    pub fn merge(&mut self, other: &Self) {
        self.events += other.events;
        self.from = self.from.min(other.from);
        self.to = self.to.max(other.to);
    }
}

/// Shortens a name to [`MAX_NAME_CHARS`]. Distinct names stay distinct.
pub(crate) fn shorten(name: String) -> String {
    if name.chars().nth(MAX_NAME_CHARS).is_none() {
        return name;
    }
    let id = Id::of_text(&[&name]);
    format!("{}~{id}", first_chars(&name, MAX_NAME_CHARS - 33))
}
