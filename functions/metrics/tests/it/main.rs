//! Integration tests of the `metrics` function.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod batches;
mod cardinality;
