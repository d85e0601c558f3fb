//! Watermarks: event time of a dataset, limited by its slowest active shard.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::spec::{Spec, TimeBasis};
use tributary_model::event::{Event, MAX_CLOCK_AHEAD, is_clock_ahead};

/// Progress of one shard in one dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Id of the shard.
    pub id: String,
    /// Latest time among its events; `None` before the first.
    pub watermark: Option<Timestamp>,
    /// Processing time of its latest batch that moves its watermark, or of its registration.
    pub last_seen: Timestamp,
    /// Set when all its records were read and its child shards have replaced it.
    pub is_closed: bool,
}

/// Shards of one dataset, and the watermark derived from them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Every known shard, in no particular order.
    pub shards: Vec<Shard>,
    /// The watermark. It never decreases.
    pub watermark: Option<Timestamp>,
    /// Processing time at which the watermark rose last.
    pub raised_at: Option<Timestamp>,
    /// An earlier watermark.
    pub mark: Option<Mark>,
}

/// Watermark that a clock had at an earlier processing time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The watermark; `None` before the first.
    pub watermark: Option<Timestamp>,
    /// The processing time.
    pub at: Timestamp,
}

/// Rise of a watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rise {
    /// The new watermark.
    pub to: Timestamp,
    /// Processing time of the rise.
    pub at: Timestamp,
    /// Mark to store with it.
    pub mark: Mark,
}

/// Shard of a stream with its parents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamShard {
    /// Id of the shard.
    pub id: String,
    /// The shard that was split, or the two that were merged.
    pub parents: Vec<String>,
}

/// Status of a clock at a given processing time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockStatus {
    /// An active shard has no watermark yet: its first event may be earlier than all others.
    Waiting,
    /// Lowest watermark of the active shards.
    At(Timestamp),
    /// No shard was active within the idle timeout: only processing time advances.
    Idle,
}

/// Returns the name of the clock of a spec, such as `telemetry/event`.
#[must_use]
pub fn clock_name(spec: &Spec) -> String {
    let basis = match spec.time {
        TimeBasis::Event => "event",
        TimeBasis::Received => "received",
    };
    format!("{}/{basis}", spec.dataset)
}

/// Returns the idle timeout of each clock: the maximum over its specs.
#[must_use]
pub fn idle_timeout_by_clock(specs: &[Spec]) -> BTreeMap<String, SignedDuration> {
    longest_by_clock(specs, |spec| spec.idle_timeout.0)
}

/// Returns the lateness horizon of each clock: the maximum over its specs of window size, delay and
/// allowed lateness.
///
/// A reading further behind the watermark is too late for every window.
#[must_use]
pub fn lateness_horizon_by_clock(specs: &[Spec]) -> BTreeMap<String, SignedDuration> {
    longest_by_clock(specs, |spec| {
        spec.size.0.saturating_add(spec.delay.0).saturating_add(spec.allowed_lateness.0)
    })
}

/// Returns the retention of each clock: the minimum over its specs.
#[must_use]
pub fn retention_by_clock(specs: &[Spec]) -> BTreeMap<String, SignedDuration> {
    let mut shortest: BTreeMap<_, SignedDuration> = BTreeMap::new();
    for spec in specs {
        let so_far = shortest.entry(clock_name(spec)).or_insert(SignedDuration::MAX);
        *so_far = spec.retention.0.min(*so_far);
    }
    shortest
}

fn longest_by_clock(
    specs: &[Spec],
    length: fn(&Spec) -> SignedDuration,
) -> BTreeMap<String, SignedDuration> {
    let mut longest: BTreeMap<_, SignedDuration> = BTreeMap::new();
    for spec in specs {
        let so_far = longest.entry(clock_name(spec)).or_default();
        *so_far = length(spec).max(*so_far);
    }
    longest
}

/// Returns the time to which `event` advances the watermark of its shard, or `None` if the event is
/// more than [`MAX_CLOCK_AHEAD`] ahead of its arrival: a
/// device whose clock is a year ahead would make the readings of all other devices late.
#[must_use]
pub fn watermark_for(event: &Event<'_>, spec: &Spec) -> Option<Timestamp> {
    let time = spec.time_of(event);
    (!is_clock_ahead(time, event.received_at)).then_some(time)
}

impl Clock {
    /// Returns the status at `now` for an idle timeout of `idle`.
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

