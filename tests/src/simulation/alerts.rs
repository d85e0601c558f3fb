//! Alerts of a simulation: its rules and invocations, and the checks of the messages sent.
//!
//! Each message beyond the first of an alert needs a reason, and a rule must not send more messages
//! for a batch than its `digest` limit.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tributary_config::{ALERTS, AlertsConfig};
use tributary_model::config_error::ConfigError;
use tributary_model::event::Event;
use tributary_model::id::Id;
use tributary_rules::no_data::WatchedEntity;
use tributary_rules::{Rule, Rules};
use tributary_testkit::service::{Change, ChangeKind, SimAlertState, SimClaims, SimTopic};
use tributary_testkit::{Fault, clock};
use tributary_windows::Spec;

use super::input::CLOCK_AHEAD;
use super::oracle::Verdict;
use super::world::configuration;

/// Rules beside the shipped ones. They make:
///
/// - many events of one alert, in one batch and in several shards at the same time (`warm`,
///   `water`),
/// - many alerts of one rule (`storm`),
/// - alerts on consecutive windows, true while a window is young, each run an alert of its own, so
///   that no alert hides another (`thin`),
/// - no-data alerts that are resolved soon (`silent`), and several of them within one cooldown
///   (`hushed`).
const MORE: &str = r#"
[[rules]]
id = "warm"
dataset = "telemetry"
severity = "warning"
when = "event.measures.temperature_c >= 20.0"
title = "{measures.temperature_c} °C at {entity}"
key = "{entity}"
cooldown = "1h"

[[rules]]
id = "water"
dataset = "flood"
severity = "info"
when = "true"
title = "The rivers have water"
key = "{dataset}"
cooldown = "15m"

[[rules]]
id = "storm"
dataset = "telemetry"
severity = "info"
when = "true"
title = "{entity} is there"
key = "{event_id}"
cooldown = "0s"
digest = 2

[[rules]]
id = "thin"
dataset = "telemetry"
window = "overlapping"
severity = "info"
when = "event.measures.count < 3.0"
for = 3
title = "Little of {entity}"
key = "{entity}"
cooldown = "1s"

[[rules]]
id = "silent"
dataset = "telemetry"
severity = "warning"
absent = "1m"
title = "Nothing from {entity}"
key = "{entity}"
cooldown = "0s"
digest = 2

[[rules]]
id = "hushed"
dataset = "telemetry"
severity = "warning"
absent = "20s"
title = "Nothing from {entity}"
key = "{entity}"
cooldown = "3m"
"#;

/// Returns the fault rates for calls to the alert state, from those of the simulation: at least 5 %
/// of the calls time out, and none is denied.
pub(super) fn rates(all: &BTreeMap<Fault, f64>) -> BTreeMap<Fault, f64> {
    let mut rates = all.clone();
    if let Some(rate) = rates.get_mut(&Fault::TimeOutBefore) {
        *rate = rate.max(0.05);
    }
    rates.insert(Fault::Denied, 0.0);
    rates
}

/// Maximum delay of a no-data alert: some runs of the schedule, some of them failed, and the
/// suppression after a batch of old readings.
const TIMEOUT: SignedDuration = SignedDuration::from_mins(10);

/// Returns the ids that the rule `warm` has for these devices in the hours to come, and 40 days
/// later, where the readings of clocks that are ahead are: none of these may be used up.
pub(super) fn of_hours_to_come(devices: &BTreeSet<&str>) -> Vec<String> {
    let now = clock::now().as_second().div_euclid(3_600);
    let ahead = now + CLOCK_AHEAD.as_hours();
    let id = |device: &str, hour: i64| Id::of_text(&["warm", device, &hour.to_string()]);
    let of_device = |device: &&str| {
        let hours = (now + 2..now + 12).chain(ahead - 24..ahead + 12);
        hours.map(|hour| id(device, hour).to_string()).collect::<Vec<_>>()
    };
    devices.iter().flat_map(of_device).collect()
}

/// Returns true when no no-data alert is overdue.
pub(super) fn no_data_alerts_are_sent(store: &SimAlertState) -> bool {
    let limit = clock::now() - TIMEOUT;
    store.watched().iter().all(|watched| watched.due.is_none_or(|due| due > limit))
}

/// Returns the rules of a simulation.
pub(super) fn rules() -> Result<Rules, ConfigError> {
    configuration()?.rules_of(&AlertsConfig::from_toml(&format!("{ALERTS}\n{MORE}"))?)
}

