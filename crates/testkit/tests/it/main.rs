//! Integration tests of the fakes and the simulated services.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod http;
mod mappings;
