//! The virtual clock: the time of day follows tokio's paused clock.
//!
//! Nothing waits for real: when every task sleeps, tokio moves its clock to the next one that is due.

use std::cell::Cell;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// When every simulation begins: 2026-11-20T10:00:00Z.
const BEGINNING_SECOND: i64 = 1_795_168_800;

thread_local! {
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
    static STAMPS: Cell<u64> = const { Cell::new(0) };
}

/// Begins the time of day anew on this thread. Inside a runtime whose clock is paused.
pub fn begin() {
    BEGUN.set(Some(Instant::now()));
}

/// How long the simulation has run, on its own clock.
#[must_use]
pub fn elapsed() -> Duration {
    BEGUN.get().map(|begun| begun.elapsed()).unwrap_or_default()
}

/// The time of day in the simulation; what a handler has as its `clock`.
#[must_use]
pub fn now() -> Timestamp {
    let beginning = Timestamp::from_second(BEGINNING_SECOND).unwrap_or(Timestamp::UNIX_EPOCH);
    SignedDuration::try_from(elapsed())
        .ok()
        .and_then(|elapsed| beginning.checked_add(elapsed).ok())
        .unwrap_or(Timestamp::MAX)
}

/// A number above all that were given out on this thread before: tells the order of what happens in
/// one millisecond.
#[must_use]
pub fn stamp() -> u64 {
    STAMPS.set(STAMPS.get() + 1);
    STAMPS.get()
}