/// Ids of the alerts that must be sent, and of those that may be: if a window matched a rule and
/// its later revision does not, its alert may have been sent.
#[derive(Default)]
pub(super) struct Due {
    pub must: BTreeSet<String>,
    pub may: BTreeSet<String>,
    /// Groups of alerts of which at least one must be sent: the id of a no-data alert depends on
    /// the last arrival, which may have been stored as any of these times.
    pub one_of: Vec<BTreeSet<String>>,
}

impl Due {
    /// Returns the alerts due for these records of events: for each copy of each event, because
    /// age and alert period depend on the arrival time.
    pub(super) fn of<'e>(
        records: impl Iterator<Item = &'e [u8]>,
        specs: &[Spec],
    ) -> Result<Self, ConfigError> {
        let rules = rules()?;
        let mut due = Self::default();
        let mut windows: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
        for record in records {
            let Ok(read) = Event::from_json(record) else { continue };
            let alerts = rules.alerts(&read).0.into_iter();
            due.must.extend(alerts.map(|alert| alert.alert_id.to_string()));
            if let Some(window) = &read.window {
                let series = (window.spec.clone().into_owned(), read.entity.clone().into_owned());
                windows.entry(series).or_default().push(json!(read));
            }
        }
        for ((spec, _), events) in &windows {
            let slide = specs.iter().find(|it| it.id == *spec).map_or(1, |it| it.slide.as_secs());
            for rule in rules.iter().filter(|rule| rule.spec.window.as_ref() == Some(spec)) {
                if let Some(needed) = rule.spec.sustained {
                    due.of_rows(&rules, rule, i64::from(needed), slide, events);
                }
            }
        }
        due.may.extend(due.must.iter().cloned());
        Ok(due)
    }

    /// Adds the no-data alerts, from every copy of every event.
    pub(super) fn of_no_data_alerts<'e>(
        &mut self,
        records: impl Iterator<Item = &'e [u8]>,
        rules: &Rules,
    ) {
        let mut signs: BTreeMap<String, (&Rule, Vec<WatchedEntity>)> = BTreeMap::new();
        for event in records.filter_map(|record| Event::from_json(record).ok()) {
            for rule in rules.iter() {
                if let Some(watched) = rule.watched_entity(&event) {
                    let of_item = signs.entry(watched.item.clone());
                    of_item.or_insert((rule, Vec::new())).1.push(watched);
                }
            }
        }
        for (rule, signs) in signs.into_values() {
            let id = |watched: &WatchedEntity| rule.no_data_alert(watched).alert_id.to_string();
            let end =
                |it: &WatchedEntity| rule.resolved_alert(it, it.last_seen).alert_id.to_string();
            self.may.extend(signs.iter().flat_map(|watched| [id(watched), end(watched)]));
            let Some(last) = signs.iter().map(|watched| watched.last_seen).max() else { continue };
            // An alert within a cooldown is sent when the cooldown ends.
            if rule.due(last) + rule.spec.cooldown.0 + TIMEOUT < clock::now() {
                let is_late =
                    |watched: &&WatchedEntity| watched.last_seen + rule.write_interval() >= last;
                self.one_of.push(signs.iter().filter(is_late).map(id).collect());
            }
        }
    }

    /// Adds the alerts of a rule with `for` on the windows of one group by brute force: every
    /// window, with those before it, by their last revisions and by any revision.
    fn of_rows(&mut self, rules: &Rules, rule: &Rule, needed: i64, slide: i64, events: &[Value]) {
        let mut known: BTreeMap<i64, Vec<(u32, bool, String)>> = BTreeMap::new();
        for event in events {
            let json = event.to_string();
            let Ok(read) = Event::from_json(json.as_bytes()) else { continue };
            let Some(window) = &read.window else { continue };
            let holds = rules.matches(&read).0.iter().any(|it| it.spec.id == rule.spec.id);
            let alert = rule.alert(&read).alert_id.to_string();
            let words = known.entry(window.start.as_second()).or_default();
            words.push((window.revision, holds, alert));
        }
        let last = |words: &Vec<(u32, bool, String)>| words.iter().max().is_some_and(|it| it.1);
        let ever = |words: &Vec<(u32, bool, String)>| words.iter().any(|it| it.1);
        for (start, words) in &known {
            let row = || (0..needed).map(|back| known.get(&(start - back * slide)));
            let ids = words.iter().map(|word| word.2.clone());
            if row().all(|words| words.is_some_and(last)) {
                self.must.extend(ids);
            } else if row().all(|words| words.is_some_and(ever)) {
                self.may.extend(ids);
            }
        }
    }
}

