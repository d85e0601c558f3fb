//! Claims, the single-sender locks of alerts: one message is sent, however often Lambda delivers
//! the event.
//!
//! The item of an alert is absent, claimed or sent. Only the owner of the claim may publish. A
//! claim has a lease: if the owner ends between claim and message, another sender takes the claim
//! once the lease has expired. Sent is permanent, until the table expires the item.
//!
//! [`ClaimStore`] is one call to the store. [`RetryingClaims`] makes many calls concurrently and
//! retries them within the time that is left.

mod table;

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::BuildHasher;
use std::time::Duration;

use jiff::Timestamp;

use crate::deadline::Deadline;
use crate::error::CallError;
use crate::retry::{Retry, run_concurrently};

pub use table::ClaimsTable;

/// Name of the operation in messages.
pub const OPERATION: &str = "dynamodb:UpdateItem";

/// Returns the owner of the claims of one attempt at an invocation: its request id, which leads to
/// the log, and 64 random bits.
#[must_use]
pub fn owner_of(request_id: &str) -> String {
    format!("{request_id}/{:016x}", RandomState::new().hash_one(request_id))
}

/// Request to claim an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Id of the alert.
    pub alert_id: String,
    /// Claimant's name, unique to each attempt at an invocation: see [`owner_of`].
    pub owner: String,
    /// Expiry of the lease. By then the owner has certainly ended.
    pub lease_until: Timestamp,
    /// Earliest time at which the store may drop the item.
    pub expires_at: Timestamp,
}

/// Status of an alert after an attempt to claim it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimStatus {
    /// Claimed by the caller, who may send it until the lease expires.
    Claimed,
    /// Already sent.
    Sent,
    /// Lease held by another sender, which is about to send or ended before it could.
    HeldByOther {
        /// Time at which the alert can be claimed, unless it is sent by then.
        until: Timestamp,
    },
}

/// Store of claims. Each call is one atomic step on one item.
pub trait ClaimStore: Send + Sync {
    /// Claims the alert if it is absent, if its lease has expired at `now`, or if the owner already
    /// holds it. A call without an answer can therefore be retried.
    ///
    /// # Errors
    ///
    /// Returns an error if the answer does not show the status; the claim may have been taken all
    /// the same.
    fn claim(
        &self,
        claim: &Claim,
        now: Timestamp,
    ) -> impl Future<Output = Result<ClaimStatus, CallError>> + Send;

    /// Marks the alert as sent, regardless of the lease's holder: the message is out in any case.
    ///
    /// # Errors
    ///
    /// Returns an error if the mark is not known to be stored.
    fn mark_sent(&self, claim: &Claim) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Releases a claim that the owner still holds, so that other senders need not wait for its
    /// lease. Changes nothing if the alert is sent or another sender holds it.
    ///
    /// # Errors
    ///
    /// Returns an error if the claim is not known to be released.
    fn release(&self, claim: &Claim) -> impl Future<Output = Result<(), CallError>> + Send;
}

/// Calls a [`ClaimStore`] for many alerts concurrently, and retries while there is time.
#[derive(Clone, Debug)]
pub struct RetryingClaims<C> {
    claims: C,
    retry: Retry,
}

impl<C: ClaimStore> RetryingClaims<C> {
    /// Creates a client of `claims`.
    pub fn new(claims: C) -> Self {
        Self { claims, retry: Retry::new(OPERATION) }
    }

    /// Draws the delays from a seed, as
    /// [`Producer::with_jitter_seed`](crate::producer::Producer::with_jitter_seed).
    #[must_use]
    pub fn with_jitter_seed(self, seed: u64) -> Self {
        Self { retry: self.retry.with_jitter_seed(seed), ..self }
    }

    /// Returns the store behind it.
    pub fn target(&self) -> &C {
        &self.claims
    }

    /// Returns an endless sequence of delays between two checks of leases that other senders hold.
    pub fn delays(&self) -> impl Iterator<Item = Duration> + use<C> {
        self.retry.delays()
    }

    /// Claims all of these and returns the status of each, in order. Reads `clock` before every
    /// call.
    pub async fn claim(
        &self,
        claims: &[Claim],
        clock: fn() -> Timestamp,
        deadline: Deadline,
    ) -> Vec<Result<ClaimStatus, CallError>> {
        let one = |claim| self.retry.call(deadline, move || self.claims.claim(claim, clock()));
        run_concurrently(claims, one).await
    }

    /// Marks all of these as sent and returns the result of each, in order.
    pub async fn mark_sent(
        &self,
        claims: &[Claim],
        deadline: Deadline,
    ) -> Vec<Result<(), CallError>> {
        let one = |claim| self.retry.call(deadline, move || self.claims.mark_sent(claim));
        run_concurrently(claims, one).await
    }

    /// Releases all of these with at most one call each: a lease that stays expires by itself.
    pub async fn release(&self, claims: &[Claim], deadline: Deadline) {
        run_concurrently(claims, |claim| self.retry.attempt(deadline, self.claims.release(claim)))
            .await;
    }
}
