//! Claims: who sends an alert, so that one message goes out however often its event is delivered.
//!
//! An alert has an item, which is absent, claimed or sent. Only who holds the claim may publish; the
//! claim has a lease, so that of an owner who ends between claim and message nothing is left behind:
//! after the lease somebody else takes it. Sent is for ever, until the table forgets the item.
//!
//! [`ClaimStore`] is one call to the store; [`RetryingClaims`] insists, within the time that is left, of many at
//! once.

mod table;

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;

use crate::deadline::Deadline;
use crate::error::CallError;
use crate::retry::{Retry, run_concurrently};

pub use table::ClaimsTable;

/// The operation of each call, for messages.
pub const OPERATION: &str = "dynamodb:UpdateItem";

/// What somebody who wants to send an alert says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The alert.
    pub alert_id: String,
    /// Who claims it: no two invocations have the same name.
    pub owner: String,
    /// When nobody need wait for the owner any more: it has ended for certain.
    pub lease_until: Timestamp,
    /// When the store may forget the alert.
    pub expires_at: Timestamp,
}

/// How an alert stands for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimStatus {
    /// It is theirs to send, until the lease ends.
    Claimed,
    /// It was sent.
    Sent,
    /// Somebody else is about to send it, or ended before they could.
    HeldByOther {
        /// When it can be claimed, if it is not sent by then.
        until: Timestamp,
    },
}

/// A store of claims. Each call is one atomic step on one item.
pub trait ClaimStore: Send + Sync {
    /// Takes the alert where it is absent, where its lease is over at `now`, and where it is the
    /// owner's already: a call without an answer can be made again.
    ///
    /// # Errors
    ///
    /// When there is no answer that says how it stands; the claim may have been taken all the same.
    fn claim(
        &self,
        claim: &Claim,
        now: Timestamp,
    ) -> impl Future<Output = Result<ClaimStatus, CallError>> + Send;

    /// Says that the alert was sent, whoever holds it by now: it is true in any case.
    ///
    /// # Errors
    ///
    /// When it is not known to be noted.
    fn mark_sent(&self, claim: &Claim) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Gives back a claim that is still the owner's, so that nobody has to wait for its lease.
    /// What was sent, or is somebody else's, stays as it is.
    ///
    /// # Errors
    ///
    /// When it is not known to be given back.
    fn release(&self, claim: &Claim) -> impl Future<Output = Result<(), CallError>> + Send;
}

/// Calls [`ClaimStore`], all of a few at once, and again while there is time.
#[derive(Clone, Debug)]
pub struct RetryingClaims<C> {
    claims: C,
    retry: Retry,
}

impl<C: ClaimStore> RetryingClaims<C> {
    /// A claimant at `claims`.
    pub fn new(claims: C) -> Self {
        Self { claims, retry: Retry::new(OPERATION) }
    }

    /// The same, whose delays come from a seed, as
    /// [`Producer::with_jitter_seed`](crate::producer::Producer::with_jitter_seed).
    #[must_use]
    pub fn with_jitter_seed(self, seed: u64) -> Self {
        Self { retry: self.retry.with_jitter_seed(seed), ..self }
    }

    /// The store behind it.
    pub fn target(&self) -> &C {
        &self.claims
    }

    /// Delays between one look at what others hold and the next, for ever.
    pub fn delays(&self) -> impl Iterator<Item = Duration> + use<C> {
        self.retry.delays()
    }

    /// Claims all of these; how each stands, in order. `clock` is asked before every call.
    pub async fn claim(
        &self,
        claims: &[Claim],
        clock: fn() -> Timestamp,
        deadline: Deadline,
    ) -> Vec<Result<ClaimStatus, CallError>> {
        let one = |claim| self.retry.call(deadline, move || self.claims.claim(claim, clock()));
        run_concurrently(claims, one).await
    }

    /// Settles all of these; what became of each, in order.
    pub async fn mark_sent(
        &self,
        claims: &[Claim],
        deadline: Deadline,
    ) -> Vec<Result<(), CallError>> {
        let one = |claim| self.retry.call(deadline, move || self.claims.mark_sent(claim));
        run_concurrently(claims, one).await
    }

    /// Releases all of these, as far as one call each does: a lease ends by itself.
    pub async fn release(&self, claims: &[Claim], deadline: Deadline) {
        run_concurrently(claims, |claim| self.retry.attempt(deadline, self.claims.release(claim)))
            .await;
    }
}
