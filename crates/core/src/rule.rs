//! Rules: which events make an alert.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::config::{AlertsConfig, ConfigError};
use crate::datasets;
use crate::event::Event;
use crate::expression::{Expression, Scope};
use crate::id::Id;

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it today.
    Warning,
    /// Look at it now.
    Critical,
}

impl Severity {
    /// The name in alerts and in their SNS attributes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A rule as `alerts.toml` states it; the file explains each field.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the configuration file explains its fields where users read them")]
pub struct RuleSpec {
    pub id: String,
    pub dataset: String,
    pub severity: Severity,
    pub when: String,
    pub title: String,
    pub key: String,
    pub cooldown: SignedDurationText,
}

/// A length of time as people write it: `15m`, `1h 30m`, `0s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SignedDurationText(SignedDuration);

impl TryFrom<String> for SignedDurationText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.parse::<SignedDuration>() {
            Ok(length) if !length.is_negative() => Ok(Self(length)),
            _ => Err(format!("{text:?} is no length of time such as 15m or 1h")),
        }
    }
}

/// All rules, compiled.
#[derive(Debug)]
pub struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    id: String,
    dataset: String,
    severity: Severity,
    when: Expression,
    title: Template,
    key: Template,
    cooldown: SignedDuration,
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
    /// Names the rule that does not compile, repeats an id or asks about no dataset.
    pub fn compile(config: &AlertsConfig) -> Result<Self, ConfigError> {
        let mut ids = BTreeSet::new();
        let compile = |spec: &RuleSpec| {
            let owner = format!("rule {}", spec.id);
            if datasets::by_name(&spec.dataset).is_none() {
                let message =
                    format!("dataset {:?} is none of {}", spec.dataset, datasets::names());
                return Err(ConfigError::new(owner, message));
            }
            Ok(Rule {
                id: spec.id.clone(),
                dataset: spec.dataset.clone(),
                severity: spec.severity,
                when: Expression::compile(&owner, &spec.when)?,
                title: Template::compile(&owner, &spec.title)?,
                key: Template::compile(&owner, &spec.key)?,
                cooldown: spec.cooldown.0,
            })
        };
        for spec in &config.rules {
            if !ids.insert(spec.id.as_str()) {
                return Err(ConfigError::new(format!("rule {}", spec.id), "is there twice"));
            }
        }
        config.rules.iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// The alerts that `event` makes, in the order of the rules.
    ///
    /// A rule that fails on the event is told and does not keep the others from being asked.
    pub fn alerts(&self, event: &Event<'_>) -> (Vec<Alert>, Vec<RuleError>) {
        let (mut alerts, mut errors) = (Vec::new(), Vec::new());
        let mut rules = self.0.iter().filter(|rule| rule.dataset == event.dataset).peekable();
        if rules.peek().is_none() {
            return (alerts, errors);
        }
        let scope = Scope::of(event);
        for rule in rules {
            match rule.when.holds(&scope) {
                Ok(true) => alerts.push(rule.alert(event)),
                Ok(false) => {}
                Err(message) => errors.push(RuleError { rule: rule.id.clone(), message }),
            }
        }
        (alerts, errors)
    }
}

impl Rule {
    fn alert(&self, event: &Event<'_>) -> Alert {
        let key = self.key.render(event);
        // Event time, so that a replay finds the period that the first delivery found.
        let period = match self.cooldown.as_secs() {
            0 => String::new(),
            seconds => event.event_time.as_second().div_euclid(seconds).to_string(),
        };
        let alert_id = Id::of_text(&[&self.id, &key, &period]);
        let title = self.title.render(event);
        Alert::new(alert_id, self.cooldown, &self.id, self.severity, title, event)
    }
}

/// Text with `{fields}` of an event in it.
#[derive(Debug)]
struct Template(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(String),
    Field(Field),
}

#[derive(Debug)]
enum Field {
    Dataset,
    EventId,
    Entity,
    EventTime,
    Attribute(String),
    Measure(String),
}

impl Template {
    fn compile(owner: &str, text: &str) -> Result<Self, ConfigError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Err(ConfigError::new(owner, format!("{text:?} lacks a closing brace")));
            };
            let field = Field::named(name).ok_or_else(|| {
                let message = format!(
                    "{{{name}}} is none of {{dataset}}, {{event_id}}, {{entity}}, {{event_time}}, \
                     {{attributes.…}}, {{measures.…}}"
                );
                ConfigError::new(owner, message)
            })?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Field(field));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// The text for `event`; a field that it does not have shows as `?`.
    fn render(&self, event: &Event<'_>) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Field(field) => match field.of(event) {
                    Some(value) => out.push_str(&value),
                    None => out.push('?'),
                },
            }
        }
        out
    }
}

impl Field {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "dataset" => Self::Dataset,
            "event_id" => Self::EventId,
            "entity" => Self::Entity,
            "event_time" => Self::EventTime,
            _ => match name.split_once('.')? {
                ("attributes", key) => Self::Attribute(key.to_owned()),
                ("measures", key) => Self::Measure(key.to_owned()),
                _ => return None,
            },
        })
    }

    fn of(&self, event: &Event<'_>) -> Option<String> {
        Some(match self {
            Self::Dataset => event.dataset.clone().into_owned(),
            Self::EventId => event.event_id.clone().into_owned(),
            Self::Entity => event.entity.clone().into_owned(),
            Self::EventTime => event.event_time.to_string(),
            Self::Attribute(key) => event.attributes.get(key)?.clone().into_owned(),
            Self::Measure(key) => event.measures.get(key)?.to_string(),
        })
    }
}

#[cfg(test)]
mod tests;