/// Number of successive invocations with one request id: Lambda gives the attempts of an
/// asynchronous invocation the same, and an owner of claims must be unique all the same.
const WITH_ONE_ID: u64 = 4;

/// Invocations by number, and those of them that were killed or still run. Clones share their
/// state.
#[derive(Clone, Default)]
pub(super) struct Invocations(Rc<RefCell<(u64, BTreeSet<u64>)>>);

impl Invocations {
    /// Registers an invocation and returns its number.
    pub(super) fn begin(&self) -> u64 {
        let (begun, open) = &mut *self.0.borrow_mut();
        open.insert(*begun);
        *begun += 1;
        *begun - 1
    }

    /// Returns the request id of an invocation.
    pub(super) fn id_of(number: u64) -> String {
        (number / WITH_ONE_ID).to_string()
    }

    /// Records that an invocation returned and was not killed.
    pub(super) fn end(&self, number: u64) {
        self.0.borrow_mut().1.remove(&number);
    }

    /// Returns true if an invocation with the request id of this owner of claims did not return.
    fn was_cut_off(&self, owner: &str) -> bool {
        let id = owner.split_once('/').map_or(owner, |(id, _)| id);
        self.0.borrow().1.iter().any(|open| Self::id_of(*open) == id)
    }
}

/// One step in the history of an alert, at the claim store or at the topic.
enum Step {
    Change(Change),
    Published { is_acknowledged: bool },
}

/// State of one alert while its history is checked.
#[derive(Default)]
struct Alert {
    is_marked_sent: bool,
    /// Holder of the claim, which may send the alert.
    holder: Option<String>,
    /// True once the holder was told that the message was sent.
    is_known: bool,
    /// True once the holder began to mark the alert as sent.
    is_marking_sent: bool,
}

/// Checks the history of every alert and returns how often each was sent.
///
/// A sender must hold the claim of each message and must not know of an earlier one. A claim may
/// pass to another sender only if the previous one had no confirmed message, was killed, or could
/// not mark the alert as sent.
pub(super) fn evaluate(
    verdict: &mut Verdict,
    table: &SimClaims,
    topic: &SimTopic,
    invocations: &Invocations,
    rules: &Rules,
) -> BTreeMap<String, usize> {
    let mut histories: BTreeMap<String, BTreeMap<u64, Step>> = BTreeMap::new();
    for change in table.changes() {
        let history = histories.entry(change.alert_id.clone()).or_default();
        history.insert(change.stamp, Step::Change(change));
    }
    let mut sent: BTreeMap<String, usize> = BTreeMap::new();
    let mut known: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for message in topic.messages() {
        let json: Value = serde_json::from_str(&message.notification.message).unwrap_or_default();
        let ids = alert_ids_of(&json);
        if let Some(holder) = ids.first().and_then(|id| holder(histories.get(id)?, message.stamp))
            && message.is_acknowledged
        {
            let rule = json["rule"].as_str().unwrap_or_default().to_owned();
            known.entry((holder, rule)).or_default().insert(message.notification.message.clone());
        }
        for id in ids {
            let step = Step::Published { is_acknowledged: message.is_acknowledged };
            histories.entry(id.clone()).or_default().insert(message.stamp, step);
            *sent.entry(id).or_default() += 1;
        }
    }
    // Messages without a confirmation may have been sent in addition.
    for ((holder, rule), messages) in known {
        let max = rules.iter().find(|it| it.spec.id == rule).map_or(0, Rule::digest);
        if messages.len() > max {
            let text = format!("{holder} sent {} messages of {rule}, not {max}", messages.len());
            verdict.faults.push(text);
        }
    }
    for (id, history) in histories {
        let mut alert = Alert::default();
        let faults = history.into_values().filter_map(|step| alert.step(step, invocations));
        verdict.doubles.extend(faults.map(|fault| format!("alert {id} {fault}")));
    }
    sent
}

/// Returns the ids of the alerts in a message.
fn alert_ids_of(message: &Value) -> Vec<String> {
    let text = |id: &Value| id.as_str().unwrap_or_default().to_owned();
    match message["keys"].as_array() {
        None => vec![text(&message["alert_id"])],
        Some(keys) => {
            let ids = keys.iter().filter_map(|key| key["alert_ids"].as_array());
            ids.flatten().map(text).collect()
        }
    }
}

