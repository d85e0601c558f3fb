//! One store out of those there are, as a deployment says.

use jiff::Timestamp;
use tributary_aws::error::CallError;
use tributary_aws::windows::{Item, ItemKey, Range, WindowStore, WindowTable, Written};
use tributary_core::window::clock::{Clock, Shard};

use crate::store::CassandraWindows;

/// A table of `DynamoDB`, or the tables of a cluster.
#[derive(Clone, Debug)]
pub enum ChosenStore {
    /// `DynamoDB`.
    Table(WindowTable),
    /// Cassandra or Keyspaces.
    Cluster(CassandraWindows),
}

impl WindowStore for ChosenStore {
    async fn read(&self, keys: &[ItemKey]) -> Result<Vec<Option<Item>>, CallError> {
        match self {
            Self::Table(store) => store.read(keys).await,
            Self::Cluster(store) => store.read(keys).await,
        }
    }

    async fn write(&self, item: &Item) -> Result<Written, CallError> {
        match self {
            Self::Table(store) => store.write(item).await,
            Self::Cluster(store) => store.write(item).await,
        }
    }

    async fn due(
        &self,
        spec: &str,
        bucket: u8,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<ItemKey>, CallError> {
        match self {
            Self::Table(store) => store.due(spec, bucket, until, limit).await,
            Self::Cluster(store) => store.due(spec, bucket, until, limit).await,
        }
    }

    async fn range(&self, spec: &str, group: &str, range: Range) -> Result<Vec<Item>, CallError> {
        match self {
            Self::Table(store) => store.range(spec, group, range).await,
            Self::Cluster(store) => store.range(spec, group, range).await,
        }
    }

    async fn clock(&self, name: &str) -> Result<Clock, CallError> {
        match self {
            Self::Table(store) => store.clock(name).await,
            Self::Cluster(store) => store.clock(name).await,
        }
    }

    async fn put_shard(
        &self,
        clock: &str,
        shard: &Shard,
        expires_at: Timestamp,
    ) -> Result<(), CallError> {
        match self {
            Self::Table(store) => store.put_shard(clock, shard, expires_at).await,
            Self::Cluster(store) => store.put_shard(clock, shard, expires_at).await,
        }
    }

    async fn add_shard(
        &self,
        clock: &str,
        shard: &Shard,
        expires_at: Timestamp,
    ) -> Result<(), CallError> {
        match self {
            Self::Table(store) => store.add_shard(clock, shard, expires_at).await,
            Self::Cluster(store) => store.add_shard(clock, shard, expires_at).await,
        }
    }

    async fn wake_shard(&self, clock: &str, id: &str, seen_at: Timestamp) -> Result<(), CallError> {
        match self {
            Self::Table(store) => store.wake_shard(clock, id, seen_at).await,
            Self::Cluster(store) => store.wake_shard(clock, id, seen_at).await,
        }
    }

    async fn raise(&self, clock: &str, time: Timestamp) -> Result<(), CallError> {
        match self {
            Self::Table(store) => store.raise(clock, time).await,
            Self::Cluster(store) => store.raise(clock, time).await,
        }
    }
}
