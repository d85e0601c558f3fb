//! Rules as written in `alerts.toml`, and their validation.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use tributary_model::config_error::ConfigError;
use tributary_model::id::Id;
use tributary_model::time::DurationSpec;

/// Severity of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Informational.
    Info,
    /// Look at it today.
    Warning,
    /// Look at it now.
    Critical,
}

impl Severity {
    /// Returns the name in alerts and in message attributes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Rule as written in `alerts.toml`; the file explains each field.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the configuration file explains its fields where users read them")]
pub struct RuleSpec {
    pub id: String,
    pub dataset: String,
    pub window: Option<String>,
    pub severity: Severity,
    pub when: Option<String>,
    pub within: Option<DurationSpec>,
    #[serde(rename = "for")]
    pub sustained: Option<u32>,
    pub absent: Option<DurationSpec>,
    pub title: String,
    pub key: String,
    pub cooldown: DurationSpec,
    pub digest: Option<u32>,
    pub max_entities: Option<u32>,
}

/// Contents of `alerts.toml`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertsConfig {
    /// The rules.
    #[serde(default)]
    pub rules: Vec<RuleSpec>,
}

impl AlertsConfig {
    /// Parses the text of an `alerts.toml`.
    ///
    /// # Errors
    ///
    /// Returns an error with line and column if the text has another shape.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::new("alerts.toml", error.to_string()))
    }
}

/// Maximum length of a rule id in bytes.
const MAX_ID_BYTES: usize = 100;

/// Maximum number of consecutive windows that a rule can require.
pub const MAX_SUSTAINED: u32 = 1_000;

/// Maximum of `max_entities`: the entities of a rule and day are one item of a store.
const MAX_ENTITIES: u32 = 20_000;

/// Returns true for a valid rule id: it names a folder and is the value of a message attribute and
/// of a metric dimension.
fn is_name(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    id.len() <= MAX_ID_BYTES
        && id.bytes().next().is_some_and(is_plain)
        && id.bytes().all(|byte| is_plain(byte) || matches!(byte, b'-' | b'_'))
}

impl RuleSpec {
    /// Reads a rule in the file of its dataset, which it does not state.
    ///
    /// # Errors
    ///
    /// Returns a message if the table has another shape, or states a dataset.
    pub fn of_dataset(mut rule: toml::Table, dataset: &str) -> Result<Self, String> {
        if rule.insert("dataset".to_owned(), dataset.into()).is_some() {
            return Err("`dataset` is the dataset of the file, and not stated again".to_owned());
        }
        rule.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
    }

    /// Returns the hash of the condition, which excludes title, key and severity.
    #[must_use]
    pub(crate) fn definition(&self) -> Id {
        let absent = self.absent.map(|length| length.0.as_secs().to_string());
        let sustained = self.sustained.map(|count| count.to_string());
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (window, when) = (text(&self.window), text(&self.when));
        let (sustained, absent) = (text(&sustained), text(&absent));
        let within = self.within.map(|length| length.0.as_secs().to_string());
        let parts = [&self.id, &self.dataset, &window, &when, &sustained, &absent];
        // A rule without `within` keeps the hash that it had before there was one.
        let parts: Vec<_> = parts.into_iter().chain(&within).map(String::as_str).collect();
        Id::of_text(&parts)
    }

    /// Returns the field and the message of a contradiction between fields.
    ///
    /// Covers everything that can be checked without the dataset.
    #[must_use]
    pub fn contradiction(&self) -> Option<(&'static str, String)> {
        let wrong = |field, message: &str| Some((field, message.to_owned()));
        if !is_name(&self.id) {
            return wrong(
                "id",
                "takes a to z, digits, - and _, begins with none of these two, and has 100 at most",
            );
        }
        let lengths =
            [("cooldown", Some(self.cooldown)), ("absent", self.absent), ("within", self.within)];
        let is_broken =
            |length: &Option<DurationSpec>| length.is_some_and(|it| it.0.subsec_nanos() != 0);
        if let Some((field, _)) = lengths.iter().find(|(_, length)| is_broken(length)) {
            return wrong(field, "is no whole number of seconds");
        }
        match (&self.when, &self.absent) {
            (Some(_), Some(_)) => return wrong("absent", "excludes `when`: nothing has no fields"),
            (None, None) => return wrong("id", "has neither `when` nor `absent`"),
            (None, Some(length)) if length.0.is_zero() => {
                return wrong("absent", "is no time: everything is absent for 0s");
            }
            _ => {}
        }
        if let Some(within) = self.within {
            if self.absent.is_some() {
                return wrong("within", "is the age of an event for `when`, and there is `absent`");
            }
            if within.0 <= SignedDuration::ZERO {
                return wrong("within", "is no time: every event is older than 0s");
            }
        }
        if let Some(count) = self.sustained {
            if self.absent.is_some() {
                return wrong("for", "counts windows in which `when` holds, and there is `absent`");
            }
            if self.window.is_none() {
                return wrong("for", "counts windows, and no `window` says which");
            }
            if !(2..=MAX_SUSTAINED).contains(&count) {
                let message = format!("{count} is not 2 to {MAX_SUSTAINED} windows in a row");
                return Some(("for", message));
            }
        }
        if let Some(count) = self.max_entities {
            if self.absent.is_none() && self.sustained.is_none() {
                return wrong("max_entities", "limits entities of rules with `absent` or `for`");
            }
            if !(1..=MAX_ENTITIES).contains(&count) {
                let message = format!("{count} is not 1 to {MAX_ENTITIES} entities");
                return Some(("max_entities", message));
            }
        }
        (self.digest == Some(0)).then(|| ("digest", "0 messages would send nothing".to_owned()))
    }
}
