//! Rules: which events make an alert.

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

/// All rules, compiled.
#[derive(Debug)]
pub struct Rules(Vec<Rule>);

/// One rule, compiled.
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
    /// Hash of what it waits for: what is remembered is of this rule and of no other.
    definition: Id,
}

/// The most messages of a rule that one batch makes, where the rule does not say it.
pub const MAX_MESSAGES: u32 = 10;

/// What a rule waits for.
#[derive(Debug)]
enum Condition {
    /// An expression to hold: once, or for so many windows in a row.
    Holds(Expression, Option<u32>),
    /// Nothing to come from an entity for so long.
    Absent(SignedDuration),
}

/// A rule that could not be asked about an event: a mistake in the rule, not in the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// The id of the rule.
    pub rule: String,
    /// What went wrong.
    pub message: String,
}

impl Rules {
    /// Compiles the rules of a configuration.
    ///
    /// # Errors
    ///
    /// Names the rule that does not compile, contradicts itself, repeats an id or asks about no
    /// dataset.
    pub fn compile(specs: &[RuleSpec], schemas: &Schemas) -> Result<Self, ConfigError> {
        let mut ids = BTreeSet::new();
        for spec in specs {
            if !ids.insert(spec.id.as_str()) {
                return Err(ConfigError::new(format!("rule {}", spec.id), "is there twice"));
            }
        }
        specs.iter().map(|spec| Rule::compile(spec, schemas)).collect::<Result<_, _>>().map(Self)
    }

    /// The rules, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// The rules whose `when` holds of `event`, in the order of the configuration, however often in a
    /// row each wants it to hold; a rule that waits for something to be absent is not among them.
    ///
    /// A rule that fails on the event is told and does not keep the others from being asked.
    pub fn matches(&self, event: &Event<'_>) -> (Vec<&Rule>, Vec<RuleError>) {
        let (verdicts, errors) = self.evaluate(event);
        let matches = verdicts.into_iter().filter_map(|(rule, holds)| holds.then_some(rule));
        (matches.collect(), errors)
    }

    /// The rules that are asked about `event`, each with whether its `when` holds.
    ///
    /// A rule that fails on the event is told and does not keep the others from being asked.
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

    /// The alerts that `event` makes by itself, in the order of the rules: those of rules with `for`
    /// need the windows before it, and those with `absent` need no event.
    ///
    /// A rule that fails on the event is told and does not keep the others from being asked.
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
        })
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The dataset of the events that it is asked about.
    #[must_use]
    pub fn dataset(&self) -> &str {
        &self.dataset
    }

    /// The window spec of the events that it is asked about; `None` where they are readings.
    #[must_use]
    pub fn window(&self) -> Option<&str> {
        self.window.as_deref()
    }

    /// How urgent its alerts are.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// For how many windows in a row `when` must hold, where once is not enough.
    #[must_use]
    pub fn sustained(&self) -> Option<u32> {
        match self.condition {
            Condition::Holds(_, count) => count,
            Condition::Absent(_) => None,
        }
    }

    /// For how long nothing must have come from an entity, for a rule about that.
    #[must_use]
    pub fn absent(&self) -> Option<SignedDuration> {
        match self.condition {
            Condition::Holds(..) => None,
            Condition::Absent(length) => Some(length),
        }
    }

    /// How long alerts of one key share an id; zero where they do for ever.
    #[must_use]
    pub fn cooldown(&self) -> SignedDuration {
        self.cooldown
    }

    /// The most messages of this rule that one batch makes: where there are more alerts, the rest of
    /// them are told in digests, which are among these.
    #[must_use]
    pub fn digest(&self) -> usize {
        self.digest
    }

    /// Whether it is asked about `event`: a reading of its dataset or, where it names a window spec,
    /// a window of that.
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

    /// Whether `when` holds; never, for a rule without.
    fn when(&self, scope: &Scope<'_>) -> Result<bool, String> {
        match &self.condition {
            Condition::Holds(when, _) => when.holds(scope),
            Condition::Absent(_) => Ok(false),
        }
    }

    /// What one alert is about, with the fields of `event` in it; at most 256 characters.
    #[must_use]
    pub fn key(&self, event: &Event<'_>) -> String {
        shorten(self.key.key(event))
    }

    /// The id of the alert about `event`: hash of rule, key and cooldown period.
    #[must_use]
    pub fn alert_id(&self, event: &Event<'_>) -> Id {
        // Event time, so that a replay finds the period that the first delivery found.
        self.alert_id_at(event, event.event_time)
    }

    fn alert_id_at(&self, event: &Event<'_>, time: Timestamp) -> Id {
        let number = match self.cooldown.as_secs() {
            0 => String::new(),
            seconds => period(time, seconds).to_string(),
        };
        Id::of_text(&[&self.id, &self.key(event), &number])
    }

    /// The alert about `event`. Whether one is due is not asked here.
    #[must_use]
    pub fn alert(&self, event: &Event<'_>) -> Alert {
        self.alert_at(event, event.event_time)
    }

    /// The alert about `event` of the period that `time` is in, where that is not of the event itself.
    #[must_use]
    pub fn alert_at(&self, event: &Event<'_>, time: Timestamp) -> Alert {
        let alert_id = self.alert_id_at(event, time);
        let title = self.title.render(event);
        Alert::new(alert_id, self, self.key(event), title, event)
    }
}

/// The datasets and windows of the shipped configuration.
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
