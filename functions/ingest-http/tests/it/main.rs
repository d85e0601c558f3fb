//! Integration tests of the `ingest-http` function.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod properties;
mod requests;
mod senders;
