//! The shipped configuration, compiled in: the files of `config/`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use tributary_model::config_error::ConfigError;
use tributary_model::domain::Schemas;
use tributary_pipeline::metric::{self, MetricSpec};
use tributary_pipeline::transform::{FilterSpec, Transformer};
pub use tributary_rules::AlertsConfig;
use tributary_rules::Rules;
use tributary_rules::check::{Checked, check};
use tributary_windows::fields::WindowFields;
use tributary_windows::{Spec, WindowSpec};

/// The text of `config/pipeline.toml`.
pub const PIPELINE: &str = include_str!("../../../config/pipeline.toml");

/// The text of `config/alerts.toml`.
pub const ALERTS: &str = include_str!("../../../config/alerts.toml");

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

impl PipelineConfig {
    /// Reads the text of a `pipeline.toml`.
    ///
    /// # Errors
    ///
    /// With line and column, when it is not of this shape.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        from_toml("pipeline.toml", text)
    }

    /// Returns the fields of every dataset's readings, within the configured ranges.
    #[must_use]
    pub fn schemas(&self) -> Schemas {
        tributary_datasets::schemas(&self.ranges)
    }

    /// Compiles the step from raw records to events: ranges and filters.
    ///
    /// # Errors
    ///
    /// As [`Transformer::compile`].
    pub fn transformer(&self) -> Result<Transformer, ConfigError> {
        Transformer::compile(&self.filters, &self.ranges)
    }

    /// Compiles the windows.
    ///
    /// # Errors
    ///
    /// As [`tributary_windows::compile`].
    pub fn window_specs(&self) -> Result<Vec<Spec>, ConfigError> {
        tributary_windows::compile(&self.windows, &self.schemas())
    }

    /// Returns the fields of the events of every window.
    #[must_use]
    pub fn window_fields(&self) -> WindowFields {
        WindowFields::of(&self.windows, &self.schemas())
    }

    /// Returns the metrics, once they are known to be of datasets that exist.
    ///
    /// # Errors
    ///
    /// As [`metric::check`].
    pub fn checked_metrics(self) -> Result<Vec<MetricSpec>, ConfigError> {
        metric::check(&self.metrics, &self.schemas())?;
        Ok(self.metrics)
    }

    /// Compiles rules over the configured datasets.
    ///
    /// # Errors
    ///
    /// As [`Rules::compile`].
    pub fn rules(&self, alerts: &AlertsConfig) -> Result<Rules, ConfigError> {
        Rules::compile(&alerts.rules, &self.schemas())
    }

    /// Checks the text of an `alerts.toml` against the configured datasets and windows.
    #[must_use]
    pub fn check_rules(&self, text: &str) -> Checked {
        check(text, &self.schemas(), &self.window_fields())
    }
}

/// Reads the text of a configuration `file`.
fn from_toml<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::new(file, error.to_string()))
}

#[cfg(test)]
mod tests;
