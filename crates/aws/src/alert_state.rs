//! State that alert rules keep between batches: the windows for which `when` held, and the
//! last-seen time of each watched entity.
//!
//! Each update is one conditional write on one item. Stored values only grow, so updates may arrive
//! in any order, repeatedly, and from several functions, with the same result.

mod table;

use std::future::Future;

use jiff::Timestamp;
use tributary_rules::consecutive::{Mark, Marks};
use tributary_rules::no_data::WatchedEntity;

use crate::cardinality::CardinalityStore;
use crate::error::CallError;

pub use table::AlertStateTable;

/// Name of the write operation in messages.
pub const OPERATION: &str = "dynamodb:UpdateItem";

/// Name of the query operation in messages.
pub const QUERY: &str = "dynamodb:Query";

/// Store of the state of alert rules.
pub trait AlertState: CardinalityStore {
    /// Raises the stored mark of a window to the mark's value if it is lower. Returns all marks of
    /// the item after the update. The item is retained until `expires_at` at least.
    ///
    /// # Errors
    ///
    /// Returns an error if the answer lacks the marks; they may have been raised all the same.
    fn raise_mark(
        &self,
        mark: &Mark,
        expires_at: Timestamp,
    ) -> impl Future<Output = Result<Marks, CallError>> + Send;

    /// Records the last-seen time of an entity, unless a later one is stored. Its no-data alert is
    /// due at [`WatchedEntity::due`] unless another reading arrives. Returns the stored state of
    /// the entity, including a no-data period whose resolved alert has not been sent yet.
    ///
    /// # Errors
    ///
    /// Returns an error if the answer lacks the state; it may have been stored all the same.
    fn record_seen(
        &self,
        watched: &WatchedEntity,
        expires_at: Timestamp,
    ) -> impl Future<Output = Result<WatchedEntity, CallError>> + Send;

    /// Records the last-seen time of an entity as [`AlertState::record_seen`], if the store has the
    /// entity. Returns `None` if it has not.
    ///
    /// # Errors
    ///
    /// Returns an error if the answer lacks the state; it may have been stored all the same.
    fn refresh_seen(
        &self,
        watched: &WatchedEntity,
        expires_at: Timestamp,
    ) -> impl Future<Output = Result<Option<WatchedEntity>, CallError>> + Send;

    /// Returns the entities of an index bucket whose no-data alert is due at `now`, longest due
    /// first, at most `limit`. The index is eventually consistent.
    ///
    /// # Errors
    ///
    /// Returns an error if the store does not answer.
    fn due(
        &self,
        bucket: u8,
        now: Timestamp,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<WatchedEntity>, CallError>> + Send;

    /// Marks the no-data alert since [`WatchedEntity::last_seen`] as sent. The entity is no longer
    /// due, unless a reading arrived meanwhile.
    ///
    /// # Errors
    ///
    /// Returns an error if the update is not known to be stored.
    fn mark_sent(
        &self,
        watched: &WatchedEntity,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Postpones the no-data alert since [`WatchedEntity::last_seen`] to `until`, if it is due
    /// before that and no reading arrived meanwhile.
    ///
    /// # Errors
    ///
    /// Returns an error if the update is not known to be stored.
    fn postpone(
        &self,
        watched: &WatchedEntity,
        until: Timestamp,
        expires_at: Timestamp,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Marks the resolved alert of the no-data period since [`WatchedEntity::silent_since`] as
    /// sent.
    ///
    /// # Errors
    ///
    /// Returns an error if the update is not known to be stored.
    fn mark_resolved(
        &self,
        watched: &WatchedEntity,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Records that the function lags on a shard. Until `until`, missing readings prove nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if the update is not known to be stored.
    fn record_lag(
        &self,
        shard: &str,
        until: Timestamp,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Returns true while the function lags on any shard.
    ///
    /// # Errors
    ///
    /// Returns an error if the store does not answer.
    fn is_lagging(&self, now: Timestamp) -> impl Future<Output = Result<bool, CallError>> + Send;
}
