//! Examples of a rule: events on which it fires, and events on which it does not.
//!
//! An example is JSON: one event, an array of events in order, or an object with `events` and
//! `until`, the time up to which no more events arrived.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Rules;
use super::evaluator::RuleEvaluator;
use tributary_model::domain::Schemas;
use tributary_model::event::Event;
use tributary_model::time::as_optional_millis;
use tributary_windows::Spec;
use tributary_windows::fields::WindowFields;

/// Expected result of an example, given by the first word of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// The rule fires: `fires-….json`.
    Fires,
    /// The rule does not fire: `silent-….json`.
    DoesNotFire,
}

impl Expectation {
    /// Returns the expectation for a file name, or `None` for a name of another form.
    #[must_use]
    pub fn of_name(file: &str) -> Option<Self> {
        match file.split_once('-')?.0 {
            "fires" => Some(Self::Fires),
            "silent" => Some(Self::DoesNotFire),
            _ => None,
        }
    }
}

/// Events in order, and the time up to which no more events arrived.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sequence<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    #[serde(default, with = "as_optional_millis")]
    until: Option<Timestamp>,
}

/// Context for examples: the possible events of each dataset and the windows of each spec.
#[derive(Debug)]
pub struct Examples<'c> {
    schemas: &'c Schemas,
    windows: &'c WindowFields,
    specs: &'c [Spec],
}

impl<'c> Examples<'c> {
    /// Creates the context from the datasets and windows of a configuration.
    #[must_use]
    pub fn new(schemas: &'c Schemas, windows: &'c WindowFields, specs: &'c [Spec]) -> Self {
        Self { schemas, windows, specs }
    }

    /// Returns true if the rule `id` of `rules` fires on the example `text`.
    ///
    /// # Errors
    ///
    /// Returns an error if the JSON has another shape, an event is impossible, or the rule applies
    /// to no event: such an example would prove nothing.
    pub fn fires(&self, rules: &Rules, id: &str, text: &str) -> Result<bool, String> {
        let rule = rules.iter().find(|rule| rule.spec.id == id).ok_or("there is no such rule")?;
        let sequence = sequence(text)?;
        let mut evaluator = RuleEvaluator::new(rules, self.specs);
        let (mut fires, mut is_asked) = (false, false);
        for (index, raw) in sequence.events.iter().enumerate() {
            let wrong = |message| format!("event {}: {message}", index + 1);
            let event = Event::from_json(raw.get().as_bytes());
            let event = event.map_err(|error| wrong(error.to_string()))?;
            self.check(&event).map_err(wrong)?;
            is_asked |= rule.applies_to(&event);
            let (firings, errors) = evaluator.event(&event);
            if let Some(error) = errors.iter().find(|error| error.rule == id) {
                return Err(error.message.clone());
            }
            fires |= firings.iter().any(|firing| firing.rule.spec.id == id);
        }
        if !is_asked {
            return Err("has no event that the rule is asked about".to_owned());
        }
        let later = sequence.until.map(|until| evaluator.finish(until)).unwrap_or_default();
        Ok(fires || later.iter().any(|firing| firing.rule.spec.id == id))
    }

    /// Rejects an impossible event.
    fn check(&self, event: &Event<'_>) -> Result<(), String> {
        let (fields, owner) = match &event.window {
            Some(window) => {
                (self.windows.get(&window.spec), format!("window spec {}", window.spec))
            }
            None => (self.schemas.get(&event.dataset), format!("dataset {}", event.dataset)),
        };
        let fields = fields.ok_or_else(|| format!("there is no {owner}"))?;
        match fields.mismatch(event) {
            Some(mismatch) => Err(format!("no event has {mismatch}")),
            None => Ok(()),
        }
    }
}

fn sequence(text: &str) -> Result<Sequence<'_>, String> {
    let wrong = |error: serde_json::Error| format!("is no example: {error}");
    if text.trim_start().starts_with('[') {
        let events = serde_json::from_str(text).map_err(wrong)?;
        return Ok(Sequence { events, until: None });
    }
    let fields: BTreeMap<&str, &RawValue> = serde_json::from_str(text).map_err(wrong)?;
    if fields.contains_key("events") {
        return serde_json::from_str(text).map_err(wrong);
    }
    let event = serde_json::from_str(text).map_err(wrong)?;
    Ok(Sequence { events: vec![event], until: None })
}

#[cfg(test)]
mod tests;