    /// Returns the event time at `now`: the lowest watermark of the active shards.
    ///
    /// Once all shards are idle, no more readings are in flight, so it is the highest watermark of
    /// all shards. `None` while an active shard has no watermark.
    #[must_use]
    pub fn event_time(&self, now: Timestamp, idle: SignedDuration) -> Option<Timestamp> {
        match self.status(now, idle) {
            ClockStatus::Waiting => None,
            ClockStatus::At(time) => Some(time),
            ClockStatus::Idle => self.shards.iter().filter_map(|shard| shard.watermark).max(),
        }
    }

    /// Returns the rise of the watermark to `to` at `now`.
    ///
    /// The mark is replaced once it is older than `retention`, that of the specs of the clock.
    #[must_use]
    pub fn rise(&self, to: Timestamp, now: Timestamp, retention: SignedDuration) -> Rise {
        let is_recent = |mark: &Mark| now.duration_since(mark.at) < retention;
        let mark = self.mark.filter(is_recent);
        Rise { to, at: now, mark: mark.unwrap_or(Mark { watermark: self.watermark, at: now }) }
    }

    /// Returns the latest start of a window that the store may have removed by `now`, which it does
    /// `retention` after the window was closed; `None` if there is no such window.
    ///
    /// A removed window was closed before `now - retention`, so its readings were at or before the
    /// watermark of that time, and not more than [`MAX_CLOCK_AHEAD`] after that time itself. The
    /// mark is the watermark of that time or of a later one; a mark that is older says nothing, and
    /// the present watermark is the limit. Windows of a device whose clock is further ahead are not
    /// covered.
    #[must_use]
    pub fn removed_until(&self, now: Timestamp, retention: SignedDuration) -> Option<Timestamp> {
        let since = now.checked_sub(retention).unwrap_or(Timestamp::MIN);
        let mark = self.mark.filter(|mark| mark.at >= since);
        let watermark = mark.map_or(self.watermark, |mark| mark.watermark)?;
        Some(watermark.min(since.checked_add(MAX_CLOCK_AHEAD).unwrap_or(Timestamp::MAX)))
    }

    /// Returns the time since the watermark rose, at `now`; `None` before its first rise.
    #[must_use]
    pub fn watermark_age(&self, now: Timestamp) -> Option<SignedDuration> {
        self.raised_at.map(|at| now.duration_since(at).max(SignedDuration::ZERO))
    }

    /// Returns the shard with this id.
    #[must_use]
    pub fn shard(&self, id: &str) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.id == id)
    }

    /// Returns the shards to write when the first batch of an unknown shard `id` arrives.
    ///
    /// Every other unknown shard of the stream is registered too, with the watermark of its
    /// parents, because its events may be earlier. Known ancestors of `id` are closed: all their
    /// records were read before the first of `id`.
    #[must_use]
    pub fn shards_to_register(
        &self,
        id: &str,
        stream: &[StreamShard],
        now: Timestamp,
    ) -> ShardRegistration {
        let mut registration = ShardRegistration::default();
        let read = ancestors(id, stream);
        let shard = |id: &str, watermark| Shard {
            id: id.to_owned(),
            watermark,
            last_seen: now,
            is_closed: false,
        };
        let is_new = |shard: &&StreamShard| {
            self.shard(&shard.id).is_none() && !read.contains(shard.id.as_str())
        };
        for new in stream.iter().filter(is_new) {
            // Open parents stand for this shard; it starts at their watermark.
            let parents = new.parents.iter().filter_map(|it| self.shard(it));
            let lowest = parents.map(|parent| parent.watermark).min();
            registration.new.push(shard(&new.id, lowest.flatten()));
        }
        if !stream.iter().any(|shard| shard.id == id) && self.shard(id).is_none() {
            registration.new.push(shard(id, None));
        }
        let parents = read.iter().filter_map(|parent| self.shard(parent));
        let open = parents.filter(|parent| !parent.is_closed);
        registration.closed.extend(open.map(|it| Shard { is_closed: true, ..it.clone() }));
        registration
    }
}

/// Returns all ancestors of `id` that the stream still lists.
fn ancestors<'a>(id: &'a str, stream: &'a [StreamShard]) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut ahead = vec![id];
    while let Some(next) = ahead.pop() {
        let parents = stream.iter().filter(|shard| shard.id == next).flat_map(|it| &it.parents);
        ahead.extend(parents.filter(|parent| found.insert(parent.as_str())).map(String::as_str));
    }
    found
}

/// Result of [`Clock::shards_to_register`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardRegistration {
    /// Shards to add if they are still missing.
    pub new: Vec<Shard>,
    /// Shards to mark as closed.
    pub closed: Vec<Shard>,
}
