//! Integration tests of the simulated services.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod mappings;
