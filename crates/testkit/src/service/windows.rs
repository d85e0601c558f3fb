//! Simulated window store: conditional writes, an index that lags, and items that expire.
//!
//! Rules: those of `service/table.rs`, and
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html#GSI.Writes> for the
//! index, which is updated asynchronously.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tributary_aws::error::{CallError, SetupError};
use tributary_aws::windows::{
    Item, ItemKey, MAX_KEYS, OPERATION, Range, ShardList, WindowStore, Written,
};
use tributary_windows::clock::{Clock, Rise, Shard, StreamShard};

use super::SimStream;
use crate::clock;
use crate::fault::Faults;
use crate::injector::{FaultInjector, Remote};
use crate::mapping::kinesis::shard_id;

/// Maximum lag of the index.
const LAG: Duration = Duration::from_secs(2);

/// Simulated window store behind a fault injector. Clones share state.
#[derive(Clone, Debug)]
pub struct SimWindows(Remote<State>);

#[derive(Clone, Debug, Default)]
struct State {
    items: BTreeMap<ItemKey, Item>,
    /// Index without lag.
    due: BTreeMap<(String, u8), BTreeSet<(Timestamp, ItemKey)>>,
    /// Recent changes: the time until which the index may lag, the item, and its previous entry.
    recent: VecDeque<(Duration, ItemKey, Option<Timestamp>)>,
    clocks: BTreeMap<String, Clock>,
    expiries: BTreeMap<(String, String), Timestamp>,
    /// Earliest expiry of any item.
    next_expiry: Option<Timestamp>,
    /// Groups whose keys the service rejects.
    refused: BTreeSet<String>,
    /// Clocks whose calls fail.
    broken_clocks: BTreeSet<String>,
    /// Windows that were removed after their retention, as they were.
    removed: BTreeMap<ItemKey, Item>,
    /// Windows that were written again after they were removed.
    restarted: BTreeSet<ItemKey>,
    /// Rises of the watermarks, in order.
    rises: Vec<WatermarkRise>,
}

/// Rise of the watermark of a clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatermarkRise {
    /// Name of the clock.
    pub clock: String,
    /// The new watermark.
    pub to: Timestamp,
    /// Time of the rise.
    pub at: Timestamp,
}

impl SimWindows {
    /// Creates an empty store with these faults.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self(Remote::new(OPERATION, faults))
    }

    /// Returns all stored windows.
    #[must_use]
    pub fn items(&self) -> Vec<Item> {
        self.0.state().items.values().cloned().collect()
    }

    /// Returns all windows that were removed after their retention, as they were.
    #[must_use]
    pub fn removed(&self) -> Vec<Item> {
        self.0.state().removed.values().cloned().collect()
    }

    /// Returns the keys of the windows that were written again after they were removed.
    #[must_use]
    pub fn restarted(&self) -> Vec<ItemKey> {
        self.0.state().restarted.iter().cloned().collect()
    }

    /// Returns every rise of a watermark, in order.
    #[must_use]
    pub fn rises(&self) -> Vec<WatermarkRise> {
        self.0.state().rises.clone()
    }

    /// Rejects calls with windows of this group from now on, as for a key that is too long.
    pub fn refuse_group(&self, group: &str) {
        self.0.state().refused.insert(group.to_owned());
    }

    /// Fails calls about this clock from now on, as for an item that cannot be read.
    pub fn break_clock(&self, name: &str) {
        self.0.state().broken_clocks.insert(name.to_owned());
    }

    fn check<'k>(&self, keys: impl IntoIterator<Item = &'k ItemKey>) -> Result<(), CallError> {
        let refused = &self.0.state().refused;
        match keys.into_iter().find(|key| refused.contains(&key.group)) {
            None => Ok(()),
            Some(key) => {
                let message = format!("the key of {} is too long", key.group);
                Err(CallError::refused(OPERATION, "simulated", "ValidationException", message))
            }
        }
    }

    async fn call<T>(&self, effect: impl FnOnce(&mut State) -> T) -> Result<T, CallError> {
        let expiring = |state: &mut State| {
            state.expire(clock::now());
            effect(state)
        };
        self.0.call(expiring).await
    }
}

