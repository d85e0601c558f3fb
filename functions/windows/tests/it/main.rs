//! Integration tests of the `windows` function.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod batches;
mod refusals;
mod revisions;
