//! Limits on cardinality that hold per UTC day and stack: the series of a metric, the entities of a
//! rule.
//!
//! The store has one set of hashes for each of these and day. A set only grows, up to its limit. So
//! a redelivered batch finds its members as they were, and a full set needs no further call.

mod table;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::deadline::Deadline;
use crate::error::CallError;
use crate::retry::Retry;

pub use table::CardinalityTable;

/// Name of the operation in messages.
pub const OPERATION: &str = "dynamodb:UpdateItem";

/// Name of the metric that counts what is beyond a limit.
pub const METRIC: &str = "over_cardinality_limit";

/// Retention of a set after a write. Lambda redelivers records for a week at most.
const RETENTION: SignedDuration = SignedDuration::from_hours(8 * 24);

/// Store of sets of hashes.
pub trait CardinalityStore: Send + Sync {
    /// Adds `new` to a set in one step if its size is at most `limit` then, and otherwise adds
    /// nothing. Returns the set after that. It is retained until `expires_at` at least.
    ///
    /// # Errors
    ///
    /// Returns an error if the answer lacks the set; `new` may be in it all the same.
    fn add(
        &self,
        set: &str,
        new: &BTreeSet<u64>,
        limit: usize,
        expires_at: Timestamp,
    ) -> impl Future<Output = Result<HashSet<u64>, CallError>> + Send;
}

/// Set of one day.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DailySet {
    /// Name in the store.
    pub name: String,
    /// Maximum number of its members.
    pub limit: usize,
}

impl DailySet {
    /// Returns the set of `kind` for the UTC day of `time`. `id` is that of the metric or rule.
    #[must_use]
    pub fn of(kind: &str, time: Timestamp, id: &str, limit: usize) -> Self {
        Self { name: format!("{kind}#{}#{id}", time.strftime("%F")), limit }
    }
}

/// Admission to sets, with a copy of each set in memory. Clones share the copies.
#[derive(Clone, Debug)]
pub struct Cardinality {
    /// Retries of calls to the store.
    pub retry: Retry,
    copies: Arc<Mutex<HashMap<String, KnownMembers>>>,
}

/// Members of a set as this process knows them.
#[derive(Debug)]
struct KnownMembers {
    members: HashSet<u64>,
    expires_at: Timestamp,
}

impl Default for Cardinality {
    fn default() -> Self {
        Self { retry: Retry::new(OPERATION), copies: Arc::default() }
    }
}

impl Cardinality {
    /// Returns those of `members` that the set has or takes, the first ones first. Makes no call if
    /// the copy has all of them, or is full.
    ///
    /// # Errors
    ///
    /// Fails if the store does not answer in time.
    pub async fn admit(
        &self,
        store: &impl CardinalityStore,
        set: &DailySet,
        members: &[u64],
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<HashSet<u64>, CallError> {
        let expires_at = now.checked_add(RETENTION).unwrap_or(Timestamp::MAX);
        loop {
            let new = match self.compare(set, members) {
                Ok(admitted) => return Ok(admitted),
                Err(new) => new,
            };
            let add = || store.add(&set.name, &new, set.limit, expires_at);
            let stored = self.retry.call(deadline, add).await?;
            let mut copies = self.copies();
            copies.retain(|_, copy| copy.expires_at > now);
            let copy = copies.entry(set.name.clone());
            let copy = copy.or_insert_with(|| KnownMembers { members: HashSet::new(), expires_at });
            copy.members.extend(stored);
        }
    }

    /// Returns the members that are in the copy, or those that the store is to be asked for: as
    /// many as the set has room for by the copy.
    fn compare(&self, set: &DailySet, members: &[u64]) -> Result<HashSet<u64>, BTreeSet<u64>> {
        let (copies, nothing) = (self.copies(), HashSet::new());
        let known = copies.get(&set.name).map_or(&nothing, |copy| &copy.members);
        let mut new = BTreeSet::new();
        let room = set.limit.saturating_sub(known.len());
        for member in members.iter().filter(|it| !known.contains(it)) {
            if new.len() == room {
                break;
            }
            new.insert(*member);
        }
        if new.is_empty() {
            return Ok(members.iter().copied().filter(|it| known.contains(it)).collect());
        }
        Err(new)
    }

    fn copies(&self) -> MutexGuard<'_, HashMap<String, KnownMembers>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
