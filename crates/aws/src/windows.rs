//! The store of windows: a time series asked by group and time, and the watermarks beside it.
//!
//! A window is an [`Item`] whose body only `tributary-core` reads. Writing one is optimistic: who wrote
//! in the meantime wins, and the other reads again. [`WindowStore`] is one call to the store each;
//! [`crate::retry`] insists.

mod table;

use std::future::Future;

use jiff::Timestamp;
use tributary_windows::clock::{Clock, Shard, StreamShard};

use crate::error::CallError;
use crate::tail::Reader;

pub use table::WindowTable;

/// The operation of each call, for messages.
pub const OPERATION: &str = "windows store";

/// The most keys of one [`WindowStore::read`].
pub const MAX_KEYS: usize = 100;

/// Over how many partitions the windows that somebody has to look at are spread, by spec: a partition
/// of `DynamoDB` takes 1,000 writes a second.
pub const BUCKETS: u8 = 4;

/// Which window: of a spec, of a group, from a first instant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey {
    /// The id of the spec.
    pub spec: String,
    /// The group key.
    pub group: String,
    /// First instant inside.
    pub start: Timestamp,
}

impl ItemKey {
    /// The partition of the windows to look at that this one is in: 0 to [`BUCKETS`], by its group.
    #[must_use]
    pub fn bucket(&self) -> u8 {
        // FNV-1a, which is the same for ever: <https://www.rfc-editor.org/rfc/rfc9923>.
        let hash = self.group.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        ((hash >> 32) % u64::from(BUCKETS)) as u8
    }
}

/// A window as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Which window.
    pub key: ItemKey,
    /// 1 when it was first written, one more for each time after.
    pub version: u64,
    /// When somebody has to look at it; none where nobody has.
    pub due: Option<Timestamp>,
    /// When the store may forget it; never where there is none.
    pub expires_at: Option<Timestamp>,
    /// The window, as `tributary_windows::Window` writes it.
    pub body: String,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The item is there.
    Stored,
    /// The item there has another version: by somebody else, or by this very write when its answer was
    /// lost.
    Conflict,
}

/// From when to when, of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The earliest start.
    pub from: Timestamp,
    /// The first start that is not in it.
    pub until: Timestamp,
    /// No more windows than this, the newest.
    pub limit: usize,
}

/// A store of windows. Each call is safe to make again, and reads what was written before it, but for
/// [`WindowStore::due`].
///
/// The errors of each are those of the call: [`CallError`].
pub trait WindowStore: Send + Sync {
    /// The windows of these keys, in their order, as far as there are any; up to [`MAX_KEYS`].
    fn read(
        &self,
        keys: &[ItemKey],
    ) -> impl Future<Output = Result<Vec<Option<Item>>, CallError>> + Send;

    /// Writes `item` where the version before its own is there: for version 1, where there is none.
    fn write(&self, item: &Item) -> impl Future<Output = Result<Written, CallError>> + Send;

    /// Windows of a spec and [bucket](ItemKey::bucket) that are due at `until` or before, the earliest
    /// first, up to `limit`. What was written a moment ago may be missing, or there still.
    fn due(
        &self,
        spec: &str,
        bucket: u8,
        until: Timestamp,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<ItemKey>, CallError>> + Send;

    /// The windows of one group, newest first.
    fn range(
        &self,
        spec: &str,
        group: &str,
        range: Range,
    ) -> impl Future<Output = Result<Vec<Item>, CallError>> + Send;

    /// The clock of this name; empty where nobody wrote to it.
    fn clock(&self, name: &str) -> impl Future<Output = Result<Clock, CallError>> + Send;

    /// Writes what one shard has come to, whatever is there. The store may forget it at `expires_at`.
    fn put_shard(
        &self,
        clock: &str,
        shard: &Shard,
        expires_at: Timestamp,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Adds a shard where it is not there.
    fn add_shard(
        &self,
        clock: &str,
        shard: &Shard,
        expires_at: Timestamp,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Says that a shard which is there was heard of at `seen_at`, where that is later than what is there:
    /// what it has come to stays, also where it is being written.
    fn touch_shard(
        &self,
        clock: &str,
        id: &str,
        last_seen: Timestamp,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Moves the watermark of a clock to `time`, where it is not there or beyond already.
    fn raise_watermark(
        &self,
        clock: &str,
        time: Timestamp,
    ) -> impl Future<Output = Result<(), CallError>> + Send;
}

/// What knows the shards of the stream.
pub trait ShardList: Send + Sync {
    /// Every shard that the stream has or still remembers.
    ///
    /// # Errors
    ///
    /// Those of the call.
    fn shards(&self) -> impl Future<Output = Result<Vec<StreamShard>, CallError>> + Send;
}

impl ShardList for Reader {
    async fn shards(&self) -> Result<Vec<StreamShard>, CallError> {
        let shards = Reader::shards(self).await?;
        let origin =
            |shard: crate::tail::Shard| StreamShard { id: shard.id, parents: shard.parents };
        Ok(shards.into_iter().map(origin).collect())
    }
}
