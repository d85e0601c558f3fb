//! Alert counts: matches of the rules in a batch and the outcome of each match.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Alert counts of one batch, or the sum over many.
///
/// The counts reconcile if every match has one outcome. Several events of one alert are several
/// matches: one is sent, the others are in cooldown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertCounts {
    /// Number of times a rule matched.
    #[serde(rename = "alerts_matched")]
    pub matched: u64,
    /// Alerts sent in a message of their own.
    #[serde(rename = "alerts_sent")]
    pub sent: u64,
    /// Matches whose alert was sent before, or is sent for another match of the batch.
    #[serde(rename = "alerts_cooled")]
    pub cooled: u64,
    /// Alerts sent in a digest.
    #[serde(rename = "alerts_digested")]
    pub digested: u64,
    /// Matches whose alert the topic or the table refuses for what it contains.
    #[serde(rename = "alerts_refused")]
    pub refused: u64,
    /// Matches whose alert is not known to be sent; Lambda redelivers their events.
    #[serde(rename = "alerts_undelivered")]
    pub undelivered: u64,
}

/// Outcome of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertOutcome {
    /// Sent in a message of its own.
    Sent,
    /// Sent before.
    Cooled,
    /// Sent in a digest.
    Digested,
    /// Refused for what it contains: never sent.
    Refused,
    /// Not known to be sent.
    Undelivered,
}

impl AlertCounts {
    /// Records the outcome of an alert that `events` events of the batch made.
    pub fn record(&mut self, outcome: AlertOutcome, events: u64) {
        match outcome {
            AlertOutcome::Sent => self.sent += 1,
            AlertOutcome::Digested => self.digested += 1,
            AlertOutcome::Cooled => self.cooled += events,
            AlertOutcome::Refused => self.refused += events,
            AlertOutcome::Undelivered => self.undelivered += events,
        }
        if matches!(outcome, AlertOutcome::Sent | AlertOutcome::Digested) {
            self.cooled += events.saturating_sub(1);
        }
    }

    /// Returns true if `matched = sent + cooled + digested + refused + undelivered`.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.matched == self.sent + self.cooled + self.digested + self.refused + self.undelivered
    }
}

impl AddAssign for AlertCounts {
    fn add_assign(&mut self, other: Self) {
        self.matched += other.matched;
        self.sent += other.sent;
        self.cooled += other.cooled;
        self.digested += other.digested;
        self.refused += other.refused;
        self.undelivered += other.undelivered;
    }
}
