//! Stored window: open, then pending with a fixed revision, then closed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::aggregate::{Aggregate, Sample};
use super::seen::{RecordPosition, SeenEvents, event_bits};
use super::spec::{Span, Spec};
use tributary_anomaly::Baseline;
use tributary_model::event::{Attributes, Event, Kind, WindowSpan};
use tributary_model::id::Id;
use tributary_model::json::to_json;
use tributary_model::time::{as_optional_millis, as_rfc3339};

/// Phase of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waiting for the watermark.
    #[default]
    Open,
    /// Its revision is fixed and about to be emitted. No event is added until it was emitted, so
    /// that a revision emitted twice is identical.
    Pending,
    /// Its last revision was emitted.
    Closed,
}

/// Window of one group: aggregate and phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// First instant inside.
    #[serde(with = "as_rfc3339")]
    start: Timestamp,
    /// First instant after the end.
    #[serde(with = "as_rfc3339")]
    end: Timestamp,
    phase: Phase,
    /// Revision that is pending or was emitted last.
    #[serde(default)]
    revision: u32,
    /// Processing time at which that revision was fixed.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "as_optional_millis")]
    closed_at: Option<Timestamp>,
    aggregate: Aggregate,
    seen: SeenEvents,
    #[serde(default, skip_serializing_if = "AnomalyResult::is_empty")]
    judgement: AnomalyResult,
}

/// Result of the spec's detector for the latest fixed revision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct AnomalyResult {
    scores: Vec<(String, f64)>,
    tags: Vec<String>,
    /// Baseline after this window.
    baseline: Baseline,
}

impl AnomalyResult {
    fn is_empty(&self) -> bool {
        self.baseline.is_empty()
    }
}

impl Window {
    /// Creates a window without events.
    #[must_use]
    pub fn open(span: Span) -> Self {
        Self { start: span.start, end: span.end, ..Self::default() }
    }

    /// Parses the output of [`Window::to_json`].
    ///
    /// # Errors
    ///
    /// Returns an error if `text` is not a stored window.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Serializes the window for the store.
    #[must_use]
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// Returns the time range of the window.
    #[must_use]
    pub fn span(&self) -> Span {
        Span { start: self.start, end: self.end }
    }

    /// Returns the phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns the revision that is pending or was emitted last.
    #[must_use]
    pub fn revision(&self) -> u32 {
        self.revision
    }

    /// Returns the time at which the window is due: its end while open, immediately while pending.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Open => Some(self.end),
            Phase::Pending => Some(Timestamp::UNIX_EPOCH),
            Phase::Closed => None,
        }
    }

    /// Returns true if the window holds the event `id` of a record at `place`.
    #[must_use]
    pub fn contains(&self, id: u64, place: Option<RecordPosition<'_>>) -> bool {
        self.seen.contains(id, place)
    }

    /// Returns true if the window holds the event `id` with other values, as far as it knows them.
    #[must_use]
    pub fn conflicts(&self, id: u64) -> bool {
        self.seen.conflicts(id)
    }

    /// Adds the events that the window does not hold yet, each with the position of its record, and
    /// returns their number.
    ///
    /// If the window was closed, this makes a further revision pending, fixed at `now`. Callers
    /// must not add to a pending window.
    pub fn apply<'a>(
        &mut self,
        spec: &Spec,
        samples: impl IntoIterator<Item = (&'a Sample, Option<RecordPosition<'a>>)>,
        now: Timestamp,
    ) -> usize {
        let mut partial = Aggregate::default();
        let mut ids = HashMap::new();
        let mut last = None;
        for (sample, place) in samples {
            if self.seen.contains(sample.id, place) {
                // It adds nothing.
            } else if let Entry::Vacant(new) = ids.entry(event_bits(sample.id)) {
                new.insert(sample.id);
                partial.add(sample, spec);
            }
            last = place.or(last);
        }
        let added = ids.len();
        if added == 0 {
            return 0;
        }
        self.aggregate.merge(&partial);
        self.seen.add(ids.into_values(), spec.distinct);
        if let Some(place) = last {
            self.seen.mark(place);
        }
        if self.phase == Phase::Closed {
            self.revision += 1;
            self.fix(now);
        }
        added
    }

    /// Fixes the first revision of an open window. Returns true if the window was open.
    pub fn close(&mut self, now: Timestamp) -> bool {
        let is_open = self.phase == Phase::Open;
        if is_open {
            self.fix(now);
        }
        is_open
    }

    fn fix(&mut self, now: Timestamp) {
        self.phase = Phase::Pending;
        self.closed_at = Some(now);
    }

    /// Evaluates the revision that is about to be written against `before`, the
    /// [`Window::baseline`] of the latest earlier window of the group.
    ///
    /// Does nothing if the spec has no detector.
    pub fn evaluate(&mut self, spec: &Spec, before: &Baseline) {
        if let Some(detector) = &spec.detector {
            let measures = self.aggregate.results(spec);
            let (findings, baseline) =
                detector.evaluate(before, self.start, |name| measures.get(name).copied());
            let (scores, tags) = (findings.measures().collect(), findings.tags());
            self.judgement = AnomalyResult { scores, tags, baseline };
        }
    }

    /// Returns the baseline after this window; empty if no detector has evaluated it.
    #[must_use]
    pub fn baseline(&self) -> &Baseline {
        &self.judgement.baseline
    }

    /// Marks the pending revision as emitted.
    pub fn mark_emitted(&mut self) {
        if self.phase == Phase::Pending {
            self.phase = Phase::Closed;
        }
    }

    /// Returns the window of `group` as an event of `kind: window`.
    ///
    /// An open window yields its aggregate so far, received at its start.
    #[must_use]
    pub fn event<'a>(&self, spec: &'a Spec, group: &'a str) -> Event<'a> {
        let Span { start, end } = self.span();
        let revision = self.revision;
        let begin = start.to_string();
        let event_id = Id::of_text(&[&spec.id, group, &begin, &revision.to_string()]).to_string();
        let mut attributes = Attributes::with_capacity(1);
        attributes.push(spec.key.join("/"), group);
        let AnomalyResult { scores, tags, .. } = &self.judgement;
        let mut tags: Vec<_> = tags.iter().cloned().map(Cow::Owned).collect();
        if self.seen.is_approximate() {
            tags.push(Cow::Borrowed("approximate"));
        }
        let mut measures = self.aggregate.results(spec);
        for (name, score) in scores {
            measures.push(name.clone(), *score);
        }
        Event {
            kind: Kind::Window,
            dataset: Cow::Borrowed(&spec.dataset),
            event_id: Cow::Owned(event_id),
            entity: Cow::Borrowed(group),
            event_time: start,
            received_at: self.closed_at.unwrap_or(start),
            location: None,
            measures,
            attributes,
            faults: Vec::new(),
            tags,
            window: Some(WindowSpan { spec: Cow::Borrowed(&spec.id), start, end, revision }),
        }
    }
}
