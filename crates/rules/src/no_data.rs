//! `absent`: rules about entities from which nothing comes any more.
//!
//! An entity is watched by arrival time, `received_at`: event times are what devices say, and a replay
//! of a year is over in minutes. What comes from the past is no sign of life: a reading counts where its
//! event time is at most [`MAX_READING_AGE`] (or `absent`, where that is longer) before its time of receipt. For
//! a window the end of it counts.

use jiff::{SignedDuration, Timestamp};

use super::Rule;
use super::consecutive::{Mark, Marks};
use crate::alert::{Alert, MAX_TEXT_CHARS, NoDataPeriod, shorten};
use tributary_model::bad_row::first_chars;
use tributary_model::event::Event;
use tributary_model::id::Id;
use tributary_model::time::period;

/// How old a reading may be when it is received and still say that its entity is there.
pub const MAX_READING_AGE: SignedDuration = SignedDuration::from_hours(1);

/// The longest that a sign of life may go unwritten because there was one before.
const MAX_WRITE_INTERVAL: SignedDuration = SignedDuration::from_mins(5);

/// In how many parts entities are watched: no part of the index takes all writes.
pub const BUCKETS: u8 = 8;

/// An entity that a rule watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedEntity {
    /// The item that holds it: a hash of the rule as it is and the entity.
    pub item: String,
    /// The id of the rule.
    pub rule: String,
    /// Whom it is about; at most 256 characters.
    pub entity: String,
    /// What an alert is about, with the fields of the last reading in it.
    pub key: String,
    /// What an alert says, with the same fields in it; at most 1,024 characters.
    pub title: String,
    /// When the last reading was received, as far as it was written: at most [`Rule::write_interval`] before it
    /// was.
    pub last_seen: Timestamp,
    /// Since when it had been silent when that was last told; the end of that was not told yet.
    pub silent_since: Option<Timestamp>,
    /// When its silence is to be told, or to be looked at again; `None` where it was told.
    pub due: Option<Timestamp>,
}

/// One cooldown period of a key, in which silences are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CooldownPeriod {
    /// Records the silence in the period.
    pub mark: Mark,
    /// First instant after the period.
    pub end: Timestamp,
}

impl WatchedEntity {
    /// In which part of the index it is.
    #[must_use]
    pub fn bucket(&self) -> u8 {
        self.item.bytes().last().unwrap_or_default() % BUCKETS
    }
}

impl Rule {
    /// What a reading says to a rule with `absent`: that its entity is there. `None` for other rules, and
    /// for readings of the past.
    #[must_use]
    pub fn watched_entity(&self, event: &Event<'_>) -> Option<WatchedEntity> {
        let absent = self.absent()?;
        // A window is of the time that it ends at.
        let time = event.window.as_ref().map_or(event.event_time, |window| window.end);
        let age = event.received_at.duration_since(time);
        if !self.applies_to(event) || age > absent.max(MAX_READING_AGE) {
            return None;
        }
        // Any row can have names as long as it likes, and an item of the store cannot.
        let entity = shorten(event.entity.clone().into_owned());
        Some(WatchedEntity {
            item: self.item_of(&entity),
            rule: self.id.clone(),
            entity,
            key: self.key(event),
            title: first_chars(&self.title.render(event), MAX_TEXT_CHARS).to_owned(),
            last_seen: event.received_at,
            silent_since: None,
            due: Some(self.due(event.received_at)),
        })
    }

    /// The item of an entity. Another definition of the rule makes another item.
    #[must_use]
    pub fn item_of(&self, entity: &str) -> String {
        Id::of_text(&["absent", &self.definition.to_string(), entity]).to_string()
    }

    /// How long a sign of life need not be written after another: one write a reading would be many.
    #[must_use]
    pub fn write_interval(&self) -> SignedDuration {
        (self.absent().unwrap_or_default() / 4).min(MAX_WRITE_INTERVAL)
    }

    /// When the silence of an entity that was last seen then is to be told: a sign of life may have gone
    /// unwritten for [`Rule::write_interval`] after it.
    #[must_use]
    pub fn due(&self, last_seen: Timestamp) -> Timestamp {
        let length = self.absent().unwrap_or_default().saturating_add(self.write_interval());
        last_seen.checked_add(length).unwrap_or(Timestamp::MAX)
    }

    /// The alert that an entity is silent: one for each silence.
    #[must_use]
    pub fn no_data_alert(&self, watched: &WatchedEntity) -> Alert {
        let since = watched.last_seen;
        let alert_id = self.no_data_alert_id(&watched.key, since);
        Alert::of_no_data(alert_id, self, watched, NoDataPeriod { since, until: None })
    }

    /// Where a silence is counted, of which one in a cooldown is told: the first. The period is that
    /// in which the silence is due. What is noted there is since when it is silent, in milliseconds.
    /// `None` for a rule without a cooldown.
    #[must_use]
    pub fn cooldown_period(&self, silent: &WatchedEntity) -> Option<CooldownPeriod> {
        let due = silent.due.unwrap_or_else(|| self.due(silent.last_seen));
        let (begin, end) = self.period_of(due)?;
        let definition = self.definition.to_string();
        let item = Id::of_text(&["cool", &definition, &silent.key, &begin.to_string()]);
        let window = silent.last_seen.as_millisecond();
        Some(CooldownPeriod { mark: Mark { item: item.to_string(), window, value: 1 }, end })
    }

    /// The alert that stands for a silence of `key` within its cooldown, by the `marks` there with its
    /// own among them; `None` where that is its own.
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

    /// The cooldown period that `time` is in, from its beginning to the next; `None` without a cooldown.
    fn period_of(&self, time: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let seconds = Some(self.cooldown.as_secs()).filter(|seconds| *seconds > 0)?;
        let number = period(time, seconds);
        let at = |number: i64| Timestamp::from_second(number.saturating_mul(seconds)).ok();
        Some((at(number)?, at(number + 1)?))
    }

    /// The message that a silence which was told is over.
    #[must_use]
    pub fn resolved_alert(&self, watched: &WatchedEntity, since: Timestamp) -> Alert {
        let alert_id = self.no_data_alert_id(&watched.key, since).to_string();
        let alert_id = Id::of_text(&["end", &alert_id]);
        let until = Some(watched.last_seen);
        Alert::of_no_data(alert_id, self, watched, NoDataPeriod { since, until })
    }

    fn no_data_alert_id(&self, key: &str, since: Timestamp) -> Id {
        Id::of_text(&["silence", &self.id, key, &since.as_millisecond().to_string()])
    }
}

#[cfg(test)]
mod tests;
