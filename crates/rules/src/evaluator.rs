//! When rules fire over events in order: also those that need more than one event.
//!
//! This is for what is read as a whole, examples and files. It keeps what it has seen of each entity,
//! and takes events in the order of [`Event::received_at`]; an older one changes nothing that has fired.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::consecutive::Marks;
use super::no_data::WatchedEntity;
use super::{Rule, RuleError, Rules};
use tributary_model::event::Event;
use tributary_model::id::Id;
use tributary_windows::Spec;

/// One time that a rule fired.
#[derive(Clone, Debug)]
pub struct Firing<'r> {
    /// The rule.
    pub rule: &'r Rule,
    /// The alert: firings that share it are one, told once.
    pub alert_id: Id,
    /// What it fired about.
    pub entity: String,
    /// When: the time of the event, or the end of a silence.
    pub at: Timestamp,
}

/// Rules, and what they have seen.
#[derive(Debug)]
pub struct RuleEvaluator<'r> {
    rules: &'r Rules,
    histories: Vec<RuleHistory<'r>>,
}

#[derive(Debug)]
struct RuleHistory<'r> {
    rule: &'r Rule,
    /// From the start of one window of a row to the start of the next.
    slide: Option<SignedDuration>,
    /// By item, what the deployed function would keep there: windows of rows, silences of a cooldown.
    marks_by_item: HashMap<String, Marks>,
    /// By entity, what came last.
    last: HashMap<String, WatchedEntity>,
}

impl<'r> RuleEvaluator<'r> {
    /// Rules that have seen nothing; `specs` say how far apart the windows of a row are.
    #[must_use]
    pub fn new(rules: &'r Rules, specs: &[Spec]) -> Self {
        let histories = |rule: &'r Rule| {
            let spec = specs.iter().find(|spec| Some(spec.id.as_str()) == rule.window());
            let slide = spec.map(|spec| spec.slide);
            RuleHistory { rule, slide, marks_by_item: HashMap::new(), last: HashMap::new() }
        };
        Self { rules, histories: rules.iter().map(histories).collect() }
    }

    /// Whether any rule is asked about `event`.
    #[must_use]
    pub fn applies_to(&self, event: &Event<'_>) -> bool {
        self.rules.iter().any(|rule| rule.applies_to(event))
    }

    /// The rules that fire when `event` comes, a silence that it ends included; and those that fail
    /// on it.
    pub fn event(&mut self, event: &Event<'_>) -> (Vec<Firing<'r>>, Vec<RuleError>) {
        let (matches, errors) = self.rules.matches(event);
        let matches: BTreeSet<_> = matches.into_iter().map(Rule::id).collect();
        let mut firings = Vec::new();
        for histories in self.histories.iter_mut().filter(|it| it.rule.applies_to(event)) {
            let holds = matches.contains(histories.rule.id());
            if histories.rule.absent().is_some() {
                firings.extend(histories.record_seen(event));
            } else if histories.rule.sustained().is_some() {
                let ends = histories.completed_rows(event, holds);
                firings.extend(ends.into_iter().map(|end| histories.fires(event, end)));
            } else if holds {
                firings.push(histories.fires(event, event.event_time));
            }
        }
        (firings, errors)
    }

    /// The silences that have lasted long enough at `now`, where nothing more comes.
    #[must_use]
    pub fn finish(mut self, now: Timestamp) -> Vec<Firing<'r>> {
        let mut firings = Vec::new();
        for histories in &mut self.histories {
            let mut last: Vec<_> = std::mem::take(&mut histories.last).into_values().collect();
            last.sort_by(|one, other| {
                (one.last_seen, &one.entity).cmp(&(other.last_seen, &other.entity))
            });
            firings.extend(last.iter().filter_map(|last| histories.no_data_alert(last, now)));
        }
        firings.sort_by(|one, other| (one.at, &one.entity).cmp(&(other.at, &other.entity)));
        firings
    }
}

impl<'r> RuleHistory<'r> {
    /// The rule fires about `event`, in the period that `time` is in.
    fn fires(&self, event: &Event<'_>, time: Timestamp) -> Firing<'r> {
        let rule = self.rule;
        let alert_id = rule.alert_id_at(event, time);
        Firing { rule, alert_id, entity: event.entity.clone().into_owned(), at: event.event_time }
    }

    /// The starts of the windows with which `when` has held often enough in a row, once `event` is
    /// noted.
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

    /// Notes a sign of life of an entity; the silence before it, where that was long enough.
    fn record_seen(&mut self, event: &Event<'_>) -> Option<Firing<'r>> {
        let seen = self.rule.watched_entity(event)?;
        let now = seen.last_seen;
        let before = match self.last.entry(seen.entity.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(seen);
                return None;
            }
            // It is older than what is known: no silence ends with it.
            Entry::Occupied(entry) if now < entry.get().last_seen => return None,
            Entry::Occupied(mut entry) => entry.insert(seen),
        };
        self.no_data_alert(&before, now)
    }

    /// The silence of an entity that was last seen so, where it has lasted long enough at `now`.
    fn no_data_alert(&mut self, last: &WatchedEntity, now: Timestamp) -> Option<Firing<'r>> {
        let rule = self.rule;
        let at = last.last_seen.checked_add(rule.absent()?).ok()?;
        let mut last = last.clone();
        let mut stands_for_it = None;
        // What is not told when it is due is looked at again, while it lasts.
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

    /// What stands for a silence within its cooldown, and the end of that.
    fn in_cooldown(&mut self, silent: &WatchedEntity) -> Option<(Id, Timestamp)> {
        let cooldown_period = self.rule.cooldown_period(silent)?;
        let marks = self.marks_by_item.entry(cooldown_period.mark.item.clone()).or_default();
        marks.insert(cooldown_period.mark.window, cooldown_period.mark.value);
        self.rule
            .alert_in_cooldown(&silent.key, &cooldown_period, marks)
            .map(|first| (first, cooldown_period.end))
    }
}
