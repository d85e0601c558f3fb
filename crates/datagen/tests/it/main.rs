//! Integration tests of the generated feeds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod faults;
mod feeds;
mod schemas;
mod unusual;
