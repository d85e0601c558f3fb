//! The books of alerts: how often rules matched in a batch, and what became of each match.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Counts of the alerts of one batch, or the sum of many.
///
/// They balance when every match is one of the others. Several events of one alert are so many
/// matches: one of them is told, the others are cooled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertCounts {
    /// Times that a rule matched.
    #[serde(rename = "alerts_matched")]
    pub matched: u64,
    /// Alerts that were told in a message of their own.
    #[serde(rename = "alerts_sent")]
    pub sent: u64,
    /// Matches whose alert had been told, or is told by another match of the batch.
    #[serde(rename = "alerts_cooled")]
    pub cooled: u64,
    /// Alerts that were told in a digest.
    #[serde(rename = "alerts_digested")]
    pub digested: u64,
    /// Matches whose alert is not known to be told; their events come again.
    #[serde(rename = "alerts_undelivered")]
    pub undelivered: u64,
}

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertOutcome {
    /// It was told in a message of its own.
    Sent,
    /// It had been told before.
    Cooled,
    /// It was told in a digest.
    Digested,
    /// It is not known to be told.
    Undelivered,
}

impl AlertCounts {
    /// Notes what became of an alert that `events` events of the batch made.
    pub fn record(&mut self, outcome: AlertOutcome, events: u64) {
        match outcome {
            AlertOutcome::Sent => self.sent += 1,
            AlertOutcome::Digested => self.digested += 1,
            AlertOutcome::Cooled => self.cooled += events,
            AlertOutcome::Undelivered => self.undelivered += events,
        }
        if matches!(outcome, AlertOutcome::Sent | AlertOutcome::Digested) {
            self.cooled += events.saturating_sub(1);
        }
    }

    /// Whether `matched = sent + cooled + digested + undelivered`.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.matched == self.sent + self.cooled + self.digested + self.undelivered
    }
}

impl AddAssign for AlertCounts {
    fn add_assign(&mut self, other: Self) {
        self.matched += other.matched;
        self.sent += other.sent;
        self.cooled += other.cooled;
        self.digested += other.digested;
        self.undelivered += other.undelivered;
    }
}
