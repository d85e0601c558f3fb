//! Rules with `for`: what a window says is noted, and where it completes a row, that is an alert.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use tributary_aws::alert_state::{AlertState, OPERATION};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, SetUpError};
use tributary_aws::insist::{Insistence, all_of};
use tributary_model::event::Event;
use tributary_model::json::to_json;
use tributary_rules::Rule;
use tributary_rules::alert::Alert;
use tributary_rules::series::{Mark, Marks};
use tributary_windows::Spec;

/// What rules remember from one batch to the next.
#[derive(Clone, Debug)]
pub struct Memory<S> {
    /// Where it is kept.
    pub store: S,
    /// How calls to it are made again.
    pub insistence: Insistence,
    /// By window spec, the time from the start of a window to that of the next.
    pub hops: BTreeMap<String, SignedDuration>,
    /// By item, when a sign of life was last written by this process.
    pub(crate) written: Arc<Mutex<HashMap<String, Timestamp>>>,
}

/// What a window says to a rule with `for`.
#[derive(Clone, Debug)]
pub struct Sign<'r> {
    /// Position of its event in the batch.
    pub position: usize,
    rule: &'r Rule,
    hop: SignedDuration,
    entity: String,
    marks: Vec<Mark>,
    /// The event, where `when` holds: it is what an alert is about.
    event: Option<String>,
}

/// What [`Memory::note`] did.
#[derive(Debug, Default)]
pub struct Noted {
    /// Alerts that are due, with the positions of the events that made them so.
    pub alerts: Vec<(usize, Alert)>,
    /// Positions of windows that are not known to be noted.
    pub unknown: Vec<usize>,
    /// Windows that were noted.
    pub marks: usize,
    /// What the store said last when it did not take something.
    pub last_error: Option<String>,
}

impl<S: AlertState> Memory<S> {
    /// A memory in `store` for rules about windows of these specs.
    pub fn new(store: S, specs: &[Spec]) -> Self {
        let hops = specs.iter().map(|spec| (spec.id.clone(), spec.hop)).collect();
        let insistence = Insistence::new(OPERATION);
        Self { store, insistence, hops, written: Arc::default() }
    }

    /// What a window event says to a rule with `for`; `None` where there is nothing to note.
    #[must_use]
    pub fn sign<'r>(
        &self,
        position: usize,
        rule: &'r Rule,
        event: &Event<'_>,
        holds: bool,
    ) -> Option<Sign<'r>> {
        let window = event.window.as_ref()?;
        let own = window.end.duration_since(window.start);
        let hop = self.hops.get(window.spec.as_ref()).copied().unwrap_or(own);
        let marks = rule.series(hop)?.marks(&event.entity, window, holds);
        if marks.is_empty() {
            return None;
        }
        let copy = holds.then(|| to_json(event));
        let entity = event.entity.clone().into_owned();
        Some(Sign { position, rule, hop, entity, marks, event: copy })
    }

    /// Notes what windows say, all at once as far as there may be so many calls, and finds the rows
    /// that they complete. Where one cannot be noted its position is told, and nothing of it is due.
    ///
    /// # Errors
    ///
    /// [`SetUpError`] when the store says that it can never work.
    pub async fn note(
        &self,
        signs: &[Sign<'_>],
        expires_at: Timestamp,
        deadline: Deadline,
    ) -> Result<Noted, SetUpError> {
        let marks: Vec<_> =
            signs.iter().flat_map(|sign| sign.marks.iter().map(move |mark| (sign, mark))).collect();
        let answers = all_of(&marks, |&(_, mark)| {
            self.insistence.insist(deadline, move || self.store.raise(mark, expires_at))
        });
        let mut noted = Noted::default();
        for ((sign, mark), answer) in marks.iter().zip(answers.await) {
            match answer {
                Ok(marks) => {
                    noted.marks += 1;
                    let alerts = sign.alerts(mark, &marks).into_iter();
                    noted.alerts.extend(alerts.map(|alert| (sign.position, alert)));
                }
                Err(CallError::SetUp(error)) => return Err(error),
                Err(error) => {
                    noted.unknown.push(sign.position);
                    noted.last_error = Some(error.to_string());
                }
            }
        }
        noted.alerts.sort_by_key(|(position, _)| *position);
        Ok(noted)
    }
}

impl Sign<'_> {
    /// The alerts that are due by the marks of an item; all are about this window, and each is of the
    /// period of the one with which `when` has held often enough.
    fn alerts(&self, mark: &Mark, marks: &Marks) -> Vec<Alert> {
        let event = self.event.as_ref().and_then(|event| Event::from_json(event.as_bytes()).ok());
        let (Some(event), Some(series)) = (event, self.rule.series(self.hop)) else {
            return Vec::new();
        };
        let ends = series.fires(&self.entity, mark, marks).into_iter();
        ends.map(|end| self.rule.alert_at(&event, end)).collect()
    }
}
