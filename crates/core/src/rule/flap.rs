//! `flap`: a rule whose alerts about one key come and go all the time says so, once.
//!
//! The alerts of a key are counted in stretches of time of the length `within`, by the time that each is
//! of. Those beyond `alerts` in a stretch become one: that it flaps. What is known of a stretch is a set
//! of numbers, so that alerts may come in any order, and again.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::Rule;
use super::series::{Mark, Marks};
use crate::alert::{Alert, Flapping};
use crate::id::Id;
use crate::time::Length;

/// The most alerts of a key that are counted in one stretch: they are one item of a store.
const MOST_COUNTED: i64 = 1_000;

/// When a rule flaps, as `alerts.toml` states it; the file explains each field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the configuration file explains its fields where users read them")]
pub struct FlapSpec {
    pub alerts: u32,
    pub within: Length,
}

impl FlapSpec {
    /// What is wrong with it for a rule with this cooldown, about what is absent for so long where it
    /// is about that.
    pub(super) fn contradiction(&self, cooldown: Length, absent: Option<Length>) -> Option<String> {
        let within = self.within.get().as_secs();
        if self.alerts == 0 {
            return Some("with 0 alerts it would say nothing but that it flaps".to_owned());
        }
        if within == 0 {
            return Some("`within` is no time".to_owned());
        }
        // Periods begin at multiples of the cooldown; silences are due at any time of theirs.
        let cooldown = cooldown.get().as_secs();
        let most = match (cooldown, absent) {
            (0, None) => return Some("never: without a cooldown a key has 1 alert".to_owned()),
            (0, Some(absent)) => within / absent.get().as_secs().max(1) + 1,
            (cooldown, absent) => {
                within
                    .unsigned_abs()
                    .div_ceil(cooldown.unsigned_abs())
                    .try_into()
                    .unwrap_or(i64::MAX)
                    + i64::from(absent.is_some() && within % cooldown != 0)
            }
        };
        // Silences of several entities can share a key.
        let is_bounded = cooldown > 0 || absent.is_none();
        if is_bounded && most <= i64::from(self.alerts) {
            let (counted, within) = (counted(most), self.within.get());
            return Some(format!("never: a key has at most {counted} within {within:#}"));
        }
        (most > MOST_COUNTED).then(|| {
            format!("a key could have {most} alerts within that, and {MOST_COUNTED} are counted")
        })
    }
}

fn counted(alerts: i64) -> String {
    if alerts == 1 { "1 alert".to_owned() } else { format!("{alerts} alerts") }
}

/// Which alerts of one key, within one stretch of time, are too many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// What is to be noted of the alert: that it is.
    pub mark: Mark,
    /// First instant of it.
    pub(super) begin: Timestamp,
    /// First instant after.
    pub end: Timestamp,
}

impl Rule {
    /// Where an alert of this rule is counted; `None` for a rule without `flap`.
    #[must_use]
    pub fn stretch(&self, alert: &Alert) -> Option<Stretch> {
        let within = self.flap.as_ref()?.within.get().as_secs().max(1);
        let second = alert.period.as_second();
        let number = second.div_euclid(within);
        let at = |number: i64| Timestamp::from_second(number.saturating_mul(within));
        let definition = self.definition.to_string();
        let item = Id::of_text(&["flap", &definition, &alert.key, &number.to_string()]);
        let mark = Mark { item: item.to_string(), window: second, value: 1 };
        Some(Stretch { mark, begin: at(number).ok()?, end: at(number + 1).ok()? })
    }

    /// What is said in place of an alert that is one too many, by the `marks` of its stretch with its own
    /// among them: that it flaps, with the same id for all of them.
    #[must_use]
    pub fn damped(&self, alert: &Alert, stretch: &Stretch, marks: &Marks) -> Option<Alert> {
        let most = self.flap.as_ref()?.alerts as usize;
        let rank = marks.range(..=stretch.mark.window).count();
        (rank > most).then(|| {
            let flapping = Flapping { alerts: most, since: stretch.begin, until: stretch.end };
            alert.flapping(Id::of_text(&["flaps", &stretch.mark.item]), flapping)
        })
    }

    /// How long alerts of a stretch may still come.
    #[must_use]
    pub fn flaps_within(&self) -> SignedDuration {
        self.flap.as_ref().map_or(SignedDuration::ZERO, |flap| flap.within.get())
    }
}

#[cfg(test)]
mod tests;
