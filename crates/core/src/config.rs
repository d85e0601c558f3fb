//! The shipped configuration, compiled in: the files of `config/`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::metric::MetricSpec;
use crate::rule::RuleSpec;
use crate::transform::FilterSpec;
use crate::window::WindowSpec;

/// The text of `config/pipeline.toml`.
pub const PIPELINE: &str = include_str!("../../../config/pipeline.toml");

/// The text of `config/alerts.toml`.
pub const ALERTS: &str = include_str!("../../../config/alerts.toml");

/// The text of `config/stations.toml`.
pub const STATIONS: &str = include_str!("../../../config/stations.toml");

/// What is wrong with a configuration, and where.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("{owner}: {message}")]
pub struct ConfigError {
    owner: String,
    message: String,
}

/// As it is displayed: this is what Rust prints when `main` fails with it.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ConfigError {
    /// `message` about the entry `owner`.
    pub fn new(owner: impl Into<String>, message: impl Into<String>) -> Self {
        Self { owner: owner.into(), message: message.into() }
    }
}

/// `pipeline.toml`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineConfig {
    /// Which events are dropped on purpose.
    #[serde(default)]
    pub filters: Vec<FilterSpec>,
    /// By dataset and measure, the lowest and the highest value that can be right.
    #[serde(default)]
    pub ranges: BTreeMap<String, BTreeMap<String, [f64; 2]>>,
    /// Which metrics the events add up to.
    #[serde(default)]
    pub metrics: Vec<MetricSpec>,
    /// Which windows readings come to.
    #[serde(default)]
    pub windows: Vec<WindowSpec>,
}

/// `alerts.toml`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertsConfig {
    /// The rules.
    #[serde(default)]
    pub rules: Vec<RuleSpec>,
}

impl PipelineConfig {
    /// Reads the text of a `pipeline.toml`.
    ///
    /// # Errors
    ///
    /// With line and column, when it is not of this shape.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        from_toml("pipeline.toml", text)
    }
}

impl AlertsConfig {
    /// Reads the text of an `alerts.toml`.
    ///
    /// # Errors
    ///
    /// With line and column, when it is not of this shape.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        from_toml("alerts.toml", text)
    }
}

/// Reads the text of a configuration `file`.
pub(crate) fn from_toml<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::new(file, error.to_string()))
}
