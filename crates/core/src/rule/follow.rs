//! When rules fire over events in order: also those that need more than one event.
//!
//! This is for what is read as a whole, examples and files. It keeps what it has seen of each entity,
//! and takes events in the order of [`Event::received_at`]; an older one changes nothing that has fired.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::iter::successors;

use jiff::{SignedDuration, Timestamp};

use super::watch::Watched;
use super::{Rule, RuleError, Rules};
use crate::event::Event;
use crate::id::Id;
use crate::window::Spec;

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
    /// By entity, the starts of the windows in which `when` held.
    held: HashMap<String, BTreeSet<Timestamp>>,
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
            Followed { rule, hop, held: HashMap::new(), last: HashMap::new() }
        };
        Self { rules, followed: rules.iter().map(followed).collect() }
    }

    /// The rules that fire when `event` comes, a silence that it ends included; and those that fail
    /// on it.
    pub fn event(&mut self, event: &Event<'_>) -> (Vec<Firing<'r>>, Vec<RuleError>) {
        let (matches, errors) = self.rules.matches(event);
        let matches: BTreeSet<_> = matches.into_iter().map(Rule::id).collect();
        let mut firings = Vec::new();
        for followed in self.followed.iter_mut().filter(|it| it.rule.asks_about(event)) {
            let holds = matches.contains(followed.rule.id());
            let fires = match (followed.rule.sustained(), followed.rule.absent()) {
                (_, Some(_)) => {
                    firings.extend(followed.comes(event));
                    false
                }
                (Some(count), None) => followed.runs(event, holds, count),
                (None, None) => holds,
            };
            if fires {
                firings.push(Firing {
                    rule: followed.rule,
                    alert_id: followed.rule.alert_id(event),
                    entity: event.entity.clone().into_owned(),
                    at: event.event_time,
                });
            }
        }
        (firings, errors)
    }

    /// The silences that have lasted long enough at `now`, where nothing more comes.
    #[must_use]
    pub fn until(&self, now: Timestamp) -> Vec<Firing<'r>> {
        let mut firings = Vec::new();
        for followed in &self.followed {
            let silences = followed.last.values();
            firings.extend(silences.filter_map(|last| silence(followed.rule, last, now)));
        }
        firings.sort_by(|one, other| (one.at, &one.entity).cmp(&(other.at, &other.entity)));
        firings
    }
}

impl<'r> Followed<'r> {
    /// Whether `when` has held in `count` windows in a row, that of `event` among them: a window that
    /// comes late, or a later revision, may close a row whose end is known. A window that is not there
    /// breaks a row; a later revision stands for its window.
    fn runs(&mut self, event: &Event<'_>, holds: bool, count: u32) -> bool {
        let Some(window) = &event.window else { return false };
        let held = self.held.entry(event.entity.clone().into_owned()).or_default();
        if !holds {
            held.remove(&window.start);
            return false;
        }
        held.insert(window.start);
        let hop = self.hop.unwrap_or_else(|| window.end.duration_since(window.start));
        let row = |hop: SignedDuration| {
            let next = |start: &Timestamp| start.checked_add(hop).ok();
            let starts = successors(next(&window.start), next);
            starts.take_while(|start| held.contains(start)).take(count as usize).count()
        };
        1 + row(hop) + row(-hop) >= count as usize
    }

    /// Notes a sign of life of an entity; the silence before it, where that was long enough.
    fn comes(&mut self, event: &Event<'_>) -> Option<Firing<'r>> {
        let seen = self.rule.sighting(event)?;
        let now = seen.seen_at;
        match self.last.entry(seen.entity.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(seen);
                None
            }
            // It is older than what is known: no silence ends with it.
            Entry::Occupied(entry) if now < entry.get().seen_at => None,
            Entry::Occupied(mut entry) => {
                let before = entry.insert(seen);
                silence(self.rule, &before, now)
            }
        }
    }
}

/// The silence of an entity that was last seen so, where it has lasted long enough at `now`.
fn silence<'r>(rule: &'r Rule, last: &Watched, now: Timestamp) -> Option<Firing<'r>> {
    let at = last.seen_at.checked_add(rule.absent()?).ok().filter(|at| *at <= now)?;
    let alert_id = rule.silence(last).alert_id;
    Some(Firing { rule, alert_id, entity: last.entity.clone(), at })
}
