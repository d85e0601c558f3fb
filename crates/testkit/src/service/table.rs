//! Simulated `DynamoDB` table of claims, with conditional writes and expiry.
//!
//! Rules: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html>.
//! An expired item is deleted immediately, the earliest time that
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html> allows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tributary_aws::claims::{Claim, ClaimStatus, ClaimStore, OPERATION};
use tributary_aws::error::CallError;

use crate::clock;
use crate::fault::Faults;
use crate::injector::FaultInjector;

/// Simulated table of claims behind a fault injector. Clones share state.
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

/// Change to an alert in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Order of the change, by [`clock::stamp`].
    pub stamp: u64,
    /// Id of the alert.
    pub alert_id: String,
    /// Owner of the claim.
    pub owner: String,
    /// Kind of change.
    pub kind: ChangeKind,
}

/// Kind of change to an alert in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The alert was claimed.
    Claimed,
    /// A sender is about to mark it as sent.
    MarkingSent,
    /// It was marked as sent.
    MarkedSent,
    /// A claim was released.
    Released,
}

impl SimClaims {
    /// Creates an empty table with these faults.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self { injector: FaultInjector::new(OPERATION, faults), state: Arc::default() }
    }

    /// Returns the same table behind other faults.
    #[must_use]
    pub fn reached_with(&self, faults: Faults) -> Self {
        Self { injector: FaultInjector::new(OPERATION, faults), state: self.state.clone() }
    }

    /// Returns the changes, in order.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        self.state().changes.clone()
    }

    /// Returns the number of calls, with or without effect.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.state().calls
    }

    /// Returns the alerts marked as sent.
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
    fn record_change(&mut self, claim: &Claim, kind: ChangeKind) {
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
            _ => self.record_change(claim, ChangeKind::Claimed),
        }
        self.put(claim, false);
        ClaimStatus::Claimed
    }

    fn mark_sent(&mut self, claim: &Claim) {
        self.put(claim, true);
        self.record_change(claim, ChangeKind::MarkedSent);
    }

    fn release(&mut self, claim: &Claim) {
        let item = self.items.get_mut(&claim.alert_id);
        if let Some(item) = item.filter(|it| !it.is_sent && it.owner == claim.owner) {
            item.lease_until = Timestamp::UNIX_EPOCH;
            self.record_change(claim, ChangeKind::Released);
        }
    }
}

impl ClaimStore for SimClaims {
    async fn claim(&self, claim: &Claim, now: Timestamp) -> Result<ClaimStatus, CallError> {
        self.call(|state| state.claim(claim, now)).await
    }

    async fn mark_sent(&self, claim: &Claim) -> Result<(), CallError> {
        self.state().record_change(claim, ChangeKind::MarkingSent);
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

    async fn claim_status(table: &SimClaims, claim: &Claim) -> ClaimStatus {
        table.claim(claim, clock::now()).await.unwrap()
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(std::time::Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn claim_holds_until_lease_expires_or_release() {
        clock::begin();
        let table = SimClaims::new(Faults::none(1));
        let (one, other) = (claim("one"), claim("other"));

        assert_eq!(claim_status(&table, &one).await, ClaimStatus::Claimed);
        assert_eq!(
            claim_status(&table, &one).await,
            ClaimStatus::Claimed,
            "its owner claims again"
        );
        assert_eq!(
            claim_status(&table, &other).await,
            ClaimStatus::HeldByOther { until: one.lease_until }
        );
        table.release(&other).await.unwrap();
        assert_eq!(
            claim_status(&table, &other).await,
            ClaimStatus::HeldByOther { until: one.lease_until }
        );
        table.release(&one).await.unwrap();
        assert_eq!(claim_status(&table, &other).await, ClaimStatus::Claimed);
        pass(61).await;
        assert_eq!(claim_status(&table, &claim("third")).await, ClaimStatus::Claimed);
    }

    #[tokio::test(start_paused = true)]
    async fn sent_claim_stays_sent_until_expiry() {
        clock::begin();
        let table = SimClaims::new(Faults::none(1));
        let one = claim("one");
        assert_eq!(claim_status(&table, &one).await, ClaimStatus::Claimed);

        table.mark_sent(&one).await.unwrap();
        table.release(&one).await.unwrap();
        pass(600).await;

        assert_eq!(claim_status(&table, &claim("other")).await, ClaimStatus::Sent);
        pass(3_000).await;
        assert_eq!(claim_status(&table, &claim("other")).await, ClaimStatus::Claimed);
    }
}
