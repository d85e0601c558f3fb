//! Faults between a handler and AWS: kinds, rates and counts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tributary_datagen::random::Sequence;

use crate::clock;

/// Kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The service throttles a whole call.
    Throttle,
    /// The service answers with a server error.
    ServerError,
    /// The call times out without effect.
    TimeOutBefore,
    /// The call times out after its effect.
    TimeOutAfter,
    /// The service rejects some entries of a call.
    PartialFailure,
    /// The answer has fewer entries than the request.
    ShortAnswer,
    /// The answer has more entries than the request.
    LongAnswer,
    /// The call takes seconds.
    SlowCall,
    /// Access is denied for a while.
    Denied,
    /// The process of a function is killed at one of its awaits.
    Kill,
    /// A completed batch is delivered again later.
    DuplicateBatch,
    /// A message is received again after it was deleted.
    DuplicateMessage,
    /// The notification of a new object is delivered twice.
    DuplicateNotification,
    /// A notification arrives late, after more recent ones.
    LateNotification,
    /// A shard is split, or two shards are merged.
    Reshard,
    /// An object is deleted before it is read.
    ObjectDeleted,
    /// A record that no function can parse.
    Poison,
}

impl Fault {
    /// Every kind of fault with its name in reports, in the order of the variants.
    pub const ALL: [(Self, &'static str); 17] = [
        (Self::Throttle, "throttle"),
        (Self::ServerError, "server_error"),
        (Self::TimeOutBefore, "time_out_before"),
        (Self::TimeOutAfter, "time_out_after"),
        (Self::PartialFailure, "partial_failure"),
        (Self::ShortAnswer, "short_answer"),
        (Self::LongAnswer, "long_answer"),
        (Self::SlowCall, "slow_call"),
        (Self::Denied, "denied"),
        (Self::Kill, "kill"),
        (Self::DuplicateBatch, "duplicate_batch"),
        (Self::DuplicateMessage, "duplicate_message"),
        (Self::DuplicateNotification, "duplicate_notification"),
        (Self::LateNotification, "late_notification"),
        (Self::Reshard, "reshard"),
        (Self::ObjectDeleted, "object_deleted"),
        (Self::Poison, "poison"),
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::ALL[*self as usize].1)
    }
}

/// Faults of one simulation: a rate for each kind, and randomness from one seed. Clones share
/// state.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    rates: BTreeMap<Fault, f64>,
    chance: Sequence,
    counts: BTreeMap<Fault, u64>,
    is_paused: bool,
    /// End of denied access, by operation.
    denied: BTreeMap<&'static str, Duration>,
}

impl Faults {
    /// Creates faults with these rates, each a probability from 0 to 1.
    #[must_use]
    pub fn new(seed: u64, rates: BTreeMap<Fault, f64>) -> Self {
        Self(Arc::new(Mutex::new(State {
            rates,
            chance: Sequence::new(seed, 0xfa17),
            counts: BTreeMap::new(),
            is_paused: false,
            denied: BTreeMap::new(),
        })))
    }

    /// Creates an injector without faults. Its random numbers remain available for other choices.
    #[must_use]
    pub fn none(seed: u64) -> Self {
        Self::new(seed, BTreeMap::new())
    }

    /// Pauses all faults.
    pub fn pause(&self) {
        let mut state = self.state();
        state.is_paused = true;
        state.denied.clear();
    }

    /// Resumes faults.
    pub fn resume(&self) {
        self.state().is_paused = false;
    }

    /// Returns true while faults are paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.state().is_paused
    }

    /// Draws whether this fault occurs now, and counts it if so.
    #[must_use]
    pub fn occurs(&self, fault: Fault) -> bool {
        let mut state = self.state();
        let rate = state.rates.get(&fault).copied().unwrap_or(0.0);
        // Always draws, so that the rate of one fault does not change the others.
        let occurs = state.chance.chance(rate) && !state.is_paused;
        if occurs {
            *state.counts.entry(fault).or_default() += 1;
        }
        occurs
    }

    /// Returns a random integer below `bound`, or 0 if `bound` is 0.
    #[must_use]
    pub fn below(&self, bound: usize) -> usize {
        let bits = self.state().chance.bits();
        (bits % (bound.max(1) as u64)) as usize
    }

    /// Draws whether calls of `operation` are denied now. Denial lasts for a while.
    pub(crate) fn denies(&self, operation: &'static str) -> bool {
        let now = clock::elapsed();
        if self.state().denied.get(operation).is_some_and(|until| now < *until) {
            return true;
        }
        let occurs = self.occurs(Fault::Denied);
        if occurs {
            let until = now + Duration::from_secs(5 + self.below(60) as u64);
            self.state().denied.insert(operation, until);
        }
        occurs
    }

    /// Returns the number of occurrences of each kind.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Fault, u64> {
        self.state().counts.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        crate::lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;

    #[test]
    fn names_follow_the_variants() {
        assert!(Fault::ALL.iter().enumerate().all(|(index, (fault, _))| *fault as usize == index));
    }
}
