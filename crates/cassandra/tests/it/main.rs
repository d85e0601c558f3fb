//! Integration tests of the Cassandra store.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod cassandra;
mod suite;