impl State {
    fn expire(&mut self, now: Timestamp) {
        if now < self.next_expiry.unwrap_or(Timestamp::MAX) {
            return;
        }
        let is_over = |_: &ItemKey, item: &mut Item| item.expires_at.is_some_and(|at| at <= now);
        for (key, item) in self.items.extract_if(.., is_over) {
            if let (Some(due), Some(index)) =
                (item.due, self.due.get_mut(&(key.spec.clone(), key.bucket())))
            {
                index.remove(&(due, key.clone()));
            }
            self.removed.insert(key, item);
        }
        let expiries = &self.expiries;
        for (name, clock) in &mut self.clocks {
            let is_kept = |shard: &Shard| {
                expiries.get(&(name.clone(), shard.id.clone())).is_none_or(|at| *at > now)
            };
            clock.shards.retain(is_kept);
        }
        let times = self.items.values().filter_map(|item| item.expires_at);
        let shards = expiries.values().copied().filter(|at| *at > now);
        self.next_expiry = times.chain(shards).min();
    }

    fn schedule_expiry(&mut self, at: Timestamp) {
        self.next_expiry = Some(self.next_expiry.map_or(at, |next| next.min(at)));
    }

    fn write(&mut self, item: &Item) -> Written {
        let before = self.items.get(&item.key);
        if before.map_or(0, |item| item.version) + 1 != item.version {
            return Written::Conflict;
        }
        let was_due = before.and_then(|item| item.due);
        let key = &item.key;
        if self.removed.contains_key(key) {
            self.restarted.insert(key.clone());
        }
        let index = self.due.entry((key.spec.clone(), key.bucket())).or_default();
        if let Some(due) = was_due {
            index.remove(&(due, key.clone()));
        }
        if let Some(due) = item.due {
            index.insert((due, key.clone()));
        }
        self.recent.push_back((clock::elapsed() + LAG, key.clone(), was_due));
        if let Some(at) = item.expires_at {
            self.schedule_expiry(at);
        }
        self.items.insert(key.clone(), item.clone());
        Written::Stored
    }

    /// Returns the index entries; a lagging index shows recently changed items as before.
    fn shown(
        &mut self,
        spec: &str,
        bucket: u8,
        until: Timestamp,
        limit: usize,
        lags: bool,
    ) -> Vec<ItemKey> {
        let now = clock::elapsed();
        while self.recent.front().is_some_and(|(caught_up, ..)| *caught_up <= now) {
            self.recent.pop_front();
        }
        // The earliest change holds the entry before all of them.
        let recent = self.recent.iter().rev().filter(|_| lags);
        let before: BTreeMap<_, _> = recent.map(|(_, key, was_due)| (key, *was_due)).collect();
        let index = self.due.get(&(spec.to_owned(), bucket)).into_iter().flatten();
        let up_to_date = index
            .take_while(|(due, _)| *due <= until)
            .filter(|(_, key)| !before.contains_key(key))
            .cloned();
        let lagging = before.iter().filter_map(|(key, was_due)| {
            let is_here = key.spec == spec && key.bucket() == bucket;
            let due = was_due.filter(|due| is_here && *due <= until)?;
            Some((due, (*key).clone()))
        });
        let found: BTreeSet<_> = up_to_date.take(limit).chain(lagging).collect();
        found.into_iter().map(|(_, key)| key).take(limit).collect()
    }

    fn put_shard(&mut self, name: &str, shard: &Shard, expires_at: Timestamp, is_new: bool) {
        let clock = self.clocks.entry(name.to_owned()).or_default();
        if is_new && clock.shard(&shard.id).is_some() {
            return;
        }
        clock.shards.retain(|other| other.id != shard.id);
        clock.shards.push(shard.clone());
        self.expiries.insert((name.to_owned(), shard.id.clone()), expires_at);
        self.schedule_expiry(expires_at);
    }
}

