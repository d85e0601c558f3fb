//! The store of windows: conditional writes, an index that lags behind, and items that expire.
//!
//! Rules: those of `crates/sim/src/service/table.rs`, and
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html#GSI.Writes> for the
//! index, which is brought up to date after the fact.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tributary_aws::error::CallError;
use tributary_aws::windows::{
    Item, ItemKey, MAX_KEYS, OPERATION, Range, ShardList, WindowStore, Written,
};
use tributary_core::window::clock::{Clock, Shard, ShardOrigin};

use super::SimStream;
use crate::clock;
use crate::fault::Faults;
use crate::line::Line;
use crate::mapping::kinesis::shard_id;

/// How long the index may show what was.
const LAG: Duration = Duration::from_secs(2);

/// One store of windows, at the end of a line. Clones are the same store.
#[derive(Clone, Debug)]
pub struct SimWindows {
    line: Line,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    items: BTreeMap<ItemKey, Row>,
    clocks: BTreeMap<String, Clock>,
    expiries: BTreeMap<(String, String), Timestamp>,
}

#[derive(Debug)]
struct Row {
    item: Item,
    /// What the index shows until it has caught up: when it was due before the last change.
    was_due: Option<Timestamp>,
    changed: Duration,
}

impl SimWindows {
    /// An empty store, as it is reached with these faults.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self { line: Line::new(OPERATION, faults), state: Arc::default() }
    }

    /// Every window that is there.
    #[must_use]
    pub fn items(&self) -> Vec<Item> {
        self.state().items.values().map(|row| row.item.clone()).collect()
    }

    /// The clock of this name, as it is.
    #[must_use]
    pub fn clock_of(&self, name: &str) -> Clock {
        self.state().clocks.get(name).cloned().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call<T>(&self, effect: impl FnOnce(&mut State) -> T) -> Result<T, CallError> {
        let forgetting = |state: &mut State| {
            state.forget(clock::now());
            effect(state)
        };
        self.line.call(|| forgetting(&mut self.state())).await
    }
}

impl State {
    fn forget(&mut self, now: Timestamp) {
        self.items.retain(|_, row| row.item.expires_at.is_none_or(|at| at > now));
        let expiries = &self.expiries;
        for (name, clock) in &mut self.clocks {
            let is_kept = |shard: &Shard| {
                expiries.get(&(name.clone(), shard.id.clone())).is_none_or(|at| *at > now)
            };
            clock.shards.retain(is_kept);
        }
    }

    fn write(&mut self, item: &Item) -> Written {
        let before = self.items.get(&item.key);
        if before.map_or(0, |row| row.item.version) + 1 != item.version {
            return Written::Conflict;
        }
        let was_due = before.and_then(|row| row.item.due);
        let row = Row { item: item.clone(), was_due, changed: clock::elapsed() };
        self.items.insert(item.key.clone(), row);
        Written::Stored
    }

    fn put_shard(&mut self, name: &str, shard: &Shard, expires_at: Timestamp, is_new: bool) {
        let clock = self.clocks.entry(name.to_owned()).or_default();
        if is_new && clock.shard(&shard.id).is_some() {
            return;
        }
        clock.shards.retain(|other| other.id != shard.id);
        clock.shards.push(shard.clone());
        self.expiries.insert((name.to_owned(), shard.id.clone()), expires_at);
    }
}

impl WindowStore for SimWindows {
    async fn read(&self, keys: &[ItemKey]) -> Result<Vec<Option<Item>>, CallError> {
        debug_assert!(keys.len() <= MAX_KEYS, "the service takes no more");
        let read = |state: &mut State| {
            let item = |key| state.items.get(key).map(|row: &Row| row.item.clone());
            keys.iter().map(item).collect()
        };
        self.call(read).await
    }

    async fn write(&self, item: &Item) -> Result<Written, CallError> {
        self.call(|state| state.write(item)).await
    }

    async fn due(
        &self,
        spec: &str,
        bucket: u8,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<ItemKey>, CallError> {
        let lag = LAG * self.line.faults().below(2) as u32;
        self.call(|state| {
            let due = |row: &Row| {
                let lags = clock::elapsed() < row.changed + lag;
                if lags { row.was_due } else { row.item.due }
            };
            let of_bucket =
                state.items.iter().filter(|(key, _)| key.spec == spec && key.bucket() == bucket);
            let mut found: Vec<_> = of_bucket
                .filter_map(|(key, row)| Some((due(row).filter(|at| *at <= until)?, key.clone())))
                .collect();
            found.sort();
            found.into_iter().map(|(_, key)| key).take(limit).collect()
        })
        .await
    }

    async fn range(&self, spec: &str, group: &str, range: Range) -> Result<Vec<Item>, CallError> {
        self.call(|state| {
            let key = |start| ItemKey { spec: spec.to_owned(), group: group.to_owned(), start };
            if range.from >= range.until {
                return Vec::new();
            }
            let rows = state.items.range(key(range.from)..key(range.until));
            rows.rev().take(range.limit).map(|(_, row)| row.item.clone()).collect()
        })
        .await
    }

    async fn clock(&self, name: &str) -> Result<Clock, CallError> {
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

    async fn raise(&self, clock: &str, time: Timestamp) -> Result<(), CallError> {
        self.call(|state| {
            let clock = state.clocks.entry(clock.to_owned()).or_default();
            clock.watermark = clock.watermark.max(Some(time));
        })
        .await
    }
}

/// The shards of a stream, at the end of a line.
#[derive(Clone, Debug)]
pub struct SimShards {
    line: Line,
    stream: Arc<SimStream>,
}

impl SimShards {
    /// The shards of `stream`, as they are asked for with these faults.
    #[must_use]
    pub fn new(stream: Arc<SimStream>, faults: Faults) -> Self {
        Self { line: Line::new("kinesis:ListShards", faults), stream }
    }
}

impl ShardList for SimShards {
    async fn shards(&self) -> Result<Vec<ShardOrigin>, CallError> {
        let origin = |shard| ShardOrigin {
            id: shard_id(shard),
            parents: self.stream.parents(shard).into_iter().map(shard_id).collect(),
        };
        self.line.call(|| (0..self.stream.shard_count()).map(origin).collect()).await
    }
}
