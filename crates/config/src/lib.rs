//! Shipped configuration: the files of `config/`, compiled in.

use serde::Deserialize;

use tributary_model::config_error::ConfigError;
use tributary_model::domain::{MeasureRanges, Schemas};
use tributary_pipeline::metric::{self, MetricSpec};
use tributary_pipeline::transform::{FilterSpec, Transformer};
pub use tributary_rules::AlertsConfig;
use tributary_rules::Rules;
use tributary_rules::check::{Checked, check};
use tributary_windows::fields::WindowFields;
use tributary_windows::{Spec, WindowSpec};

/// Text of `config/pipeline.toml`.
pub const PIPELINE: &str = include_str!("../../../config/pipeline.toml");

/// Text of `config/alerts.toml`.
pub const ALERTS: &str = include_str!("../../../config/alerts.toml");

/// Contents of `pipeline.toml`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineConfig {
    /// Filters that drop events on purpose.
    #[serde(default)]
    pub filters: Vec<FilterSpec>,
    /// Lowest and highest plausible value, by dataset and measure.
    #[serde(default)]
    pub ranges: MeasureRanges,
    /// Metrics computed from events.
    #[serde(default)]
    pub metrics: Vec<MetricSpec>,
    /// Windows that readings are grouped into.
    #[serde(default)]
    pub windows: Vec<WindowSpec>,
}

impl PipelineConfig {
    /// Parses the text of a `pipeline.toml`.
    ///
    /// # Errors
    ///
    /// If the text does not have this shape. The message holds line and column.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::new("pipeline.toml", error.to_string()))
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
    /// See [`Transformer::compile`].
    pub fn transformer(&self) -> Result<Transformer, ConfigError> {
        Transformer::compile(&self.filters, &self.ranges)
    }

    /// Compiles the windows.
    ///
    /// # Errors
    ///
    /// See [`tributary_windows::compile`].
    pub fn window_specs(&self) -> Result<Vec<Spec>, ConfigError> {
        tributary_windows::compile(&self.windows, &self.schemas())
    }

    /// Returns the fields of the events of every window.
    #[must_use]
    pub fn window_fields(&self) -> WindowFields {
        WindowFields::of(&self.windows, &self.schemas())
    }

    /// Returns the metrics after checking that their datasets exist.
    ///
    /// # Errors
    ///
    /// See [`metric::check`].
    pub fn checked_metrics(self) -> Result<Vec<MetricSpec>, ConfigError> {
        metric::check(&self.metrics, &self.schemas())?;
        Ok(self.metrics)
    }

    /// Compiles rules over the configured datasets.
    ///
    /// # Errors
    ///
    /// See [`Rules::compile`].
    pub fn rules(&self, alerts: &AlertsConfig) -> Result<Rules, ConfigError> {
        Rules::compile(&alerts.rules, &self.schemas())
    }

    /// Checks the text of an `alerts.toml` against the configured datasets and windows.
    #[must_use]
    pub fn check_rules(&self, text: &str) -> Checked {
        let schemas = self.schemas();
        check(text, &schemas, &WindowFields::of(&self.windows, &schemas))
    }
}

#[cfg(test)]
mod tests;
