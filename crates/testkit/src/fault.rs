//! Faults: what can go wrong between a handler and AWS, how often, and how often it did.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tributary_datagen::random::Sequence;

use crate::clock;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A call is throttled as a whole.
    Throttle,
    /// A call ends with an error of the server.
    ServerError,
    /// No answer in time, and no effect.
    TimeOutBefore,
    /// No answer in time, but the effect is there.
    TimeOutAfter,
    /// Some entries of a call are not taken.
    PartialFailure,
    /// An answer with fewer entries than its request.
    ShortAnswer,
    /// An answer with more entries than its request.
    LongAnswer,
    /// A call that takes seconds.
    SlowCall,
    /// Access is denied, and stays so for a while.
    Denied,
    /// The process of a function is killed at one of its awaits.
    Kill,
    /// A batch that was done is delivered once more, later.
    DuplicateBatch,
    /// A message is received again after it was deleted.
    DuplicateMessage,
    /// A notification of a new object comes twice.
    DuplicateNotification,
    /// A notification comes late, after others that are younger.
    LateNotification,
    /// A shard is split, or two are merged.
    Reshard,
    /// An object is deleted before it is read.
    ObjectDeleted,
    /// A record that no function can read.
    Poison,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 17] = [
        Self::Throttle,
        Self::ServerError,
        Self::TimeOutBefore,
        Self::TimeOutAfter,
        Self::PartialFailure,
        Self::ShortAnswer,
        Self::LongAnswer,
        Self::SlowCall,
        Self::Denied,
        Self::Kill,
        Self::DuplicateBatch,
        Self::DuplicateMessage,
        Self::DuplicateNotification,
        Self::LateNotification,
        Self::Reshard,
        Self::ObjectDeleted,
        Self::Poison,
    ];

    /// The name in figures and options.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttle => "throttle",
            Self::ServerError => "server_error",
            Self::TimeOutBefore => "time_out_before",
            Self::TimeOutAfter => "time_out_after",
            Self::PartialFailure => "partial_failure",
            Self::ShortAnswer => "short_answer",
            Self::LongAnswer => "long_answer",
            Self::SlowCall => "slow_call",
            Self::Denied => "denied",
            Self::Kill => "kill",
            Self::DuplicateBatch => "duplicate_batch",
            Self::DuplicateMessage => "duplicate_message",
            Self::DuplicateNotification => "duplicate_notification",
            Self::LateNotification => "late_notification",
            Self::Reshard => "reshard",
            Self::ObjectDeleted => "object_deleted",
            Self::Poison => "poison",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The faults of one simulation: a rate for each kind, and chance from one seed. Clones are the same
/// faults.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    rates: BTreeMap<Fault, f64>,
    chance: Sequence,
    counts: BTreeMap<Fault, u64>,
    is_paused: bool,
    /// Until when access is denied, by operation.
    denied: BTreeMap<&'static str, Duration>,
}

impl Faults {
    /// Faults at these rates, 0 to 1 for each occasion.
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

    /// No fault ever: chance remains, for what is no fault.
    #[must_use]
    pub fn none(seed: u64) -> Self {
        Self::new(seed, BTreeMap::new())
    }

    /// From now on nothing goes wrong any more.
    pub fn pause(&self) {
        let mut state = self.state();
        state.is_paused = true;
        state.denied.clear();
    }

    /// Whatever can go wrong does so again.
    pub fn resume(&self) {
        self.state().is_paused = false;
    }

    /// Whether faults are over.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.state().is_paused
    }

    /// Whether this fault happens now. Counted where it does.
    #[must_use]
    pub fn occurs(&self, fault: Fault) -> bool {
        let mut state = self.state();
        let rate = state.rates.get(&fault).copied().unwrap_or(0.0);
        // The draw is made in any case, so that one rate does not change what the others do.
        let occurs = state.chance.chance(rate) && !state.is_paused;
        if occurs {
            *state.counts.entry(fault).or_default() += 1;
        }
        occurs
    }

    /// A whole number below `bound`; 0 where that is 0.
    #[must_use]
    pub fn below(&self, bound: usize) -> usize {
        let bits = self.state().chance.bits();
        (bits % (bound.max(1) as u64)) as usize
    }

    /// Whether the calls of `operation` are denied now. Access that is lost stays lost for a while.
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

    /// How often each kind happened.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Fault, u64> {
        self.state().counts.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
