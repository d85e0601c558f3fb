//! Integration tests of the made-up feeds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod faults;
mod feeds;
