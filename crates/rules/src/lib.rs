//! Alert rules: conditions on events and the alerts they produce.

pub mod alert;
pub mod check;
pub mod consecutive;
pub mod evaluator;
pub mod examples;
pub mod expression;
mod field;
pub mod filter;
pub mod no_data;
mod predicate;
mod spec;
mod template;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::alert::{Alert, shorten};
use crate::expression::{Expression, Scope};
use tributary_model::config_error::ConfigError;
use tributary_model::domain::Schemas;
use tributary_model::event::{Event, Kind, MAX_CLOCK_AHEAD};
use tributary_model::id::Id;

pub use self::spec::{AlertsConfig, MAX_SUSTAINED, RuleSpec, Severity};
use self::template::Template;
use tributary_model::time::period;

/// All compiled rules.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    /// Positions of the rules by dataset and window spec, which is "" for readings.
    index: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
}

/// Compiled rule.
#[derive(Debug)]
pub struct Rule {
    /// The rule as written.
    pub spec: RuleSpec,
    /// Compiled `when`.
    when: Option<Expression>,
    title: Template,
    key: Template,
    /// Hash of the condition: rule state belongs to this definition only.
    definition: Id,
    max_message_bytes: usize,
}

/// Default for the maximum number of messages that one batch may send for a rule.
pub const MAX_MESSAGES: u32 = 10;

/// Maximum number of entities of a rule and UTC day, unless the rule sets another.
pub const DEFAULT_MAX_ENTITIES: usize = 10_000;

/// Failure of a rule on an event, caused by a mistake in the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Id of the rule.
    pub rule: String,
    /// Message of the error.
    pub message: String,
}

impl Rules {
    /// Compiles the rules of a configuration.
    ///
    /// # Errors
    ///
    /// Returns an error that names the rule if it does not compile, contradicts itself, repeats an
    /// id or names an unknown dataset.
    pub fn compile(specs: &[RuleSpec], schemas: &Schemas) -> Result<Self, ConfigError> {
        let mut ids = BTreeSet::new();
        for spec in specs {
            if !ids.insert(spec.id.as_str()) {
                return Err(ConfigError::new(format!("rule {}", spec.id), "duplicate id"));
            }
        }
        let rules = specs.iter().map(|spec| Rule::compile(spec, schemas));
        let rules: Vec<_> = rules.collect::<Result<_, _>>()?;
        let mut index = BTreeMap::<_, BTreeMap<_, Vec<_>>>::new();
        for (position, Rule { spec, .. }) in rules.iter().enumerate() {
            let by_spec = index.entry(spec.dataset.clone()).or_default();
            by_spec.entry(spec.window.clone().unwrap_or_default()).or_default().push(position);
        }
        Ok(Self { rules, index })
    }

    /// Limits the messages of alerts to `max_bytes`; without it they have no limit.
    ///
    /// A message that would be longer names its event instead of holding it, and its texts are cut
    /// to 1,024 characters.
    #[must_use]
    pub fn with_max_message_bytes(mut self, max_bytes: usize) -> Self {
        for rule in &mut self.rules {
            rule.max_message_bytes = max_bytes;
        }
        self
    }

    /// Returns the rules in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// Returns the rules that apply to `event`, in the order of the configuration.
    pub fn applicable(&self, event: &Event<'_>) -> impl Iterator<Item = &Rule> {
        let spec = match (event.kind, &event.window) {
            (Kind::Reading, _) => Some(""),
            (Kind::Window, Some(window)) => Some(&*window.spec).filter(|spec| !spec.is_empty()),
            (Kind::Window, None) | (Kind::Heartbeat, _) => None,
        };
        let by_spec = self.index.get(&*event.dataset);
        let positions = spec.and_then(|spec| by_spec?.get(spec));
        positions.into_iter().flatten().map(|position| &self.rules[*position])
    }

    /// Returns the rules whose `when` holds for `event`, in the order of the configuration,
    /// regardless of `for`. Rules with `absent` are never among them.
    ///
    /// A rule that fails on the event is reported; the other rules are still evaluated.
    pub fn matches(&self, event: &Event<'_>) -> (Vec<&Rule>, Vec<RuleError>) {
        let (verdicts, errors) = self.evaluate(event);
        let matches = verdicts.into_iter().filter_map(|(rule, holds)| holds.then_some(rule));
        (matches.collect(), errors)
    }

    /// Evaluates the rules that apply to `event` and returns the result of `when` for each: false
    /// for an event that is older than `within`.
    ///
    /// A rule that fails on the event is reported; the other rules are still evaluated.
    pub fn evaluate(&self, event: &Event<'_>) -> (Vec<(&Rule, bool)>, Vec<RuleError>) {
        let (mut verdicts, mut errors) = (Vec::new(), Vec::new());
        let scope = Scope::of(event);
        for rule in self.applicable(event) {
            match rule.when(&scope) {
                Ok(holds) => verdicts.push((rule, holds && rule.is_within(event))),
                Err(message) => errors.push(RuleError { rule: rule.spec.id.clone(), message }),
            }
        }
        (verdicts, errors)
    }

