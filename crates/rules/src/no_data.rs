//! `absent`: rules that fire when no data arrives from an entity.
//!
//! Entities are watched by arrival time, `received_at`: devices choose event times, and a replay of
//! a year takes minutes. A reading counts if its event time is at most [`MAX_READING_AGE`] (or
//! `absent`, if that is longer) before its arrival. For a window its end counts.

use jiff::{SignedDuration, Timestamp};

use super::Rule;
use super::consecutive::{Mark, Marks};
use crate::alert::{Alert, MAX_TEXT_CHARS, shorten};
use tributary_model::bad_row::first_chars;
use tributary_model::event::Event;
use tributary_model::id::Id;
use tributary_model::time::period;

/// Maximum age of a reading on arrival to count as data from its entity.
pub const MAX_READING_AGE: SignedDuration = SignedDuration::from_hours(1);

/// Maximum time for which `last_seen` may lag behind the latest reading.
const MAX_WRITE_INTERVAL: SignedDuration = SignedDuration::from_mins(5);

/// Number of buckets of watched entities, so that no partition of the index takes all writes.
pub const BUCKETS: u8 = 8;

/// Entity watched by a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedEntity {
    /// Item of the entity: a hash of the rule's definition and the entity.
    pub item: String,
    /// Id of the rule.
    pub rule: String,
    /// Name of the entity, at most 256 characters long.
    pub entity: String,
    /// Key of its alerts, with fields of the latest reading.
    pub key: String,
    /// Title of its alerts, with the same fields; at most 1,024 characters long.
    pub title: String,
    /// Stored arrival time of the latest reading, at most [`Rule::write_interval`] behind the
    /// actual one.
    pub last_seen: Timestamp,
    /// Start of the no-data period that was last sent and is not resolved yet.
    pub silent_since: Option<Timestamp>,
    /// Time at which its no-data alert is due, or due again; `None` once it was sent.
    pub due: Option<Timestamp>,
}

/// Cooldown period of a key, in which no-data periods are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CooldownPeriod {
    /// Mark that records the no-data period.
    pub mark: Mark,
    /// First instant after the period.
    pub end: Timestamp,
}

impl WatchedEntity {
    /// Returns the index bucket of the entity.
    #[must_use]
    pub fn bucket(&self) -> u8 {
        self.item.bytes().last().unwrap_or_default() % BUCKETS
    }
}

impl Rule {
    /// Returns the watched entity of a reading for a rule with `absent`; `None` for other rules and
    /// for readings that are too old.
    #[must_use]
    pub fn watched_entity(&self, event: &Event<'_>) -> Option<WatchedEntity> {
        let absent = self.spec.absent?.0;
        // The time of a window is its end.
        let time = event.window.as_ref().map_or(event.event_time, |window| window.end);
        let age = event.received_at.duration_since(time);
        if !self.applies_to(event) || age > absent.max(MAX_READING_AGE) {
            return None;
        }
        // Names in rows have any length; an item of the store is limited.
        let entity = shorten(event.entity.clone().into_owned());
        Some(WatchedEntity {
            item: self.item_of(&entity),
            rule: self.spec.id.clone(),
            entity,
            key: self.key(event),
            title: first_chars(&self.title.render(event), MAX_TEXT_CHARS).to_owned(),
            last_seen: event.received_at,
            silent_since: None,
            due: Some(self.due(event.received_at)),
        })
    }

    /// Returns the item of an entity. A different definition of the rule has different items.
    #[must_use]
    pub fn item_of(&self, entity: &str) -> String {
        Id::of_text(&["absent", &self.definition.to_string(), entity]).to_string()
    }

    /// Returns the minimum interval between writes of `last_seen`: one write per reading would be
    /// too many.
    #[must_use]
    pub fn write_interval(&self) -> SignedDuration {
        (self.spec.absent.unwrap_or_default().0 / 4).min(MAX_WRITE_INTERVAL)
    }

    /// Returns the time at which the no-data alert of an entity is due. Includes
    /// [`Rule::write_interval`], because later readings may be unwritten for that long.
    #[must_use]
    pub fn due(&self, last_seen: Timestamp) -> Timestamp {
        let length = self.spec.absent.unwrap_or_default().0.saturating_add(self.write_interval());
        last_seen.checked_add(length).unwrap_or(Timestamp::MAX)
    }

    /// Returns the no-data alert of an entity: one for each no-data period.
    #[must_use]
    pub fn no_data_alert(&self, watched: &WatchedEntity) -> Alert {
        let since = watched.last_seen;
        let alert_id = self.no_data_alert_id(&watched.key, since);
        Alert::of_no_data(alert_id, self, watched, since, None)
    }

    /// Returns the cooldown period in which a no-data period is counted, or `None` for a rule
    /// without cooldown.
    ///
    /// It is the cooldown period that contains the due time. Only the first no-data period in it is
    /// sent. The mark records the start of the no-data period in milliseconds.
    #[must_use]
    pub fn cooldown_period(&self, silent: &WatchedEntity) -> Option<CooldownPeriod> {
        let due = silent.due.unwrap_or_else(|| self.due(silent.last_seen));
        let seconds = Some(self.spec.cooldown.0.as_secs()).filter(|seconds| *seconds > 0)?;
        let number = period(due, seconds);
        let start_of = |number: i64| Timestamp::from_second(number.saturating_mul(seconds)).ok();
        let (begin, end) = (start_of(number)?, start_of(number + 1)?);
        let definition = self.definition.to_string();
        let item = Id::of_text(&["cool", &definition, &silent.key, &begin.to_string()]);
        let window = silent.last_seen.as_millisecond();
        Some(CooldownPeriod { mark: Mark { item: item.to_string(), window, value: 1 }, end })
    }

    /// Returns the alert that covers a no-data period of `key` within its cooldown, or `None` if
    /// that is its own.
    ///
    /// `marks` are those of the cooldown period, its own mark included.
    #[must_use]
    pub fn alert_in_cooldown(
        &self,
        key: &str,
        cooldown_period: &CooldownPeriod,
        marks: &Marks,
    ) -> Option<Id> {
        let (first, _) =
            marks.first_key_value().filter(|(at, _)| **at < cooldown_period.mark.window)?;
        let since = Timestamp::from_millisecond(*first).ok()?;
        Some(self.no_data_alert_id(key, since))
    }

    /// Returns the resolved alert of a no-data alert that was sent.
    #[must_use]
    pub fn resolved_alert(&self, watched: &WatchedEntity, since: Timestamp) -> Alert {
        let alert_id = self.no_data_alert_id(&watched.key, since).to_string();
        let alert_id = Id::of_text(&["end", &alert_id]);
        Alert::of_no_data(alert_id, self, watched, since, Some(watched.last_seen))
    }

    fn no_data_alert_id(&self, key: &str, since: Timestamp) -> Id {
        Id::of_text(&["silence", &self.spec.id, key, &since.as_millisecond().to_string()])
    }
}

#[cfg(test)]
mod tests;
