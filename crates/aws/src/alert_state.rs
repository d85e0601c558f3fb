//! What rules remember from one batch to the next: for which windows `when` held.
//!
//! Each note is one conditional write on one item. What is noted only grows, so that notes may come in
//! any order, and again, and from several functions at once, and come to the same.

mod table;

use std::future::Future;

use jiff::Timestamp;
use tributary_core::rule::series::{Mark, Marks};

use crate::error::CallError;

pub use table::AlertStateTable;

/// The operation of each call, for messages.
pub const OPERATION: &str = "dynamodb:UpdateItem";

/// A store of what rules remember.
pub trait AlertState: Send + Sync {
    /// Raises what is known of a window to the mark's value, where it is lower; the marks of its item
    /// after that. The item is kept until `expires_at` at least.
    ///
    /// # Errors
    ///
    /// When there is no answer with the marks; they may have been raised all the same.
    fn raise(
        &self,
        mark: &Mark,
        expires_at: Timestamp,
    ) -> impl Future<Output = Result<Marks, CallError>> + Send;
}