    /// Returns the alerts that `event` causes by itself, in the order of the rules.
    ///
    /// Rules with `for` need the windows before it, and rules with `absent` fire without an event.
    ///
    /// A rule that fails on the event is reported; the other rules are still evaluated.
    pub fn alerts(&self, event: &Event<'_>) -> (Vec<Alert>, Vec<RuleError>) {
        let (matches, errors) = self.matches(event);
        let once = matches.into_iter().filter(|rule| rule.spec.sustained.is_none());
        (once.map(|rule| rule.alert(event)).collect(), errors)
    }
}

impl Rule {
    fn compile(spec: &RuleSpec, schemas: &Schemas) -> Result<Self, ConfigError> {
        let owner = format!("rule {}", spec.id);
        schemas.require(&owner, &spec.dataset)?;
        if let Some((field, message)) = spec.contradiction() {
            let message = if field == "id" { message } else { format!("`{field}`: {message}") };
            return Err(ConfigError::new(owner, message));
        }
        let when = spec.when.as_ref().map(|when| Expression::compile(&owner, when));
        Ok(Self {
            spec: spec.clone(),
            when: when.transpose()?,
            title: Template::compile(&owner, &spec.title)?,
            key: Template::compile(&owner, &spec.key)?,
            definition: spec.definition(),
            max_message_bytes: usize::MAX,
        })
    }

    /// Returns the maximum number of messages that one batch may send for this rule.
    ///
    /// If there are more alerts, the rest are sent in digests, which count as messages too.
    #[must_use]
    pub fn digest(&self) -> usize {
        self.spec.digest.unwrap_or(MAX_MESSAGES) as usize
    }

    /// Returns the maximum number of entities of which the rule begins to keep state on one UTC day.
    #[must_use]
    pub fn max_entities(&self) -> usize {
        self.spec.max_entities.map_or(DEFAULT_MAX_ENTITIES, |count| count as usize)
    }

    /// Returns the hash of the condition: rule state belongs to this definition only.
    #[must_use]
    pub fn definition(&self) -> Id {
        self.definition
    }

    /// Returns true if the rule applies to `event`: a reading of its dataset or, if it names a
    /// window spec, a window of that spec.
    #[must_use]
    pub fn applies_to(&self, event: &Event<'_>) -> bool {
        if self.spec.dataset != event.dataset {
            return false;
        }
        match &self.spec.window {
            None => event.kind == Kind::Reading,
            Some(spec) => {
                let is_of_spec = event.window.as_ref().is_some_and(|window| window.spec == *spec);
                event.kind == Kind::Window && is_of_spec
            }
        }
    }

    /// Returns the compiled `when`; a rule with `absent` has none.
    #[must_use]
    pub fn condition(&self) -> Option<&Expression> {
        self.when.as_ref()
    }

    /// Evaluates `when`; false for a rule without it.
    fn when(&self, scope: &Scope<'_>) -> Result<bool, String> {
        self.when.as_ref().map_or(Ok(false), |when| when.holds(scope))
    }

    /// Returns true unless `event` was older than `within` when it was received; for a window its
    /// end counts.
    fn is_within(&self, event: &Event<'_>) -> bool {
        let time = event.window.as_ref().map_or(event.event_time, |window| window.end);
        let age = event.received_at.duration_since(time);
        self.spec.within.is_none_or(|within| age <= within.0)
    }

    /// Returns the key of an alert about `event`, at most 256 characters long.
    #[must_use]
    pub fn key(&self, event: &Event<'_>) -> String {
        shorten(self.key.key(event))
    }

    /// Returns the id of the alert about `event` in the cooldown period of `time`: hash of rule, key
    /// and period.
    ///
    /// A time that is far ahead of the event's arrival counts as [`MAX_CLOCK_AHEAD`] after it, so
    /// that a device with a wrong clock does not use up the alerts of the future.
    fn alert_id_at(&self, event: &Event<'_>, time: Timestamp) -> Id {
        let latest = event.received_at.checked_add(MAX_CLOCK_AHEAD).unwrap_or(Timestamp::MAX);
        let time = time.min(latest);
        let number = match self.spec.cooldown.0.as_secs() {
            0 => String::new(),
            seconds => period(time, seconds).to_string(),
        };
        Id::of_text(&[&self.spec.id, &self.key(event), &number])
    }

    /// Creates the alert about `event`, regardless of whether one is due.
    #[must_use]
    pub fn alert(&self, event: &Event<'_>) -> Alert {
        // Event time, so that a redelivery falls into the same period as the first delivery.
        self.alert_at(event, event.event_time)
    }

    /// Creates the alert about `event` for the cooldown period of `time`, if that is not the
    /// event's own.
    #[must_use]
    pub fn alert_at(&self, event: &Event<'_>, time: Timestamp) -> Alert {
        let alert_id = self.alert_id_at(event, time);
        let title = self.title.render(event);
        Alert::new(alert_id, self, self.key(event), title, event)
    }
}

/// Datasets and windows of the shipped configuration.
#[cfg(test)]
mod shipped {
    use tributary_config::Configuration;
    use tributary_model::domain::Schemas;
    use tributary_windows::Spec;
    use tributary_windows::fields::WindowFields;

    fn configuration() -> Configuration {
        Configuration::shipped().unwrap()
    }

    pub(crate) fn schemas() -> Schemas {
        configuration().schemas()
    }

    pub(crate) fn windows() -> WindowFields {
        configuration().window_fields()
    }

    pub(crate) fn specs() -> Vec<Spec> {
        configuration().window_specs().unwrap()
    }
}

#[cfg(test)]
mod tests;
