//! Integration tests of the `alerts` function.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod absent;
mod batches;
mod once;
mod rulebook;
mod storm;
mod support;
mod sustained;
