//! Virtual clock: the time of day follows tokio's paused clock.
//!
//! Nothing waits in real time: when every task sleeps, tokio advances its clock to the next timer.

use std::cell::Cell;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Start of every simulation: 2026-11-20T10:00:00Z.
const BEGINNING: Timestamp = Timestamp::constant(1_795_168_800, 0);

thread_local! {
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
    static STAMPS: Cell<u64> = const { Cell::new(0) };
    static SKEWS: Cell<[i64; PROCESSES]> = const { Cell::new([0; PROCESSES]) };
}

/// Number of clocks that may differ: one for each process of a function.
pub const PROCESSES: usize = 3;

/// The clock of each process, which differs from [`now`] as [`set_skews`] says.
pub const OF_PROCESS: [fn() -> Timestamp; PROCESSES] = [|| skewed(0), || skewed(1), || skewed(2)];

/// Sets by how many milliseconds the clock of each process on this thread is ahead.
pub fn set_skews(milliseconds: [i64; PROCESSES]) {
    SKEWS.set(milliseconds);
}

fn skewed(process: usize) -> Timestamp {
    let skew = SignedDuration::from_millis(SKEWS.get()[process]);
    now().saturating_add(skew).unwrap_or(Timestamp::MAX)
}

/// Restarts the time of day on this thread. Must be called inside a runtime with a paused clock.
pub fn begin() {
    BEGUN.set(Some(Instant::now()));
}

/// Returns the virtual time since the start of the simulation.
#[must_use]
pub fn elapsed() -> Duration {
    BEGUN.get().map(|begun| begun.elapsed()).unwrap_or_default()
}

/// Returns the virtual time of day; handlers use it as their `clock`.
#[must_use]
pub fn now() -> Timestamp {
    BEGINNING.saturating_add(elapsed()).unwrap_or(Timestamp::MAX)
}

/// Returns a number greater than all previous ones on this thread. It orders actions within one
/// millisecond.
#[must_use]
pub fn stamp() -> u64 {
    STAMPS.set(STAMPS.get() + 1);
    STAMPS.get()
}
