//! What rules remember from one batch to the next: for which windows `when` held, and when something
//! last came from an entity.
//!
//! Each note is one conditional write on one item. What is noted only grows, so that notes may come in
//! any order, and again, and from several functions at once, and come to the same.

mod table;

use std::future::Future;

use jiff::Timestamp;
use tributary_rules::consecutive::{Mark, Marks};
use tributary_rules::no_data::WatchedEntity;

use crate::error::CallError;

pub use table::AlertStateTable;

/// The operation of each call that writes, for messages.
pub const OPERATION: &str = "dynamodb:UpdateItem";

/// The operation of each call that looks for what is due, for messages.
pub const QUERY: &str = "dynamodb:Query";

/// A store of what rules remember.
pub trait AlertState: Send + Sync {
    /// Raises what is known of a window to the mark's value, where it is lower; the marks of its item
    /// after that. The item is kept until `expires_at` at least.
    ///
    /// # Errors
    ///
    /// When there is no answer with the marks; they may have been raised all the same.
    fn raise_mark(
        &self,
        mark: &Mark,
        expires_at: Timestamp,
    ) -> impl Future<Output = Result<Marks, CallError>> + Send;

    /// Notes that something came from an entity, unless something that came later is noted; its silence
    /// is due at [`WatchedEntity::due`] if nothing comes. What is known of it after that, a silence included whose end was
    /// not told yet.
    ///
    /// # Errors
    ///
    /// When there is no answer with what is known; it may have been noted all the same.
    fn record_seen(
        &self,
        watched: &WatchedEntity,
        expires_at: Timestamp,
    ) -> impl Future<Output = Result<WatchedEntity, CallError>> + Send;

    /// Entities of a part of the index whose silence is due at `now`, those that are due longest first;
    /// at most `limit`. The index may show what was a moment ago.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    fn due(
        &self,
        bucket: u8,
        now: Timestamp,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<WatchedEntity>, CallError>> + Send;

    /// Notes that the silence since [`WatchedEntity::seen_at`] was told. It is due no more, unless something
    /// came meanwhile.
    ///
    /// # Errors
    ///
    /// When it is not known to be noted.
    fn mark_sent(
        &self,
        watched: &WatchedEntity,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Notes that the silence since [`WatchedEntity::seen_at`] is to be looked at again at `until`, where it is
    /// due before that and nothing came meanwhile.
    ///
    /// # Errors
    ///
    /// When it is not known to be noted.
    fn postpone(
        &self,
        watched: &WatchedEntity,
        until: Timestamp,
        expires_at: Timestamp,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Notes that the end of the silence since [`WatchedEntity::silent_since`] was told.
    ///
    /// # Errors
    ///
    /// When it is not known to be noted.
    fn mark_resolved(
        &self,
        watched: &WatchedEntity,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Notes that the function is behind with a shard: until then, what has not come says nothing.
    ///
    /// # Errors
    ///
    /// When it is not known to be noted.
    fn record_lag(
        &self,
        shard: &str,
        until: Timestamp,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Whether the function is behind with any shard.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    fn is_lagging(&self, now: Timestamp) -> impl Future<Output = Result<bool, CallError>> + Send;
}
