//! Rules with `for`: what a window says is noted, and where it completes a row, that is an alert.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use tributary_aws::alert_state::{AlertState, OPERATION};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, SetupError};
use tributary_aws::retry::{Retry, run_concurrently};
use tributary_model::event::Event;
use tributary_model::json::to_json;
use tributary_rules::Rule;
use tributary_rules::alert::Alert;
use tributary_rules::consecutive::{Mark, Marks};
use tributary_windows::Spec;

/// What rules remember from one batch to the next.
#[derive(Clone, Debug)]
pub struct RuleState<S> {
    /// Where it is kept.
    pub store: S,
    /// How calls to it are made again.
    pub retry: Retry,
    /// By window spec, the time from the start of a window to that of the next.
    pub slides: BTreeMap<String, SignedDuration>,
    /// By item, when a sign of life was last written by this process.
    pub(crate) written: Arc<Mutex<HashMap<String, Timestamp>>>,
}

/// What a window says to a rule with `for`.
#[derive(Clone, Debug)]
pub struct Evaluation<'r> {
    /// Position of its event in the batch.
    pub position: usize,
    rule: &'r Rule,
    slide: SignedDuration,
    entity: String,
    marks: Vec<Mark>,
    /// The event, where `when` holds: it is what an alert is about.
    event: Option<String>,
}

/// What [`RuleState::note`] did.
#[derive(Debug, Default)]
pub struct RecordedEvaluations {
    /// Alerts that are due, with the positions of the events that made them so.
    pub alerts: Vec<(usize, Alert)>,
    /// Positions of windows that are not known to be noted.
    pub unconfirmed: Vec<usize>,
    /// Windows that were noted.
    pub marks: usize,
    /// What the store said last when it did not take something.
    pub last_error: Option<String>,
}

impl<S: AlertState> RuleState<S> {
    /// A memory in `store` for rules about windows of these specs.
    pub fn new(store: S, specs: &[Spec]) -> Self {
        let slides = specs.iter().map(|spec| (spec.id.clone(), spec.slide)).collect();
        let retry = Retry::new(OPERATION);
        Self { store, retry, slides, written: Arc::default() }
    }

    /// What a window event says to a rule with `for`; `None` where there is nothing to note.
    #[must_use]
    pub fn evaluate<'r>(
        &self,
        position: usize,
        rule: &'r Rule,
        event: &Event<'_>,
        holds: bool,
    ) -> Option<Evaluation<'r>> {
        let window = event.window.as_ref()?;
        let own = window.end.duration_since(window.start);
        let slide = self.slides.get(window.spec.as_ref()).copied().unwrap_or(own);
        let marks = rule.consecutive_windows(slide)?.marks(&event.entity, window, holds);
        if marks.is_empty() {
            return None;
        }
        let copy = holds.then(|| to_json(event));
        let entity = event.entity.clone().into_owned();
        Some(Evaluation { position, rule, slide, entity, marks, event: copy })
    }

    /// Notes what windows say, all at once as far as there may be so many calls, and finds the rows
    /// that they complete. Where one cannot be noted its position is told, and nothing of it is due.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when the store says that it can never work.
    pub async fn record_evaluations(
        &self,
        evaluations: &[Evaluation<'_>],
        expires_at: Timestamp,
        deadline: Deadline,
    ) -> Result<RecordedEvaluations, SetupError> {
        let marks: Vec<_> = evaluations
            .iter()
            .flat_map(|evaluation| evaluation.marks.iter().map(move |mark| (evaluation, mark)))
            .collect();
        let answers = run_concurrently(&marks, |&(_, mark)| {
            self.retry.call(deadline, move || self.store.raise_mark(mark, expires_at))
        });
        let mut recorded = RecordedEvaluations::default();
        for ((evaluation, mark), answer) in marks.iter().zip(answers.await) {
            match answer {
                Ok(marks) => {
                    recorded.marks += 1;
                    let alerts = evaluation.alerts(mark, &marks).into_iter();
                    recorded.alerts.extend(alerts.map(|alert| (evaluation.position, alert)));
                }
                Err(CallError::Setup(error)) => return Err(error),
                Err(error) => {
                    recorded.unconfirmed.push(evaluation.position);
                    recorded.last_error = Some(error.to_string());
                }
            }
        }
        recorded.alerts.sort_by_key(|(position, _)| *position);
        Ok(recorded)
    }
}

impl Evaluation<'_> {
    /// The alerts that are due by the marks of an item; all are about this window, and each is of the
    /// period of the one with which `when` has held often enough.
    fn alerts(&self, mark: &Mark, marks: &Marks) -> Vec<Alert> {
        let event = self.event.as_ref().and_then(|event| Event::from_json(event.as_bytes()).ok());
        let (Some(event), Some(series)) = (event, self.rule.consecutive_windows(self.slide)) else {
            return Vec::new();
        };
        let completed = series.fires(&self.entity, mark, marks).into_iter();
        completed.map(|start| self.rule.alert_at(&event, start)).collect()
    }
}
