//! Senders: which principal may post rows of which datasets and entities.

use serde::Deserialize;

use tributary_model::config_error::ConfigError;
use tributary_model::domain::Schemas;

/// Stands for the session of an assumed role in a pattern of entities.
const SESSION: &str = "{session}";

/// A sender as configured in `pipeline.toml`, which explains each field.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the configuration file explains its fields where users read them")]
pub struct SenderSpec {
    pub principal: String,
    pub datasets: Vec<String>,
    #[serde(default)]
    pub entities: Option<Vec<String>>,
}

/// Declared senders. Without any, every principal may send everything.
#[derive(Clone, Debug, Default)]
pub struct Senders(Vec<SenderSpec>);

/// Entities whose rows a principal may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// Patterns; `None` permits every entity.
    entities: Option<Vec<String>>,
}

impl Senders {
    /// Checks the senders against the datasets.
    ///
    /// # Errors
    ///
    /// Names the sender without a principal, without datasets or entities, or of an unknown dataset.
    pub fn compile(specs: &[SenderSpec], schemas: &Schemas) -> Result<Self, ConfigError> {
        for spec in specs {
            let owner = format!("sender {}", spec.principal);
            if spec.principal.trim_matches('*').is_empty() {
                let message = "`principal` names nobody; without senders, everybody may send";
                return Err(ConfigError::new(owner, message));
            }
            let is_empty = |names: &Vec<String>| names.is_empty();
            if is_empty(&spec.datasets) || spec.entities.as_ref().is_some_and(is_empty) {
                let message = "may send nothing: `datasets` and `entities` name at least one";
                return Err(ConfigError::new(owner, message));
            }
            for dataset in &spec.datasets {
                schemas.require(&owner, dataset)?;
            }
        }
        Ok(Self(specs.to_vec()))
    }

    /// Returns what a principal may send of a dataset; `None` if nothing. `session` is the name of
    /// its session if it is an assumed role.
    #[must_use]
    pub fn permit(&self, principal: &str, session: Option<&str>, dataset: &str) -> Option<Permit> {
        if self.0.is_empty() {
            return Some(Permit { entities: None });
        }
        let is_meant = |spec: &&SenderSpec| {
            fits(&spec.principal, principal) && spec.datasets.iter().any(|name| name == dataset)
        };
        let mut entities = Vec::new();
        let mut meant = self.0.iter().filter(is_meant).peekable();
        meant.peek()?;
        for spec in meant {
            let Some(patterns) = &spec.entities else { return Some(Permit { entities: None }) };
            entities.extend(patterns.iter().filter_map(|pattern| match session {
                Some(session) => Some(pattern.replace(SESSION, session)),
                None => Some(pattern.clone()).filter(|pattern| !pattern.contains(SESSION)),
            }));
        }
        Some(Permit { entities: Some(entities) })
    }
}

impl Permit {
    /// Returns true if rows of the entity may be sent.
    #[must_use]
    pub fn allows(&self, entity: &str) -> bool {
        let allows = |patterns: &Vec<String>| patterns.iter().any(|pattern| fits(pattern, entity));
        self.entities.as_ref().is_none_or(allows)
    }
}

/// Returns true if `text` is the pattern. A `*` at its end stands for any rest.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(head) => text.starts_with(head),
        None => text == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(principal: &str, dataset: &str, entities: Option<&[&str]>) -> SenderSpec {
        SenderSpec {
            principal: principal.to_owned(),
            datasets: vec![dataset.to_owned()],
            entities: entities.map(|texts| texts.iter().map(|it| (*it).to_owned()).collect()),
        }
    }

    #[test]
    fn without_senders_everybody_may_send_everything() {
        let permit = Senders::default().permit("1:user/a", None, "flood").unwrap();
        assert!(permit.allows("gauge-1"));
    }

    #[test]
    fn sender_of_nobody_or_nothing_is_refused() {
        let none: &[&str] = &[];
        for (sender, expected) in [
            (spec("", "flood", None), "names nobody"),
            (spec("*", "flood", None), "names nobody"),
            (SenderSpec { datasets: Vec::new(), ..spec("a", "flood", None) }, "may send nothing"),
            (spec("a", "flood", Some(none)), "may send nothing"),
            (spec("a", "flod", None), "flod"),
        ] {
            let error = Senders::compile(&[sender], &Schemas::default()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn principal_may_send_what_its_entries_name() {
        let senders = Senders(vec![
            spec("1:user/a", "flood", None),
            spec("1:assumed-role/Fleet-*", "telemetry", Some(&["{session}", "test-*"])),
            spec("1:assumed-role/Fleet-b", "telemetry", Some(&["b"])),
        ]);
        let allows = |principal, session, dataset, entity| {
            senders.permit(principal, session, dataset).map(|permit| permit.allows(entity))
        };

        assert_eq!(allows("1:user/a", None, "flood", "x"), Some(true));
        assert_eq!(allows("1:user/a", None, "telemetry", "x"), None);
        assert_eq!(allows("1:user/ab", None, "flood", "x"), None);
        let fleet = "1:assumed-role/Fleet-a";
        assert_eq!(allows(fleet, Some("d-1"), "telemetry", "d-1"), Some(true));
        assert_eq!(allows(fleet, Some("d-1"), "telemetry", "d-12"), Some(false));
        assert_eq!(allows(fleet, Some("d-1"), "telemetry", "test-7"), Some(true));
        assert_eq!(allows(fleet, None, "telemetry", "{session}"), Some(false));
        assert_eq!(allows("1:assumed-role/Fleet-b", Some("s"), "telemetry", "b"), Some(true));
    }
}
