//! Watermarks: loads the clocks of a batch, and advances them by its readings.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tributary_aws::error::CallError;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::put::BatchPut;
use tributary_aws::windows::{ItemKey, ShardList, WindowStore};
use tributary_windows::clock::{
    Clock, ClockStatus, Shard, clock_name, idle_timeout_by_clock, lateness_horizon_by_clock,
    retention_by_clock,
};
use tributary_windows::{Span, Spec};

use crate::handler::Windows;
use crate::updater::WindowUpdater;

/// Retention of an inactive shard in the store.
///
/// It exceeds the time in which Lambda can redeliver a record of the shard: a stream retains
/// records for at most 1 year, and the streams of these functions for 7 days.
const SHARD_RETENTION: SignedDuration = SignedDuration::from_hours(8 * 24);

impl<S, L, E, Q> WindowUpdater<'_, S, L, E, Q>
where
    S: WindowStore,
    L: ShardList,
    E: BatchPut<Entry = StreamRecord>,
    Q: BatchPut<Entry = Vec<u8>>,
{
    /// Loads the clocks with these names.
    pub(crate) async fn clocks<'n>(
        &self,
        names: impl Iterator<Item = &'n String>,
    ) -> Result<BTreeMap<String, Clock>, CallError> {
        let load =
            async |name: &String| Ok((name.clone(), self.call(|store| store.clock(name)).await?));
        join_all(names.map(load)).await.into_iter().collect()
    }

    /// Registers a shard with a clock, together with all others that may still deliver readings.
    ///
    /// Readings that move the watermark of the shard also raise its `last_seen`, so that a shard
    /// whose batches keep failing does not look idle. When the clock was idle, every open shard is
    /// touched: the next readings may arrive through any of them, and must not be late because one
    /// shard is faster.
    pub(crate) async fn register_shard(
        &self,
        name: &str,
        clock: &mut Clock,
        shard: &str,
        is_moving: bool,
        idle: SignedDuration,
    ) -> Result<(), CallError> {
        let now = self.now();
        if is_moving && clock.status(now, idle) == ClockStatus::Idle {
            for other in clock.shards.iter_mut().filter(|it| !it.is_closed && it.id != shard) {
                self.call(|store| store.touch_shard(name, &other.id, now)).await?;
                other.last_seen = now;
            }
        }
        if let Some(known) = clock.shard(shard) {
            if is_moving && now.duration_since(known.last_seen) > idle / 3 {
                let alive = Shard { last_seen: now, ..known.clone() };
                self.put_shard(name, clock, alive).await?;
            }
            return Ok(());
        }
        let Windows { shards, retry, .. } = self.function;
        let stream = retry.call(self.deadline, || shards.shards()).await?;
        let mut registration = clock.shards_to_register(shard, &stream, now);
        // Add the own shard last: once it is registered, all others are.
        registration.new.sort_by_key(|new| new.id == shard);
        for new in registration.new {
            self.call(|store| store.add_shard(name, &new, expiry(now))).await?;
            clock.shards.push(new);
        }
        for closed in registration.closed {
            self.put_shard(name, clock, closed).await?;
        }
        Ok(())
    }

    /// Stores the progress of a shard, and advances the watermark of the clock.
    ///
    /// A shard whose watermark does not move keeps its `last_seen`: a device that sends one reading
    /// again and again does not hold the watermark.
    pub(crate) async fn advance(
        &self,
        name: &str,
        clock: &mut Clock,
        shard: &str,
        progress: ShardProgress,
        lengths: ClockLengths,
    ) -> Result<(), CallError> {
        if progress.is_moving {
            let watermark = progress.to;
            let is_closed = clock.shard(shard).is_some_and(|known| known.is_closed);
            let shard = Shard { id: shard.to_owned(), watermark, last_seen: self.now(), is_closed };
            self.put_shard(name, clock, shard).await?;
        }
        self.raise_watermark(name, clock, lengths).await.map(|_| ())
    }

    /// Advances the watermark of a clock to the event time of its shards, and returns its status.
    pub(crate) async fn raise_watermark(
        &self,
        name: &str,
        clock: &mut Clock,
        lengths: ClockLengths,
    ) -> Result<ClockStatus, CallError> {
        let now = self.now();
        self.raise(name, clock, clock.event_time(now, lengths.idle), lengths).await?;
        Ok(clock.status(now, lengths.idle))
    }

    /// Raises the watermark to the latest start of windows that are about to be closed.
    ///
    /// Processing time may close windows of a shard whose progress was not stored. The clock must
    /// remember them, for when the store has removed them.
    pub(crate) async fn pass(
        &self,
        spec: usize,
        clock: &mut Clock,
        windows: &[ItemKey],
        lengths: ClockLengths,
    ) -> Result<(), CallError> {
        let name = clock_name(&self.function.specs[spec]);
        self.raise(&name, clock, windows.iter().map(|key| key.start).max(), lengths).await
    }

    /// Raises the watermark to a time, unless it is there already.
    async fn raise(
        &self,
        name: &str,
        clock: &mut Clock,
        to: Option<Timestamp>,
        lengths: ClockLengths,
    ) -> Result<(), CallError> {
        let Some(to) = to.filter(|_| clock.watermark < to) else { return Ok(()) };
        let now = self.now();
        let rise = &clock.rise(to, now, lengths.retention);
        self.call(|store| store.raise_watermark(name, rise)).await?;
        clock.watermark = Some(to);
        clock.raised_at = Some(now);
        clock.mark = Some(rise.mark);
        Ok(())
    }

    async fn put_shard(
        &self,
        name: &str,
        clock: &mut Clock,
        shard: Shard,
    ) -> Result<(), CallError> {
        let expires_at = expiry(self.now());
        self.call(|store| store.put_shard(name, &shard, expires_at)).await?;
        clock.shards.retain(|other| other.id != shard.id);
        clock.shards.push(shard);
        Ok(())
    }
}

