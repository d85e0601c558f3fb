//! Watermarks: the clocks of a batch, and where its readings move them.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tributary_aws::error::CallError;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::put::BatchPut;
use tributary_aws::windows::{ShardList, WindowStore};
use tributary_windows::clock::{Clock, ClockStatus, Shard};

use crate::updater::WindowUpdater;

/// How long the store remembers a shard that brings nothing: longer than any record of it can come
/// again, since a stream keeps records for a year at most and these functions' for a week.
const SHARD_RETENTION: SignedDuration = SignedDuration::from_hours(8 * 24);

impl<S: WindowStore, E: BatchPut<Entry = StreamRecord>> WindowUpdater<'_, S, E> {
    /// The clocks of these names.
    pub(crate) async fn clocks<'n>(
        &self,
        names: impl Iterator<Item = &'n String>,
    ) -> Result<BTreeMap<String, Clock>, CallError> {
        let load = async |name: &String| {
            let clock = self.retry.call(self.deadline, || self.store.clock(name)).await?;
            Ok((name.clone(), clock))
        };
        join_all(names.map(load)).await.into_iter().collect()
    }

    /// Makes a shard known to a clock, with all others that may still bring something, and says that
    /// it is alive where it brings something of use: a shard whose batches fail for long must not look
    /// idle. Where all were idle all are woken: what comes now may come through any of them, and must not
    /// be too late because one is faster.
    pub(crate) async fn register_shard(
        &self,
        name: &str,
        clock: &mut Clock,
        shard: &str,
        is_in_time: bool,
        idle: SignedDuration,
        list: &impl ShardList,
    ) -> Result<(), CallError> {
        let now = (self.clock)();
        if is_in_time && clock.status(now, idle) == ClockStatus::Idle {
            for other in clock.shards.iter_mut().filter(|it| !it.is_closed && it.id != shard) {
                let wake = || self.store.touch_shard(name, &other.id, now);
                self.retry.call(self.deadline, wake).await?;
                other.last_seen = now;
            }
        }
        if let Some(known) = clock.shard(shard) {
            if is_in_time && now.duration_since(known.last_seen) > idle / 3 {
                let alive = Shard { last_seen: now, ..known.clone() };
                self.put_shard(name, clock, alive).await?;
            }
            return Ok(());
        }
        let stream = self.retry.call(self.deadline, || list.shards()).await?;
        let mut registration = clock.shards_to_register(shard, &stream, now);
        // Its own comes last: where that is known, all the others are.
        registration.new.sort_by_key(|new| new.id == shard);
        for new in registration.new {
            let (add, expires_at) = (&new, expiry(now));
            self.retry
                .call(self.deadline, move || self.store.add_shard(name, add, expires_at))
                .await?;
            clock.shards.push(new);
        }
        for closed in registration.closed {
            self.put_shard(name, clock, closed).await?;
        }
        Ok(())
    }

    /// Says how far a shard has come, and moves the watermark of the clock with it. One that brought
    /// nothing of use is as silent as it was.
    pub(crate) async fn advance(
        &self,
        name: &str,
        clock: &mut Clock,
        shard: &str,
        progress: ShardProgress,
        idle: SignedDuration,
    ) -> Result<(), CallError> {
        if progress.is_in_time {
            let now = (self.clock)();
            let known = clock.shard(shard);
            let watermark = known.and_then(|known| known.watermark).max(progress.to);
            let is_closed = known.is_some_and(|known| known.is_closed);
            let shard = Shard { id: shard.to_owned(), watermark, last_seen: now, is_closed };
            self.put_shard(name, clock, shard).await?;
        }
        self.raise_watermark(name, clock, idle).await.map(|_| ())
    }

    /// Moves the watermark of a clock to where its shards are by now; how it stands.
    pub(crate) async fn raise_watermark(
        &self,
        name: &str,
        clock: &mut Clock,
        idle: SignedDuration,
    ) -> Result<ClockStatus, CallError> {
        let now = (self.clock)();
        if let Some(time) = clock.event_time(now, idle)
            && clock.watermark.is_none_or(|before| before < time)
        {
            self.retry.call(self.deadline, || self.store.raise_watermark(name, time)).await?;
            clock.watermark = Some(time);
        }
        Ok(clock.status(now, idle))
    }

    async fn put_shard(
        &self,
        name: &str,
        clock: &mut Clock,
        shard: Shard,
    ) -> Result<(), CallError> {
        let (put, expires_at) = (&shard, expiry((self.clock)()));
        self.retry.call(self.deadline, move || self.store.put_shard(name, put, expires_at)).await?;
        clock.shards.retain(|other| other.id != shard.id);
        clock.shards.push(shard);
        Ok(())
    }
}

/// What the readings of a shard do to a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardProgress {
    /// The latest of their times; those that are ahead of their arrival have none.
    pub to: Option<Timestamp>,
    /// Whether any of them may still change a window. A device whose clock is wrong says nothing of what
    /// time it is, however often it says it.
    pub is_in_time: bool,
}

impl ShardProgress {
    /// By the times of the readings; whoever comes later than `reach` behind the watermark is too late for
    /// every window.
    pub(crate) fn of(
        times: impl Iterator<Item = Option<Timestamp>>,
        clock: &Clock,
        horizon: SignedDuration,
    ) -> Self {
        let to = times.flatten().max();
        let oldest = clock.watermark.and_then(|watermark| watermark.checked_sub(horizon).ok());
        let is_in_time = to.is_some_and(|to| oldest.is_none_or(|oldest| oldest <= to));
        Self { to, is_in_time }
    }
}

fn expiry(now: Timestamp) -> Timestamp {
    now.checked_add(SHARD_RETENTION).unwrap_or(Timestamp::MAX)
}
