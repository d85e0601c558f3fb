//! Watermarks: the clocks of a batch, and where its readings move them.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tributary_aws::error::CallError;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::put::BatchPut;
use tributary_aws::windows::{ShardList, WindowStore};
use tributary_windows::clock::{Clock, Shard, Standing};

use crate::keeper::Keeper;

/// How long the store remembers a shard that brings nothing: longer than any record of it can come
/// again, since a stream keeps records for a year at most and these functions' for a week.
const MEMORY: SignedDuration = SignedDuration::from_hours(8 * 24);

impl<S: WindowStore, E: BatchPut<Entry = StreamRecord>> Keeper<'_, S, E> {
    /// The clocks of these names.
    pub(crate) async fn clocks<'n>(
        &self,
        names: impl Iterator<Item = &'n String>,
    ) -> Result<BTreeMap<String, Clock>, CallError> {
        let load = async |name: &String| {
            let clock = self.insistence.insist(self.deadline, || self.store.clock(name)).await?;
            Ok((name.clone(), clock))
        };
        join_all(names.map(load)).await.into_iter().collect()
    }

    /// Makes a shard known to a clock, with all others that may still bring something, and says that
    /// it is alive where it brings something of use: a shard whose batches fail for long must not look
    /// idle. Where all were idle all are woken: what comes now may come through any of them, and must not
    /// be too late because one is faster.
    pub(crate) async fn greet(
        &self,
        name: &str,
        clock: &mut Clock,
        shard: &str,
        is_of_use: bool,
        idle: SignedDuration,
        list: &impl ShardList,
    ) -> Result<(), CallError> {
        let now = (self.clock)();
        if is_of_use && clock.standing(now, idle) == Standing::Idle {
            for other in clock.shards.iter_mut().filter(|it| !it.is_over && it.id != shard) {
                let wake = || self.store.wake_shard(name, &other.id, now);
                self.insistence.insist(self.deadline, wake).await?;
                other.seen_at = now;
            }
        }
        if let Some(known) = clock.shard(shard) {
            if is_of_use && now.duration_since(known.seen_at) > idle / 3 {
                let alive = Shard { seen_at: now, ..known.clone() };
                self.put_shard(name, clock, alive).await?;
            }
            return Ok(());
        }
        let stream = self.insistence.insist(self.deadline, || list.shards()).await?;
        let mut introduced = clock.introduce(shard, &stream, now);
        // Its own comes last: where that is known, all the others are.
        introduced.new.sort_by_key(|new| new.id == shard);
        for new in introduced.new {
            let (add, expires_at) = (&new, expiry(now));
            self.insistence
                .insist(self.deadline, move || self.store.add_shard(name, add, expires_at))
                .await?;
            clock.shards.push(new);
        }
        for over in introduced.over {
            self.put_shard(name, clock, over).await?;
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
        moved: Moved,
        idle: SignedDuration,
    ) -> Result<(), CallError> {
        if moved.is_of_use {
            let now = (self.clock)();
            let known = clock.shard(shard);
            let watermark = known.and_then(|known| known.watermark).max(moved.to);
            let is_over = known.is_some_and(|known| known.is_over);
            let moved = Shard { id: shard.to_owned(), watermark, seen_at: now, is_over };
            self.put_shard(name, clock, moved).await?;
        }
        self.raise(name, clock, idle).await.map(|_| ())
    }

    /// Moves the watermark of a clock to where its shards are by now; how it stands.
    pub(crate) async fn raise(
        &self,
        name: &str,
        clock: &mut Clock,
        idle: SignedDuration,
    ) -> Result<Standing, CallError> {
        let now = (self.clock)();
        if let Some(time) = clock.reached(now, idle)
            && clock.watermark.is_none_or(|before| before < time)
        {
            self.insistence.insist(self.deadline, || self.store.raise(name, time)).await?;
            clock.watermark = Some(time);
        }
        Ok(clock.standing(now, idle))
    }

    async fn put_shard(
        &self,
        name: &str,
        clock: &mut Clock,
        shard: Shard,
    ) -> Result<(), CallError> {
        let (put, expires_at) = (&shard, expiry((self.clock)()));
        self.insistence
            .insist(self.deadline, move || self.store.put_shard(name, put, expires_at))
            .await?;
        clock.shards.retain(|other| other.id != shard.id);
        clock.shards.push(shard);
        Ok(())
    }
}

/// What the readings of a shard do to a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    /// The latest of their times; those that are ahead of their arrival have none.
    pub to: Option<Timestamp>,
    /// Whether any of them may still change a window. A device whose clock is wrong says nothing of what
    /// time it is, however often it says it.
    pub is_of_use: bool,
}

impl Moved {
    /// By the times of the readings; whoever comes later than `reach` behind the watermark is too late for
    /// every window.
    pub(crate) fn by(
        times: impl Iterator<Item = Option<Timestamp>>,
        clock: &Clock,
        reach: SignedDuration,
    ) -> Self {
        let to = times.flatten().max();
        let oldest = clock.watermark.and_then(|watermark| watermark.checked_sub(reach).ok());
        let is_of_use = to.is_some_and(|to| oldest.is_none_or(|oldest| oldest <= to));
        Self { to, is_of_use }
    }
}

fn expiry(now: Timestamp) -> Timestamp {
    now.checked_add(MEMORY).unwrap_or(Timestamp::MAX)
}
