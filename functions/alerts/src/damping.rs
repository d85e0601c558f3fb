//! Rules with `flap`: of too many alerts of one key there is one, that it flaps.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use tributary_aws::alert_state::AlertState;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, SetUpError};
use tributary_aws::insist::all_of;
use tributary_core::alert::Form;
use tributary_core::rule::flap::Stretch;
use tributary_core::rule::series::Marks;
use tributary_core::rule::{Rule, Rules};

use crate::once::Wanted;
use crate::sustained::Memory;

/// For how long it is remembered at least what was counted.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What [`Memory::damp`] did.
#[derive(Debug, Default)]
pub struct Damped {
    /// What is wanted still.
    pub wanted: Vec<Wanted>,
    /// Alerts of which it is not known whether they are too many.
    pub unknown: Vec<Wanted>,
    /// What the store said last when it did not take something.
    pub last_error: Option<String>,
}

/// What is known of the stretches that alerts were counted in.
#[derive(Debug, Default)]
pub(crate) struct Counted(HashMap<(String, i64), Result<Marks, String>>);

impl Counted {
    /// The marks of a stretch, that of the alert that was counted there among them.
    ///
    /// # Errors
    ///
    /// What the store said, where it is not known to be counted.
    pub(crate) fn marks(&self, stretch: &Stretch) -> Result<&Marks, String> {
        match self.0.get(&(stretch.mark.item.clone(), stretch.mark.window)) {
            Some(Ok(marks)) => Ok(marks),
            Some(Err(error)) => Err(error.clone()),
            None => Err("it was not counted".to_owned()),
        }
    }
}

impl<S: AlertState> Memory<S> {
    /// Counts the alerts of rules with `flap`, and puts that they flap in the place of those that are too
    /// many. One that cannot be counted is not wanted now.
    ///
    /// # Errors
    ///
    /// [`SetUpError`] when the store says that it can never work.
    pub async fn damp(
        &self,
        rules: &Rules,
        wanted: Vec<Wanted>,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<Damped, SetUpError> {
        let flapping: HashMap<&str, &Rule> = rules
            .iter()
            .filter(|rule| rule.flaps_within() > SignedDuration::ZERO)
            .map(|rule| (rule.id(), rule))
            .collect();
        let stretch = |wanted: &Wanted| {
            // What was told by itself ends by itself.
            let rule = flapping.get(wanted.alert.rule.as_str());
            let rule = *rule.filter(|_| wanted.alert.form != Form::End)?;
            Some((rule, rule.stretch(&wanted.alert)?))
        };
        let stretches: Vec<_> = wanted.iter().map(stretch).collect();
        let to_count = stretches.iter().flatten();
        let to_count = to_count.map(|(rule, stretch)| (stretch, rule.flaps_within()));
        let counted = self.count(to_count, now, deadline).await?;
        let mut damped = Damped::default();
        for (mut wanted, stretch) in wanted.into_iter().zip(&stretches) {
            let Some((rule, stretch)) = stretch else {
                damped.wanted.push(wanted);
                continue;
            };
            match counted.marks(stretch) {
                Ok(marks) => {
                    let alert = rule.damped(&wanted.alert, stretch, marks);
                    wanted.alert = alert.unwrap_or(wanted.alert);
                    damped.wanted.push(wanted);
                }
                Err(error) => {
                    damped.unknown.push(wanted);
                    damped.last_error = Some(error);
                }
            }
        }
        Ok(damped)
    }

    /// Counts alerts in their stretches, each of which is so long. Each alert once, however many events
    /// it has.
    ///
    /// # Errors
    ///
    /// [`SetUpError`] when the store says that it can never work.
    pub(crate) async fn count<'s>(
        &self,
        stretches: impl Iterator<Item = (&'s Stretch, SignedDuration)>,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<Counted, SetUpError> {
        let distinct: BTreeMap<_, _> = stretches
            .map(|(stretch, length)| ((&stretch.mark.item, stretch.mark.window), (stretch, length)))
            .collect();
        let distinct: Vec<_> = distinct.into_values().collect();
        let answers = all_of(&distinct, |(stretch, length)| {
            let memory = length.saturating_mul(2).max(DAY);
            let expires_at = now.checked_add(memory).unwrap_or(Timestamp::MAX);
            self.insistence.insist(deadline, move || self.store.raise(&stretch.mark, expires_at))
        });
        let mut counted = Counted::default();
        for ((stretch, _), answer) in distinct.iter().zip(answers.await) {
            let answer = match answer {
                Err(CallError::SetUp(error)) => return Err(error),
                answer => answer.map_err(|error| error.to_string()),
            };
            counted.0.insert((stretch.mark.item.clone(), stretch.mark.window), answer);
        }
        Ok(counted)
    }
}
