//! Simulated `DynamoDB` table of claims, with conditional writes and expiry.
//!
//! Rules: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html>.
//! An expired item is deleted immediately, the earliest time that
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html> allows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tributary_aws::claims::{Claim, ClaimStatus, ClaimStore, OPERATION};
use tributary_aws::error::CallError;

use crate::clock;
use crate::fault::Faults;
use crate::injector::Remote;

/// Simulated table of claims behind a fault injector. Clones share state.
#[derive(Clone, Debug)]
pub struct SimClaims(Remote<State>);

#[derive(Clone, Debug, Default)]
struct State {
    /// Latest claim of each alert, and true if the alert was sent.
    items: BTreeMap<String, (Claim, bool)>,
    changes: Vec<Change>,
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
        Self(Remote::new(OPERATION, faults))
    }

    /// Returns the same table behind other faults.
    #[must_use]
    pub fn reached_with(&self, faults: Faults) -> Self {
        let mut other = self.clone();
        other.0.injector.faults = faults;
        other
    }

    /// Returns the changes, in order.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        self.0.state().changes.clone()
    }

    /// Returns the number of calls, with or without effect.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.0.calls()
    }
}

impl State {
    fn record_change(&mut self, claim: &Claim, kind: ChangeKind) {
        let (alert_id, owner) = (claim.alert_id.clone(), claim.owner.clone());
        self.changes.push(Change { stamp: clock::stamp(), alert_id, owner, kind });
    }

    fn put(&mut self, claim: &Claim, is_sent: bool) {
        self.items.insert(claim.alert_id.clone(), (claim.clone(), is_sent));
    }

    fn claim(&mut self, claim: &Claim, now: Timestamp) -> ClaimStatus {
        let today = clock::now();
        match self.items.get(&claim.alert_id).filter(|(known, _)| known.expires_at > today) {
            Some((_, true)) => return ClaimStatus::Sent,
            Some((known, _)) if known.owner != claim.owner && known.lease_until > now => {
                return ClaimStatus::HeldByOther { until: known.lease_until };
            }
            Some((known, _))
                if known.owner == claim.owner && known.lease_until > Timestamp::UNIX_EPOCH => {}
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
        if let Some((known, false)) = self.items.get_mut(&claim.alert_id)
            && known.owner == claim.owner
        {
            known.lease_until = Timestamp::UNIX_EPOCH;
            self.record_change(claim, ChangeKind::Released);
        }
    }
}

impl ClaimStore for SimClaims {
    async fn claim(&self, claim: &Claim, now: Timestamp) -> Result<ClaimStatus, CallError> {
        self.0.call(|state| state.claim(claim, now)).await
    }

    async fn mark_sent(&self, claim: &Claim) -> Result<(), CallError> {
        self.0.state().record_change(claim, ChangeKind::MarkingSent);
        self.0.call(|state| state.mark_sent(claim)).await
    }

    async fn release(&self, claim: &Claim) -> Result<(), CallError> {
        self.0.call(|state| state.release(claim)).await
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
