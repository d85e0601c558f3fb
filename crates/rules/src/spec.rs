//! A rule as `alerts.toml` states it, and what of it cannot be meant.

use serde::{Deserialize, Serialize};

use tributary_model::config_error::ConfigError;
use tributary_model::id::Id;
use tributary_model::time::DurationSpec;

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
    pub window: Option<String>,
    pub severity: Severity,
    pub when: Option<String>,
    #[serde(rename = "for")]
    pub sustained: Option<u32>,
    pub absent: Option<DurationSpec>,
    pub title: String,
    pub key: String,
    pub cooldown: DurationSpec,
    pub digest: Option<u32>,
}

/// `alerts.toml`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertsConfig {
    /// The rules.
    #[serde(default)]
    pub rules: Vec<RuleSpec>,
}

impl AlertsConfig {
    /// Reads the text of an `alerts.toml`.
    ///
    /// # Errors
    ///
    /// With line and column, when it is not of this shape.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::new("alerts.toml", error.to_string()))
    }
}

/// The longest id of a rule.
const MAX_ID_BYTES: usize = 100;

/// The most windows in a row that a rule can wait for.
pub const MAX_SUSTAINED: u32 = 1_000;

/// Whether it can be the id of a rule: a folder, a value of an attribute, and of a metric's dimension.
fn is_name(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    id.len() <= MAX_ID_BYTES
        && id.bytes().next().is_some_and(is_plain)
        && id.bytes().all(|byte| is_plain(byte) || matches!(byte, b'-' | b'_'))
}

impl RuleSpec {
    /// Hash of what the rule waits for; not of what it says to whom.
    #[must_use]
    pub(crate) fn definition(&self) -> Id {
        let absent = self.absent.map(|length| length.get().as_secs().to_string());
        let sustained = self.sustained.map(|count| count.to_string());
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (window, when) = (text(&self.window), text(&self.when));
        let (sustained, absent) = (text(&sustained), text(&absent));
        Id::of_text(&[&self.id, &self.dataset, &window, &when, &sustained, &absent])
    }

    /// What is wrong with the fields together, and of which field it is to be said: all that is known
    /// without what the rule asks about.
    #[must_use]
    pub fn contradiction(&self) -> Option<(&'static str, String)> {
        let wrong = |field, message: &str| Some((field, message.to_owned()));
        if !is_name(&self.id) {
            return wrong(
                "id",
                "takes a to z, digits, - and _, begins with none of these two, and has 100 at most",
            );
        }
        let lengths = [("cooldown", Some(self.cooldown)), ("absent", self.absent)];
        let is_broken =
            |length: &Option<DurationSpec>| length.is_some_and(|it| it.get().subsec_nanos() != 0);
        if let Some((field, _)) = lengths.iter().find(|(_, length)| is_broken(length)) {
            return wrong(field, "is no whole number of seconds");
        }
        match (&self.when, &self.absent) {
            (Some(_), Some(_)) => return wrong("absent", "excludes `when`: nothing has no fields"),
            (None, None) => return wrong("id", "has neither `when` nor `absent`"),
            (None, Some(length)) if length.get().is_zero() => {
                return wrong("absent", "is no time: everything is absent for 0s");
            }
            _ => {}
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
        (self.digest == Some(0)).then(|| ("digest", "0 messages would tell nobody".to_owned()))
    }
}
