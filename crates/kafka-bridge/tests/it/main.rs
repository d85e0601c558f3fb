//! Integration tests of the Kafka poller.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod command;
mod poller;
mod support;