impl WindowStore for SimWindows {
    async fn read(&self, keys: &[ItemKey]) -> Result<Vec<Option<Item>>, CallError> {
        debug_assert!(keys.len() <= MAX_KEYS, "the service takes no more");
        let read = |state: &mut State| {
            let item = |key| state.items.get(key).cloned();
            keys.iter().map(item).collect()
        };
        self.check(keys)?;
        self.call(read).await
    }

    async fn write(&self, item: &Item) -> Result<Written, CallError> {
        self.check([&item.key])?;
        self.call(|state| state.write(item)).await
    }

    async fn due(
        &self,
        spec: &str,
        bucket: u8,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<ItemKey>, CallError> {
        let lags = self.0.injector.faults.below(2) == 0;
        self.call(|state| state.shown(spec, bucket, until, limit, lags)).await
    }

    async fn range(&self, spec: &str, group: &str, range: Range) -> Result<Vec<Item>, CallError> {
        self.call(|state| {
            let key = |start| ItemKey { spec: spec.to_owned(), group: group.to_owned(), start };
            if range.from >= range.until {
                return Vec::new();
            }
            let rows = state.items.range(key(range.from)..key(range.until));
            rows.rev().take(range.limit).map(|(_, item)| item.clone()).collect()
        })
        .await
    }

    async fn clock(&self, name: &str) -> Result<Clock, CallError> {
        if self.0.state().broken_clocks.contains(name) {
            let message = format!("the clock {name} is none that this program wrote");
            return Err(SetupError::request(OPERATION, "simulated", &message).into());
        }
        self.call(|state| state.clocks.get(name).cloned().unwrap_or_default()).await
    }

    async fn put_shard(
        &self,
        clock: &str,
        shard: &Shard,
        expires_at: Timestamp,
    ) -> Result<(), CallError> {
        self.call(|state| state.put_shard(clock, shard, expires_at, false)).await
    }

    async fn add_shard(
        &self,
        clock: &str,
        shard: &Shard,
        expires_at: Timestamp,
    ) -> Result<(), CallError> {
        self.call(|state| state.put_shard(clock, shard, expires_at, true)).await
    }

    async fn touch_shard(
        &self,
        clock: &str,
        id: &str,
        last_seen: Timestamp,
    ) -> Result<(), CallError> {
        self.call(|state| {
            let clock = state.clocks.entry(clock.to_owned()).or_default();
            for shard in clock.shards.iter_mut().filter(|shard| shard.id == id) {
                shard.last_seen = shard.last_seen.max(last_seen);
            }
        })
        .await
    }

    async fn raise_watermark(&self, name: &str, rise: &Rise) -> Result<(), CallError> {
        self.call(|state| {
            let clock = state.clocks.entry(name.to_owned()).or_default();
            if clock.watermark < Some(rise.to) {
                clock.watermark = Some(rise.to);
                clock.raised_at = Some(rise.at);
                clock.mark = Some(rise.mark);
                let (clock, at) = (name.to_owned(), clock::now());
                state.rises.push(WatermarkRise { clock, to: rise.to, at });
            }
        })
        .await
    }
}

/// Shard list of a stream behind a fault injector.
#[derive(Clone, Debug)]
pub struct SimShards {
    injector: FaultInjector,
    stream: Arc<SimStream>,
}

impl SimShards {
    /// Creates the shard list of `stream` with these faults.
    #[must_use]
    pub fn new(stream: Arc<SimStream>, faults: Faults) -> Self {
        Self { injector: FaultInjector { operation: "kinesis:ListShards", faults }, stream }
    }
}

impl ShardList for SimShards {
    async fn shards(&self) -> Result<Vec<StreamShard>, CallError> {
        let origin = |shard| StreamShard {
            id: shard_id(shard),
            parents: self.stream.parents(shard).into_iter().map(shard_id).collect(),
        };
        self.injector.call(|| (0..self.stream.shard_count()).map(origin).collect()).await
    }
}
