//! `DynamoDB`: the table of claims, with its conditional writes and its expiry.
//!
//! Rules: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html>;
//! an item that has expired is gone at once, which is the earliest that
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html> allows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tributary_aws::claims::{Claim, ClaimStatus, ClaimStore, OPERATION};
use tributary_aws::error::CallError;

use crate::clock;
use crate::fault::Faults;
use crate::injector::FaultInjector;

/// One table of claims, at the end of a line. Clones are the same table.
#[derive(Clone, Debug)]
pub struct SimClaims {
    injector: FaultInjector,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    items: BTreeMap<String, Item>,
    changes: Vec<Change>,
    calls: usize,
}

#[derive(Debug)]
struct Item {
    owner: String,
    is_sent: bool,
    lease_until: Timestamp,
    expires_at: Timestamp,
}

/// Something that happened to an alert in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When, by [`clock::stamp`].
    pub stamp: u64,
    /// The alert.
    pub alert_id: String,
    /// Who did it.
    pub owner: String,
    /// What.
    pub kind: ChangeKind,
}

/// What happened to an alert in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was claimed.
    Claimed,
    /// Somebody set out to note that it was sent.
    MarkingSent,
    /// It was noted as sent.
    MarkedSent,
    /// A claim was given back.
    Released,
}

impl SimClaims {
    /// An empty table, as it is reached with these faults.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self { injector: FaultInjector::new(OPERATION, faults), state: Arc::default() }
    }

    /// The same table, as it is reached with other faults.
    #[must_use]
    pub fn reached_with(&self, faults: Faults) -> Self {
        Self { injector: FaultInjector::new(OPERATION, faults), state: self.state.clone() }
    }

    /// What happened, in order.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        self.state().changes.clone()
    }

    /// How many calls were made, with an effect or without.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.state().calls
    }

    /// The alerts that were noted as sent.
    #[must_use]
    pub fn sent(&self) -> Vec<String> {
        let state = self.state();
        state.items.iter().filter(|(_, item)| item.is_sent).map(|(id, _)| id.clone()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call<T>(&self, effect: impl FnOnce(&mut State) -> T) -> Result<T, CallError> {
        self.state().calls += 1;
        self.injector.call(|| effect(&mut self.state())).await
    }
}

impl State {
    fn note(&mut self, claim: &Claim, kind: ChangeKind) {
        let (alert_id, owner) = (claim.alert_id.clone(), claim.owner.clone());
        self.changes.push(Change { stamp: clock::stamp(), alert_id, owner, kind });
    }

    fn put(&mut self, claim: &Claim, is_sent: bool) {
        let Claim { owner, lease_until, expires_at, .. } = claim.clone();
        let item = Item { owner, is_sent, lease_until, expires_at };
        self.items.insert(claim.alert_id.clone(), item);
    }

    fn claim(&mut self, claim: &Claim, now: Timestamp) -> ClaimStatus {
        let today = clock::now();
        match self.items.get(&claim.alert_id).filter(|item| item.expires_at > today) {
            Some(Item { is_sent: true, .. }) => return ClaimStatus::Sent,
            Some(item) if item.owner != claim.owner && item.lease_until > now => {
                return ClaimStatus::HeldByOther { until: item.lease_until };
            }
            Some(item) if item.owner == claim.owner && item.lease_until > Timestamp::UNIX_EPOCH => {
            }
            _ => self.note(claim, ChangeKind::Claimed),
        }
        self.put(claim, false);
        ClaimStatus::Claimed
    }

    fn mark_sent(&mut self, claim: &Claim) {
        self.put(claim, true);
        self.note(claim, ChangeKind::MarkedSent);
    }

    fn release(&mut self, claim: &Claim) {
        let item = self.items.get_mut(&claim.alert_id);
        if let Some(item) = item.filter(|it| !it.is_sent && it.owner == claim.owner) {
            item.lease_until = Timestamp::UNIX_EPOCH;
            self.note(claim, ChangeKind::Released);
        }
    }
}

impl ClaimStore for SimClaims {
    async fn claim(&self, claim: &Claim, now: Timestamp) -> Result<ClaimStatus, CallError> {
        self.call(|state| state.claim(claim, now)).await
    }

    async fn mark_sent(&self, claim: &Claim) -> Result<(), CallError> {
        self.state().note(claim, ChangeKind::MarkingSent);
        self.call(|state| state.mark_sent(claim)).await
    }

    async fn release(&self, claim: &Claim) -> Result<(), CallError> {
        self.call(|state| state.release(claim)).await
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn claim(owner: &str) -> Claim {
        let later = |seconds| clock::now() + SignedDuration::from_secs(seconds);
        let (alert_id, owner) = ("a".to_owned(), owner.to_owned());
        Claim { alert_id, owner, lease_until: later(60), expires_at: later(3_600) }
    }

    async fn stands(table: &SimClaims, claim: &Claim) -> ClaimStatus {
        table.claim(claim, clock::now()).await.unwrap()
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(std::time::Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_holds_until_its_lease_ends_or_it_is_given_back() {
        clock::begin();
        let table = SimClaims::new(Faults::none(1));
        let (one, other) = (claim("one"), claim("other"));

        assert_eq!(stands(&table, &one).await, ClaimStatus::Claimed);
        assert_eq!(stands(&table, &one).await, ClaimStatus::Claimed, "its owner asks again");
        assert_eq!(
            stands(&table, &other).await,
            ClaimStatus::HeldByOther { until: one.lease_until }
        );
        table.release(&other).await.unwrap();
        assert_eq!(
            stands(&table, &other).await,
            ClaimStatus::HeldByOther { until: one.lease_until }
        );
        table.release(&one).await.unwrap();
        assert_eq!(stands(&table, &other).await, ClaimStatus::Claimed);
        pass(61).await;
        assert_eq!(stands(&table, &claim("third")).await, ClaimStatus::Claimed);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_stays_sent_until_it_expires() {
        clock::begin();
        let table = SimClaims::new(Faults::none(1));
        let one = claim("one");
        assert_eq!(stands(&table, &one).await, ClaimStatus::Claimed);

        table.mark_sent(&one).await.unwrap();
        table.release(&one).await.unwrap();
        pass(600).await;

        assert_eq!(stands(&table, &claim("other")).await, ClaimStatus::Sent);
        pass(3_000).await;
        assert_eq!(stands(&table, &claim("other")).await, ClaimStatus::Claimed);
    }
}
