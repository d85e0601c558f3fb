//! Evaluation of rules over a sequence of events, including rules that need more than one event.
//!
//! For data that is read as a whole: examples and files. The evaluator keeps the history of each
//! entity and expects events ordered by [`Event::received_at`]; an older event does not change
//! earlier firings.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::consecutive::Marks;
use super::no_data::WatchedEntity;
use super::{Rule, RuleError, Rules};
use tributary_model::event::Event;
use tributary_model::id::Id;
use tributary_windows::Spec;

/// Firing of a rule.
#[derive(Clone, Debug)]
pub struct Firing<'r> {
    /// Rule that fired.
    pub rule: &'r Rule,
    /// Id of the alert: firings with the same id are one alert, sent once.
    pub alert_id: Id,
    /// Entity that it fired for.
    pub entity: String,
    /// Time of the event, or time at which no data had lasted for `absent`.
    pub at: Timestamp,
}

/// Rules with their histories.
#[derive(Debug)]
pub struct RuleEvaluator<'r> {
    rules: &'r Rules,
    histories: Vec<RuleHistory<'r>>,
}

#[derive(Debug)]
struct RuleHistory<'r> {
    rule: &'r Rule,
    /// Slide of the rule's windows.
    slide: Option<SignedDuration>,
    /// Marks by item, as the deployed function stores them: consecutive windows and no-data periods
    /// of a cooldown.
    marks_by_item: HashMap<String, Marks>,
    /// Latest reading by entity.
    last: HashMap<String, WatchedEntity>,
}

impl<'r> RuleEvaluator<'r> {
    /// Creates an evaluator without history; `specs` define the slides of the windows.
    #[must_use]
    pub fn new(rules: &'r Rules, specs: &[Spec]) -> Self {
        let histories = |rule: &'r Rule| {
            let spec = specs.iter().find(|spec| Some(&spec.id) == rule.spec.window.as_ref());
            let slide = spec.map(|spec| spec.slide);
            RuleHistory { rule, slide, marks_by_item: HashMap::new(), last: HashMap::new() }
        };
        Self { rules, histories: rules.iter().map(histories).collect() }
    }

    /// Returns true if any rule applies to `event`.
    #[must_use]
    pub fn applies_to(&self, event: &Event<'_>) -> bool {
        self.rules.applicable(event).next().is_some()
    }

    /// Returns the rules that fire on `event`, including for a no-data period that it ends, and the
    /// rules that fail on it.
    pub fn event(&mut self, event: &Event<'_>) -> (Vec<Firing<'r>>, Vec<RuleError>) {
        let (matches, errors) = self.rules.matches(event);
        let matches: BTreeSet<_> = matches.into_iter().map(|rule| &rule.spec.id).collect();
        let mut firings = Vec::new();
        for history in self.histories.iter_mut().filter(|it| it.rule.applies_to(event)) {
            let holds = matches.contains(&history.rule.spec.id);
            if history.rule.spec.absent.is_some() {
                firings.extend(history.record_seen(event));
            } else if history.rule.spec.sustained.is_some() {
                let ends = history.completed_rows(event, holds);
                firings.extend(ends.into_iter().map(|end| history.fires(event, end)));
            } else if holds {
                firings.push(history.fires(event, event.event_time));
            }
        }
        (firings, errors)
    }

    /// Returns the no-data periods that have lasted long enough at `now`, if no more events follow.
    #[must_use]
    pub fn finish(mut self, now: Timestamp) -> Vec<Firing<'r>> {
        let mut firings = Vec::new();
        for history in &mut self.histories {
            let mut last: Vec<_> = std::mem::take(&mut history.last).into_values().collect();
            last.sort_by(|one, other| {
                (one.last_seen, &one.entity).cmp(&(other.last_seen, &other.entity))
            });
            firings.extend(last.iter().filter_map(|last| history.no_data_alert(last, now)));
        }
        firings.sort_by(|one, other| (one.at, &one.entity).cmp(&(other.at, &other.entity)));
        firings
    }
}

impl<'r> RuleHistory<'r> {
    /// Returns the firing about `event` in the cooldown period of `time`.
    fn fires(&self, event: &Event<'_>, time: Timestamp) -> Firing<'r> {
        let rule = self.rule;
        let alert_id = rule.alert_id_at(event, time);
        Firing { rule, alert_id, entity: event.entity.clone().into_owned(), at: event.event_time }
    }

    /// Records the evaluation of a window and returns the starts of the windows at which `when` has
    /// held for enough consecutive windows.
    fn completed_rows(&mut self, event: &Event<'_>, holds: bool) -> Vec<Timestamp> {
        let Some(window) = &event.window else { return Vec::new() };
        let slide = self.slide.unwrap_or_else(|| window.end.duration_since(window.start));
        let Some(series) = self.rule.consecutive_windows(slide) else { return Vec::new() };
        let mut ends = Vec::new();
        for mark in series.marks(&event.entity, window, holds) {
            let marks = self.marks_by_item.entry(mark.item.clone()).or_default();
            let value = marks.entry(mark.window).or_default();
            *value = mark.value.max(*value);
            if holds {
                ends.extend(series.fires(&event.entity, &mark, marks));
            }
        }
        ends
    }

    /// Records a reading of an entity and returns the firing for the no-data period before it, if
    /// that was long enough.
    fn record_seen(&mut self, event: &Event<'_>) -> Option<Firing<'r>> {
        let seen = self.rule.watched_entity(event)?;
        let now = seen.last_seen;
        let before = match self.last.entry(seen.entity.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(seen);
                return None;
            }
            // The event is older than the latest reading and ends no period.
            Entry::Occupied(entry) if now < entry.get().last_seen => return None,
            Entry::Occupied(mut entry) => entry.insert(seen),
        };
        self.no_data_alert(&before, now)
    }

    /// Returns the firing for an entity without data since `last`, if that has lasted long enough
    /// at `now`.
    fn no_data_alert(&mut self, last: &WatchedEntity, now: Timestamp) -> Option<Firing<'r>> {
        let rule = self.rule;
        let at = last.last_seen.checked_add(rule.spec.absent?.0).ok()?;
        let mut last = last.clone();
        let mut stands_for_it = None;
        // A suppressed alert is due again at the end of its cooldown, as long as no data arrives.
        while let Some(due) = last.due.filter(|due| *due <= now) {
            let (reported, again) = match self.in_cooldown(&last) {
                Some((first, end)) => (first, Some(end)),
                None => (rule.no_data_alert(&last).alert_id, None),
            };
            stands_for_it = Some(reported);
            last.due = again.filter(|again| *again > due);
        }
        Some(Firing { rule, alert_id: stands_for_it?, entity: last.entity, at })
    }

    /// Returns the alert that covers a no-data period within its cooldown, and the end of that
    /// cooldown.
    fn in_cooldown(&mut self, silent: &WatchedEntity) -> Option<(Id, Timestamp)> {
        let cooldown_period = self.rule.cooldown_period(silent)?;
        let marks = self.marks_by_item.entry(cooldown_period.mark.item.clone()).or_default();
        marks.insert(cooldown_period.mark.window, cooldown_period.mark.value);
        self.rule
            .alert_in_cooldown(&silent.key, &cooldown_period, marks)
            .map(|first| (first, cooldown_period.end))
    }
}
