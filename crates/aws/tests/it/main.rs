//! Integration tests of the AWS adapters.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod alert_state;
mod answers;
mod cardinality;
mod claims;
mod support;
mod takeover;
mod windows;
