//! Alert rules: conditions on events and the alerts they produce.

pub mod alert;
pub mod check;
pub mod consecutive;
pub mod evaluator;
pub mod examples;
pub mod expression;
pub mod filter;
pub mod no_data;
mod spec;
mod template;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::alert::{Alert, shorten};
use crate::expression::{Expression, Scope};
use tributary_model::config_error::ConfigError;
use tributary_model::domain::Schemas;
use tributary_model::event::{Event, Kind};
use tributary_model::id::Id;

pub use self::spec::{AlertsConfig, MAX_SUSTAINED, RuleSpec, Severity};
use self::template::Template;
use tributary_model::time::{DurationSpec, period};

/// All compiled rules.
#[derive(Debug)]
pub struct Rules(Vec<Rule>);

/// Compiled rule.
#[derive(Debug)]
pub struct Rule {
    id: String,
    dataset: String,
    window: Option<String>,
    severity: Severity,
    condition: Condition,
    title: Template,
    key: Template,
    cooldown: SignedDuration,
    digest: usize,
    /// Hash of the condition: rule state belongs to this definition only.
    definition: Id,
    max_message_bytes: usize,
}

/// Default for the maximum number of messages that one batch may send for a rule.
pub const MAX_MESSAGES: u32 = 10;

/// Condition of a rule.
#[derive(Debug)]
enum Condition {
    /// An expression holds: once, or for a number of consecutive windows.
    Holds(Expression, Option<u32>),
    /// No reading of an entity arrives for this duration.
    Absent(SignedDuration),
}

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
        specs.iter().map(|spec| Rule::compile(spec, schemas)).collect::<Result<_, _>>().map(Self)
    }

    /// Limits the messages of alerts to `max_bytes`; without it they have no limit.
    ///
    /// A message that would be longer names its event instead of holding it, and its texts are cut
    /// to 1,024 characters.
    #[must_use]
    pub fn with_max_message_bytes(mut self, max_bytes: usize) -> Self {
        for rule in &mut self.0 {
            rule.max_message_bytes = max_bytes;
        }
        self
    }

    /// Returns the rules in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
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

    /// Evaluates the rules that apply to `event` and returns the result of `when` for each.
    ///
    /// A rule that fails on the event is reported; the other rules are still evaluated.
    pub fn evaluate(&self, event: &Event<'_>) -> (Vec<(&Rule, bool)>, Vec<RuleError>) {
        let (mut verdicts, mut errors) = (Vec::new(), Vec::new());
        let mut rules = self.0.iter().filter(|rule| rule.applies_to(event)).peekable();
        if rules.peek().is_none() {
            return (verdicts, errors);
        }
        let scope = Scope::of(event);
        for rule in rules {
            match rule.when(&scope) {
                Ok(holds) => verdicts.push((rule, holds)),
                Err(message) => errors.push(RuleError { rule: rule.id.clone(), message }),
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
        let once = matches.into_iter().filter(|rule| rule.sustained().is_none());
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
        let condition = match (&spec.when, spec.absent) {
            (Some(when), _) => Condition::Holds(Expression::compile(&owner, when)?, spec.sustained),
            (None, length) => {
                Condition::Absent(length.map_or(SignedDuration::ZERO, DurationSpec::get))
            }
        };
        Ok(Self {
            id: spec.id.clone(),
            dataset: spec.dataset.clone(),
            window: spec.window.clone(),
            severity: spec.severity,
            condition,
            title: Template::compile(&owner, &spec.title)?,
            key: Template::compile(&owner, &spec.key)?,
            cooldown: spec.cooldown.get(),
            digest: spec.digest.unwrap_or(MAX_MESSAGES) as usize,
            definition: spec.definition(),
            max_message_bytes: usize::MAX,
        })
    }

    /// Returns the id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the dataset of the events to which the rule applies.
    #[must_use]
    pub fn dataset(&self) -> &str {
        &self.dataset
    }

    /// Returns the window spec to which the rule applies, or `None` for a rule about readings.
    #[must_use]
    pub fn window(&self) -> Option<&str> {
        self.window.as_deref()
    }

    /// Returns the severity of its alerts.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Returns the number of consecutive windows for which `when` must hold, if more than one.
    #[must_use]
    pub fn sustained(&self) -> Option<u32> {
        match self.condition {
            Condition::Holds(_, count) => count,
            Condition::Absent(_) => None,
        }
    }

    /// Returns the duration without data after which a rule with `absent` fires.
    #[must_use]
    pub fn absent(&self) -> Option<SignedDuration> {
        match self.condition {
            Condition::Holds(..) => None,
            Condition::Absent(length) => Some(length),
        }
    }

    /// Returns the period in which alerts of one key share an id; zero if they share it
    /// permanently.
    #[must_use]
    pub fn cooldown(&self) -> SignedDuration {
        self.cooldown
    }

    /// Returns the maximum number of messages that one batch may send for this rule.
    ///
    /// If there are more alerts, the rest are sent in digests, which count as messages too.
    #[must_use]
    pub fn digest(&self) -> usize {
        self.digest
    }

    /// Returns true if the rule applies to `event`: a reading of its dataset or, if it names a
    /// window spec, a window of that spec.
    #[must_use]
    pub fn applies_to(&self, event: &Event<'_>) -> bool {
        if self.dataset != event.dataset {
            return false;
        }
        match &self.window {
            None => event.kind == Kind::Reading,
            Some(spec) => {
                let is_of_spec = event.window.as_ref().is_some_and(|window| window.spec == *spec);
                event.kind == Kind::Window && is_of_spec
            }
        }
    }

    /// Evaluates `when`; false for a rule without it.
    fn when(&self, scope: &Scope<'_>) -> Result<bool, String> {
        match &self.condition {
            Condition::Holds(when, _) => when.holds(scope),
            Condition::Absent(_) => Ok(false),
        }
    }

    /// Returns the key of an alert about `event`, at most 256 characters long.
    #[must_use]
    pub fn key(&self, event: &Event<'_>) -> String {
        shorten(self.key.key(event))
    }

    /// Returns the id of the alert about `event`: hash of rule, key and cooldown period.
    #[must_use]
    pub fn alert_id(&self, event: &Event<'_>) -> Id {
        // Event time, so that a redelivery falls into the same period as the first delivery.
        self.alert_id_at(event, event.event_time)
    }

    fn alert_id_at(&self, event: &Event<'_>, time: Timestamp) -> Id {
        let number = match self.cooldown.as_secs() {
            0 => String::new(),
            seconds => period(time, seconds).to_string(),
        };
        Id::of_text(&[&self.id, &self.key(event), &number])
    }

    /// Creates the alert about `event`, regardless of whether one is due.
    #[must_use]
    pub fn alert(&self, event: &Event<'_>) -> Alert {
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
    use tributary_config::{PIPELINE, PipelineConfig};
    use tributary_model::domain::Schemas;
    use tributary_windows::Spec;
    use tributary_windows::fields::WindowFields;

    fn pipeline() -> PipelineConfig {
        PipelineConfig::from_toml(PIPELINE).unwrap()
    }

    pub(crate) fn schemas() -> Schemas {
        pipeline().schemas()
    }

    pub(crate) fn windows() -> WindowFields {
        WindowFields::of(&pipeline().windows, &schemas())
    }

    pub(crate) fn specs() -> Vec<Spec> {
        tributary_windows::compile(&pipeline().windows, &schemas()).unwrap()
    }
}

#[cfg(test)]
mod tests;
