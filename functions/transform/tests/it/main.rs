//! Integration tests of the `transform` function.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod aggregates;
mod batches;
mod support;
