//! Integration tests of the `ingest-s3` function.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod aggregates;
mod messages;
mod objects;
