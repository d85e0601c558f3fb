//! Integration tests of the `alerts` function.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod batches;
mod consecutive;
mod entities;
mod no_data;
mod old_and_future;
mod sender;
mod storm;
mod support;