/// Lengths of time of a clock, over its specs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockLengths {
    /// Longest idle timeout.
    pub idle: SignedDuration,
    /// Longest time by which a reading that is not late may be behind the watermark.
    pub horizon: SignedDuration,
    /// Shortest retention.
    pub retention: SignedDuration,
}

impl ClockLengths {
    /// Computes the lengths of each clock of `specs`.
    pub(crate) fn by_clock(specs: &[Spec]) -> BTreeMap<String, Self> {
        let (horizon, retention) = (lateness_horizon_by_clock(specs), retention_by_clock(specs));
        let lengths = |(name, idle): (String, SignedDuration)| {
            let (horizon, retention) = (horizon[&name], retention[&name]);
            (name, Self { idle, horizon, retention })
        };
        idle_timeout_by_clock(specs).into_iter().map(lengths).collect()
    }
}

/// Limits of one spec by its clock, for the readings of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpecLimits {
    /// Watermark of the clock.
    pub watermark: Timestamp,
    /// Latest start of a window that the store may have removed.
    pub removed_until: Option<Timestamp>,
}

impl SpecLimits {
    /// Returns the limits of a spec; `None` if its clock has no watermark.
    pub(crate) fn of(spec: &Spec, clock: &Clock, now: Timestamp) -> Option<Self> {
        let removed_until = clock.removed_until(now, spec.retention.0);
        Some(Self { watermark: clock.watermark?, removed_until })
    }

    /// Returns true if the store may have had the window `span`, and removed it.
    pub(crate) fn may_be_removed(self, span: Span) -> bool {
        self.removed_until.is_some_and(|until| span.start <= until)
    }
}

/// Progress of a shard by the readings of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardProgress {
    /// Latest event time of the readings; a reading whose clock is ahead of its arrival has none.
    pub to: Option<Timestamp>,
    /// True if a reading can still change a window. The readings of a device with a wrong clock do
    /// not keep the shard active, however many there are.
    pub is_in_time: bool,
    /// True if such a reading is later than the watermark of the shard.
    pub is_moving: bool,
}

impl ShardProgress {
    /// Computes the progress from the event times of the readings.
    ///
    /// A reading further than `horizon` behind the watermark of the clock is too late for every
    /// window.
    pub(crate) fn of(
        times: impl Iterator<Item = Option<Timestamp>>,
        clock: &Clock,
        shard: &str,
        horizon: SignedDuration,
    ) -> Self {
        let to = times.flatten().max();
        let oldest = clock.watermark.and_then(|watermark| watermark.checked_sub(horizon).ok());
        let is_in_time = to.is_some_and(|to| oldest.is_none_or(|oldest| oldest <= to));
        let is_moving = is_in_time && to > clock.shard(shard).and_then(|known| known.watermark);
        Self { to, is_in_time, is_moving }
    }
}

fn expiry(now: Timestamp) -> Timestamp {
    now.checked_add(SHARD_RETENTION).unwrap_or(Timestamp::MAX)
}
