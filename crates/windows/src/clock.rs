//! Watermarks: how far event time has come, by the slowest shard that still brings records.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::spec::{Spec, TimeBasis};
use tributary_model::event::Event;

/// How far ahead of its arrival the time of an event may be and still move the watermark: a device
/// whose clock is a year ahead must not make everybody else late.
pub const MAX_CLOCK_AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// What one shard has brought of one dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The id of the shard.
    pub id: String,
    /// The latest time among its events; none where there was none yet.
    pub watermark: Option<Timestamp>,
    /// When it was last heard of, in processing time.
    pub last_seen: Timestamp,
    /// Whether all its records were read and others have taken its place.
    pub is_closed: bool,
}

/// The shards of one dataset, and the watermark they have come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Every shard that is known, in no order.
    pub shards: Vec<Shard>,
    /// The watermark; it never goes back.
    pub watermark: Option<Timestamp>,
}

/// A shard of the stream, and those it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamShard {
    /// The id of the shard.
    pub id: String,
    /// The shard that was split, or the two that were merged.
    pub parents: Vec<String>,
}

/// How a clock stands at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockStatus {
    /// A shard that has brought nothing yet may bring what is earlier than everything.
    Waiting,
    /// The lowest of the shards that are heard of.
    At(Timestamp),
    /// None was heard of for long: nothing says what time it is, but the wall.
    Idle,
}

/// The name of the clock of a spec: `telemetry/event`.
#[must_use]
pub fn clock_name(spec: &Spec) -> String {
    let basis = match spec.time {
        TimeBasis::Event => "event",
        TimeBasis::Received => "received",
    };
    format!("{}/{basis}", spec.dataset)
}

/// How long a shard may be silent, by clock: the longest of its specs.
#[must_use]
pub fn idle_timeout_by_clock(specs: &[Spec]) -> BTreeMap<String, SignedDuration> {
    let mut idle: BTreeMap<_, SignedDuration> = BTreeMap::new();
    for spec in specs {
        let longest = idle.entry(clock_name(spec)).or_default();
        *longest = spec.idle_timeout.max(*longest);
    }
    idle
}

/// How far behind the watermark a reading may be and still be in time for a window, by clock: the furthest
/// of its specs, the length of a window included.
#[must_use]
pub fn lateness_horizon_by_clock(specs: &[Spec]) -> BTreeMap<String, SignedDuration> {
    let mut horizon: BTreeMap<_, SignedDuration> = BTreeMap::new();
    for spec in specs {
        let widest = horizon.entry(clock_name(spec)).or_default();
        let of_spec = spec.size.saturating_add(spec.delay).saturating_add(spec.allowed_lateness);
        *widest = of_spec.max(*widest);
    }
    horizon
}

/// The time to which `event` moves the watermark of its shard; none for one that is ahead of its
/// arrival.
#[must_use]
pub fn watermark_for(event: &Event<'_>, spec: &Spec) -> Option<Timestamp> {
    let time = spec.time_of(event);
    let is_ahead = time.duration_since(event.received_at) > MAX_CLOCK_AHEAD;
    (!is_ahead).then_some(time)
}

impl Clock {
    /// How it stands at `now`, when a shard may be silent for `idle`.
    #[must_use]
    pub fn status(&self, now: Timestamp, idle: SignedDuration) -> ClockStatus {
        let is_heard_of =
            |shard: &&Shard| !shard.is_closed && now.duration_since(shard.last_seen) < idle;
        let mut lowest = None;
        for shard in self.shards.iter().filter(is_heard_of) {
            match (shard.watermark, lowest) {
                (None, _) => return ClockStatus::Waiting,
                (Some(time), Some(before)) if before <= time => {}
                (Some(time), _) => lowest = Some(time),
            }
        }
        lowest.map_or(ClockStatus::Idle, ClockStatus::At)
    }

    /// How far event time has come at `now`, where that can be said: to the lowest of the shards that are
    /// heard of, and to the highest of all where none is, because nothing more is on its way then.
    #[must_use]
    pub fn event_time(&self, now: Timestamp, idle: SignedDuration) -> Option<Timestamp> {
        match self.status(now, idle) {
            ClockStatus::Waiting => None,
            ClockStatus::At(time) => Some(time),
            ClockStatus::Idle => self.shards.iter().filter_map(|shard| shard.watermark).max(),
        }
    }

    /// The shard of this id.
    #[must_use]
    pub fn shard(&self, id: &str) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.id == id)
    }

    /// What is to be written when a batch of a shard comes that is not known yet: every shard of the
    /// stream that is not known either, because any of them may still bring what is earlier, with the
    /// watermark of what it came from; and the end of the shards that `id` came from, whose records
    /// were all read before its first.
    #[must_use]
    pub fn shards_to_register(
        &self,
        id: &str,
        stream: &[StreamShard],
        now: Timestamp,
    ) -> ShardRegistration {
        let mut registration = ShardRegistration::default();
        let read = ancestors(id, stream);
        let is_new = |shard: &&StreamShard| {
            self.shard(&shard.id).is_none() && !read.contains(shard.id.as_str())
        };
        for shard in stream.iter().filter(is_new) {
            // Those it came from stand for it as long as they are not over.
            let parents: Vec<_> = shard.parents.iter().filter_map(|it| self.shard(it)).collect();
            let lowest = parents.iter().map(|parent| parent.watermark).min();
            registration.new.push(Shard {
                id: shard.id.clone(),
                watermark: lowest.flatten(),
                last_seen: now,
                is_closed: false,
            });
        }
        if !stream.iter().any(|shard| shard.id == id) && self.shard(id).is_none() {
            let id = id.to_owned();
            registration.new.push(Shard { id, watermark: None, last_seen: now, is_closed: false });
        }
        for parent in read.iter().filter_map(|parent| self.shard(parent)) {
            if !parent.is_closed {
                registration.closed.push(Shard { is_closed: true, ..parent.clone() });
            }
        }
        registration
    }
}

/// The shards that `id` came from, and those that they came from, as far as the stream remembers.
fn ancestors<'a>(id: &'a str, stream: &'a [StreamShard]) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut ahead = vec![id];
    while let Some(next) = ahead.pop() {
        let parents = stream.iter().filter(|shard| shard.id == next).flat_map(|it| &it.parents);
        ahead.extend(parents.filter(|parent| found.insert(parent.as_str())).map(String::as_str));
    }
    found
}

/// What [`Clock::shards_to_register`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardRegistration {
    /// Shards to add, where they are not there by now.
    pub new: Vec<Shard>,
    /// Shards that are over.
    pub closed: Vec<Shard>,
}
