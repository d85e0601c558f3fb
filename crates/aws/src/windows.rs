//! Store of windows: a time series by group and time, with the watermarks.
//!
//! A window is an [`Item`] whose body only `tributary-windows` reads. Writes are optimistic: the first
//! writer wins, and the other one reads again. [`WindowStore`] is one call to the store each;
//! [`crate::retry`] retries.

mod table;

use std::future::Future;

use jiff::Timestamp;
use tributary_windows::clock::{Clock, Rise, Shard, StreamShard};

use crate::error::CallError;
use crate::tail::Reader;

pub use table::WindowTable;

/// Name of the operation in messages.
pub const OPERATION: &str = "windows store";

/// Maximum number of keys of one [`WindowStore::read`].
pub const MAX_KEYS: usize = 100;

/// Number of index partitions over which the due windows of a spec are spread. A `DynamoDB`
/// partition accepts 1,000 writes per second.
pub const BUCKETS: u8 = 4;

/// Key of a window: spec, group and start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey {
    /// Id of the spec.
    pub spec: String,
    /// Group key.
    pub group: String,
    /// Start of the window, inclusive.
    pub start: Timestamp,
}

impl ItemKey {
    /// Returns the bucket of the window in the index of due windows: below [`BUCKETS`], by its
    /// group.
    #[must_use]
    pub fn bucket(&self) -> u8 {
        // FNV-1a never changes: <https://www.rfc-editor.org/rfc/rfc9923>.
        let hash = self.group.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        ((hash >> 32) % u64::from(BUCKETS)) as u8
    }
}

/// Window as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Key of the window.
    pub key: ItemKey,
    /// Version: 1 for the first write, and one more for each later one.
    pub version: u64,
    /// Time at which the window is due for processing; `None` if it is not.
    pub due: Option<Timestamp>,
    /// Earliest time at which the store may drop the item; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// Window as `tributary_windows::Window` serializes it.
    pub body: String,
}

/// Result of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Stored.
    Stored,
    /// Rejected because the stored version differs: another writer was faster, or this very write
    /// was stored and its answer was lost.
    Conflict,
}

/// Time range of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Earliest start.
    pub from: Timestamp,
    /// End of the range, exclusive.
    pub until: Timestamp,
    /// Maximum number of windows; the newest are returned.
    pub limit: usize,
}

/// Store of windows. Each call is safe to retry and reads earlier writes, except
/// [`WindowStore::due`].
///
/// Each method returns the [`CallError`] of its call.
pub trait WindowStore: Send + Sync {
    /// Reads the windows of these keys that exist, in key order; up to [`MAX_KEYS`].
    fn read(
        &self,
        keys: &[ItemKey],
    ) -> impl Future<Output = Result<Vec<Option<Item>>, CallError>> + Send;

    /// Writes `item` if the stored version is the one before its own; version 1 requires that none
    /// is stored.
    fn write(&self, item: &Item) -> impl Future<Output = Result<Written, CallError>> + Send;

    /// Returns windows of a spec and [bucket](ItemKey::bucket) that are due at `until` or earlier,
    /// earliest first, up to `limit`. The index is eventually consistent: recent writes may be
    /// missing, and recent removals may still appear.
    fn due(
        &self,
        spec: &str,
        bucket: u8,
        until: Timestamp,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<ItemKey>, CallError>> + Send;

    /// Returns the windows of one group, newest first.
    fn range(
        &self,
        spec: &str,
        group: &str,
        range: Range,
    ) -> impl Future<Output = Result<Vec<Item>, CallError>> + Send;

    /// Returns the clock `name`; empty if it was never written.
    fn clock(&self, name: &str) -> impl Future<Output = Result<Clock, CallError>> + Send;

    /// Writes the state of one shard over any stored one. The store may drop it at `expires_at`.
    fn put_shard(
        &self,
        clock: &str,
        shard: &Shard,
        expires_at: Timestamp,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Adds a shard unless it exists.
    fn add_shard(
        &self,
        clock: &str,
        shard: &Shard,
        expires_at: Timestamp,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Raises `last_seen` of an existing shard if `seen_at` is later. Leaves its watermark, also
    /// while that is being written.
    fn touch_shard(
        &self,
        clock: &str,
        id: &str,
        last_seen: Timestamp,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Raises the watermark of a clock if it is earlier.
    fn raise_watermark(
        &self,
        clock: &str,
        rise: &Rise,
    ) -> impl Future<Output = Result<(), CallError>> + Send;
}

/// Source of the stream's list of shards.
pub trait ShardList: Send + Sync {
    /// Returns every shard that the stream has or still remembers.
    ///
    /// # Errors
    ///
    /// Returns the error of the call.
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
