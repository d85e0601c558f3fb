//! When rules fire over events in order: also those that need more than one event.
//!
//! This is for what is read as a whole, examples and files. It keeps what it has seen of each entity,
//! and takes events in the order of [`Event::received_at`]; an older one changes nothing that has fired.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::series::Marks;
use super::watch::Watched;
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
pub struct Follow<'r> {
    rules: &'r Rules,
    followed: Vec<Followed<'r>>,
}

#[derive(Debug)]
struct Followed<'r> {
    rule: &'r Rule,
    /// From the start of one window of a row to the start of the next.
    hop: Option<SignedDuration>,
    /// By item, what the deployed function would keep there: windows of rows, silences of a cooldown.
    kept: HashMap<String, Marks>,
    /// By entity, what came last.
    last: HashMap<String, Watched>,
}

impl<'r> Follow<'r> {
    /// Rules that have seen nothing; `specs` say how far apart the windows of a row are.
    #[must_use]
    pub fn new(rules: &'r Rules, specs: &[Spec]) -> Self {
        let followed = |rule: &'r Rule| {
            let spec = specs.iter().find(|spec| Some(spec.id.as_str()) == rule.window());
            let hop = spec.map(|spec| spec.hop);
            Followed { rule, hop, kept: HashMap::new(), last: HashMap::new() }
        };
        Self { rules, followed: rules.iter().map(followed).collect() }
    }

    /// Whether any rule is asked about `event`.
    #[must_use]
    pub fn asks_about(&self, event: &Event<'_>) -> bool {
        self.rules.iter().any(|rule| rule.asks_about(event))
    }

    /// The rules that fire when `event` comes, a silence that it ends included; and those that fail
    /// on it.
    pub fn event(&mut self, event: &Event<'_>) -> (Vec<Firing<'r>>, Vec<RuleError>) {
        let (matches, errors) = self.rules.matches(event);
        let matches: BTreeSet<_> = matches.into_iter().map(Rule::id).collect();
        let mut firings = Vec::new();
        for followed in self.followed.iter_mut().filter(|it| it.rule.asks_about(event)) {
            let holds = matches.contains(followed.rule.id());
            if followed.rule.absent().is_some() {
                firings.extend(followed.comes(event));
            } else if followed.rule.sustained().is_some() {
                let ends = followed.row_ends(event, holds);
                firings.extend(ends.into_iter().map(|end| followed.fires(event, end)));
            } else if holds {
                firings.push(followed.fires(event, event.event_time));
            }
        }
        (firings, errors)
    }

    /// The silences that have lasted long enough at `now`, where nothing more comes.
    #[must_use]
    pub fn until(mut self, now: Timestamp) -> Vec<Firing<'r>> {
        let mut firings = Vec::new();
        for followed in &mut self.followed {
            let mut last: Vec<_> = std::mem::take(&mut followed.last).into_values().collect();
            last.sort_by(|one, other| {
                (one.seen_at, &one.entity).cmp(&(other.seen_at, &other.entity))
            });
            firings.extend(last.iter().filter_map(|last| followed.silence(last, now)));
        }
        firings.sort_by(|one, other| (one.at, &one.entity).cmp(&(other.at, &other.entity)));
        firings
    }
}

impl<'r> Followed<'r> {
    /// The rule fires about `event`, in the period that `time` is in.
    fn fires(&self, event: &Event<'_>, time: Timestamp) -> Firing<'r> {
        let rule = self.rule;
        let alert_id = rule.alert_id_at(event, time);
        Firing { rule, alert_id, entity: event.entity.clone().into_owned(), at: event.event_time }
    }

    /// The starts of the windows with which `when` has held often enough in a row, once `event` is
    /// noted.
    fn row_ends(&mut self, event: &Event<'_>, holds: bool) -> Vec<Timestamp> {
        let Some(window) = &event.window else { return Vec::new() };
        let hop = self.hop.unwrap_or_else(|| window.end.duration_since(window.start));
        let Some(series) = self.rule.series(hop) else { return Vec::new() };
        let mut ends = Vec::new();
        for mark in series.marks(&event.entity, window, holds) {
            let marks = self.kept.entry(mark.item.clone()).or_default();
            let value = marks.entry(mark.window).or_default();
            *value = mark.value.max(*value);
            if holds {
                ends.extend(series.fires(&event.entity, &mark, marks));
            }
        }
        ends
    }

    /// Notes a sign of life of an entity; the silence before it, where that was long enough.
    fn comes(&mut self, event: &Event<'_>) -> Option<Firing<'r>> {
        let seen = self.rule.sighting(event)?;
        let now = seen.seen_at;
        let before = match self.last.entry(seen.entity.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(seen);
                return None;
            }
            // It is older than what is known: no silence ends with it.
            Entry::Occupied(entry) if now < entry.get().seen_at => return None,
            Entry::Occupied(mut entry) => entry.insert(seen),
        };
        self.silence(&before, now)
    }

    /// The silence of an entity that was last seen so, where it has lasted long enough at `now`.
    fn silence(&mut self, last: &Watched, now: Timestamp) -> Option<Firing<'r>> {
        let rule = self.rule;
        let at = last.seen_at.checked_add(rule.absent()?).ok()?;
        let mut last = last.clone();
        let mut stands_for_it = None;
        // What is not told when it is due is looked at again, while it lasts.
        while let Some(due) = last.due.filter(|due| *due <= now) {
            let (told, again) = match self.cooled(&last) {
                Some((first, end)) => (first, Some(end)),
                None => (rule.silence(&last).alert_id, None),
            };
            stands_for_it = Some(told);
            last.due = again.filter(|again| *again > due);
        }
        Some(Firing { rule, alert_id: stands_for_it?, entity: last.entity, at })
    }

    /// What stands for a silence within its cooldown, and the end of that.
    fn cooled(&mut self, silent: &Watched) -> Option<(Id, Timestamp)> {
        let cooling = self.rule.cooling(silent)?;
        let marks = self.kept.entry(cooling.mark.item.clone()).or_default();
        marks.insert(cooling.mark.window, cooling.mark.value);
        self.rule.cooled(&silent.key, &cooling, marks).map(|first| (first, cooling.end))
    }
}
