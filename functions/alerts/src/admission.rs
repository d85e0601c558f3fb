//! Limits on entities: those of a batch that their rules keep state of.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use tributary_aws::alert_state::AlertState;
use tributary_aws::cardinality::DailySet;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, SetupError};
use tributary_aws::retry::run_concurrently;
use tributary_model::id::Id;
use tributary_rules::Rule;

use crate::rule_state::{RuleState, StateUpdates};

/// Entity that a rule is to keep state of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    /// Position of its event in the batch.
    pub(crate) position: usize,
    pub(crate) rule: &'a Rule,
    pub(crate) entity: &'a str,
    /// Arrival time of its event, whose UTC day counts.
    pub(crate) received_at: Timestamp,
}

impl Candidate<'_> {
    fn set(&self) -> DailySet {
        let id = format!("{}#{}", self.rule.spec.id, self.rule.definition());
        DailySet::of("entities", self.received_at, &id, self.rule.max_entities())
    }

    fn member(&self) -> u64 {
        Id::of_text(&[self.entity]).prefix()
    }
}

/// Returns for each candidate if its rule keeps state of it, and counts the others as unwatched. A
/// candidate without an answer of the store is unconfirmed.
///
/// # Errors
///
/// [`SetupError`] when the store can never work.
pub(crate) async fn admit<S: AlertState>(
    state: &RuleState<S>,
    candidates: &[Candidate<'_>],
    now: Timestamp,
    deadline: Deadline,
    updates: &mut StateUpdates,
) -> Result<Vec<bool>, SetupError> {
    let mut members: BTreeMap<DailySet, Vec<u64>> = BTreeMap::new();
    for candidate in candidates {
        members.entry(candidate.set()).or_default().push(candidate.member());
    }
    let sets: Vec<_> = members.into_iter().collect();
    let answers = run_concurrently(&sets, |(set, members)| {
        state.cardinality.admit(&state.store, set, members, now, deadline)
    });
    let answers: BTreeMap<_, Result<HashSet<u64>, CallError>> =
        sets.iter().map(|(set, _)| set).zip(answers.await).collect();
    let (mut admitted, mut unwatched) = (Vec::new(), BTreeSet::new());
    for candidate in candidates {
        let (set, member) = (candidate.set(), candidate.member());
        let is_admitted = match &answers[&set] {
            Ok(known) => known.contains(&member),
            Err(error) => {
                updates.confirm::<()>(candidate.position, Err(error.clone()))?;
                admitted.push(false);
                continue;
            }
        };
        if !is_admitted {
            unwatched.insert((set, member));
        }
        admitted.push(is_admitted);
    }
    updates.unwatched += unwatched.len();
    Ok(admitted)
}
