//! The books of alerts: how often rules matched in a batch, and what became of each match.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Counts of the alerts of one batch, or the sum of many.
///
/// They balance when every match is one of the others. Several events of one alert are so many
/// matches: one of them is told, the others are cooled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertBooks {
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
pub enum End {
    /// It was told in a message of its own.
    Sent,
    /// It had been told before.
    Cooled,
    /// It was told in a digest.
    Digested,
    /// It is not known to be told.
    Undelivered,
}

impl AlertBooks {
    /// Notes what became of an alert that `events` events of the batch made.
    pub fn note(&mut self, end: End, events: u64) {
        match end {
            End::Sent => self.sent += 1,
            End::Digested => self.digested += 1,
            End::Cooled => self.cooled += events,
            End::Undelivered => self.undelivered += events,
        }
        if matches!(end, End::Sent | End::Digested) {
            self.cooled += events.saturating_sub(1);
        }
    }

    /// Whether `matched = sent + cooled + digested + undelivered`.
    #[must_use]
    pub fn balance(&self) -> bool {
        self.matched == self.sent + self.cooled + self.digested + self.undelivered
    }
}

impl AddAssign for AlertBooks {
    fn add_assign(&mut self, other: Self) {
        self.matched += other.matched;
        self.sent += other.sent;
        self.cooled += other.cooled;
        self.digested += other.digested;
        self.undelivered += other.undelivered;
    }
}
