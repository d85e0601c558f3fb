//! Rules with `flap`: of too many alerts of one key there is one, that it flaps.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use tributary_aws::alert_state::AlertState;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, SetUpError};
use tributary_aws::insist::all_of;
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
    /// Positions of alerts of which it is not known whether they are too many.
    pub unknown: Vec<usize>,
    /// What the store said last when it did not take something.
    pub last_error: Option<String>,
}

impl<S: AlertState> Memory<S> {
    /// Counts the alerts of rules with `flap`, and puts that they flap in the place of those that are too
    /// many. One that cannot be counted is not wanted now, and its position is told.
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
            let rule = *flapping.get(wanted.alert.rule.as_str())?;
            Some((rule, rule.stretch(&wanted.alert)?))
        };
        let counted: Vec<_> = wanted.iter().map(stretch).collect();
        // Each alert once, however many events it has.
        let distinct: HashMap<_, _> = counted
            .iter()
            .flatten()
            .map(|(rule, stretch)| ((&stretch.mark.item, stretch.mark.window), (rule, stretch)))
            .collect();
        let mut distinct: Vec<_> = distinct.into_iter().collect();
        distinct.sort_by_key(|(key, _)| *key);
        let answers = all_of(&distinct, |(_, (rule, stretch))| {
            let memory = rule.flaps_within().saturating_mul(2);
            let expires_at = now.checked_add(memory.max(DAY)).unwrap_or(Timestamp::MAX);
            self.insistence.insist(deadline, move || self.store.raise(&stretch.mark, expires_at))
        });
        let mut known: HashMap<(&String, i64), Result<Marks, String>> = HashMap::new();
        for ((key, _), answer) in distinct.iter().zip(answers.await) {
            let answer = match answer {
                Err(CallError::SetUp(error)) => return Err(error),
                answer => answer.map_err(|error| error.to_string()),
            };
            known.insert(*key, answer);
        }
        let mut damped = Damped::default();
        for (mut wanted, counted) in wanted.into_iter().zip(&counted) {
            let Some((rule, stretch)) = counted else {
                damped.wanted.push(wanted);
                continue;
            };
            match marks_of(&known, stretch) {
                Ok(marks) => {
                    let alert = rule.damped(&wanted.alert, stretch, marks);
                    wanted.alert = alert.unwrap_or(wanted.alert);
                    damped.wanted.push(wanted);
                }
                Err(error) => {
                    damped.unknown.push(wanted.position);
                    damped.last_error = Some(error);
                }
            }
        }
        Ok(damped)
    }
}

fn marks_of<'k>(
    known: &'k HashMap<(&String, i64), Result<Marks, String>>,
    stretch: &'k Stretch,
) -> Result<&'k Marks, String> {
    match known.get(&(&stretch.mark.item, stretch.mark.window)) {
        Some(Ok(marks)) => Ok(marks),
        Some(Err(error)) => Err(error.clone()),
        None => Err("it was not counted".to_owned()),
    }
}