/// Returns the holder of the claim at the time `stamp`.
fn holder(history: &BTreeMap<u64, Step>, stamp: u64) -> Option<String> {
    history.range(..stamp).rev().find_map(|(_, step)| match step {
        Step::Change(Change { kind: ChangeKind::Claimed, owner, .. }) => Some(owner.clone()),
        _ => None,
    })
}

impl Alert {
    /// Applies a step and returns the fault in it, if any.
    fn step(&mut self, step: Step, invocations: &Invocations) -> Option<String> {
        let change = match step {
            Step::Published { is_acknowledged } => {
                let fault = match &self.holder {
                    None => Some("was sent without a claim".to_owned()),
                    Some(_) if self.is_marked_sent => {
                        Some("was sent after it was marked as sent".to_owned())
                    }
                    Some(by) if self.is_known => {
                        Some(format!("was sent again by {by}, which had an answer"))
                    }
                    Some(_) => None,
                };
                self.is_known |= is_acknowledged;
                return fault;
            }
            Step::Change(change) => change,
        };
        let is_holder = self.holder.as_ref() == Some(&change.owner);
        let by = change.owner;
        match change.kind {
            ChangeKind::Claimed => {
                let fault = match &self.holder {
                    _ if self.is_marked_sent => {
                        Some(format!("was claimed by {by} after it was sent"))
                    }
                    Some(last) if self.is_known && !self.is_marking_sent => (!invocations
                        .was_cut_off(last))
                    .then(|| format!("was sent by {last}, then claimed by {by}")),
                    _ => None,
                };
                *self = Self { holder: Some(by), ..Self::default() };
                fault
            }
            ChangeKind::MarkingSent => {
                self.is_marking_sent |= is_holder;
                let is_early = is_holder && !self.is_known;
                is_early.then(|| format!("was marked as sent by {by} without an answer"))
            }
            ChangeKind::MarkedSent => {
                self.is_marked_sent = true;
                None
            }
            ChangeKind::Released => {
                let is_sent = is_holder && self.is_known;
                if is_holder {
                    self.holder = None;
                }
                is_sent.then(|| format!("was released by {by}, which had sent it"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the fault in a history of steps: `c` claimed, `p` published, `a` published and
    /// acknowledged, `s` begins to mark as sent, `n` marked as sent, `r` released. The digit after
    /// each is the owner.
    fn fault(history: &str, killed: &[u64]) -> Option<String> {
        let invocations = Invocations::default();
        for number in (0..3 * WITH_ONE_ID).map(|_| invocations.begin()) {
            if !killed.contains(&(number / WITH_ONE_ID)) {
                invocations.end(number);
            }
        }
        let mut alert = Alert::default();
        history.split(' ').find_map(|step| {
            let (kind, owner) = step.split_at(1);
            let change = |kind| {
                let (alert_id, owner) = (String::new(), owner.to_owned());
                Step::Change(Change { stamp: 0, alert_id, owner, kind })
            };
            let step = match kind {
                "c" => change(ChangeKind::Claimed),
                "s" => change(ChangeKind::MarkingSent),
                "n" => change(ChangeKind::MarkedSent),
                "r" => change(ChangeKind::Released),
                kind => Step::Published { is_acknowledged: kind == "a" },
            };
            alert.step(step, &invocations)
        })
    }

    #[test]
    fn second_message_needs_a_reason() {
        for history in [
            "c1 a1 s1 n1",
            "c1 p1 a1 s1 n1",
            "c1 r1 c2 a2 s2 n2",
            "c1 p1 r1 c2 a2 s2 n2",
            "c1 a1 s1 c2 a2 s2 n2",
        ] {
            assert_eq!(fault(history, &[]), None, "{history}");
        }
        assert_eq!(fault("c1 a1 c2 a2 s2 n2", &[1]), None, "the first was killed");
        for history in [
            "a1 c1 s1 n1",
            "c1 a1 a1 s1 n1",
            "c1 a1 s1 n1 a1",
            "c1 a1 c2",
            "c1 s1 a1 n1",
            "c1 a1 r1",
            "c1 a1 s1 n1 c2",
        ] {
            assert!(fault(history, &[]).is_some(), "{history}");
        }
    }
}
