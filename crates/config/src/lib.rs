//! The configuration: the files of a folder such as `config/`, validated as a whole.
//!
//! The files of the repository are compiled in. Out of scope: reading folders, and Amazon S3.

mod bundle;
mod entries;
mod place;
mod release;
mod validate;

use std::sync::LazyLock;

use serde::Deserialize;

use tributary_datasets::Datasets;
use tributary_model::config_error::ConfigError;
use tributary_model::domain::{MeasureRanges, Schemas};
use tributary_pipeline::metric::{self, MetricSpec};
use tributary_pipeline::sender::{SenderSpec, Senders};
use tributary_pipeline::transform::{FilterSpec, Transformer};
pub use tributary_rules::AlertsConfig;
use tributary_rules::Rules;
use tributary_rules::check::{Checked, check};
use tributary_windows::fields::WindowFields;
use tributary_windows::{Spec, WindowSpec};

pub use self::bundle::Bundle;
pub use self::release::{MAX_VERSION_BYTES, RELEASES_KEY, Release, Releases, version_key};
pub use self::validate::validate;

/// Text of `config/alerts.toml`.
pub const ALERTS: &str = include_str!("../../../config/alerts.toml");

/// Path of the filters, ranges, metrics and windows in a bundle.
pub const PIPELINE_FILE: &str = "pipeline.toml";

/// Path of the rules in a bundle.
pub const ALERTS_FILE: &str = "alerts.toml";

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
    /// Principals that may post rows over HTTP.
    #[serde(default)]
    pub senders: Vec<SenderSpec>,
    /// Windows that readings are grouped into.
    #[serde(default)]
    pub windows: Vec<WindowSpec>,
}

/// A configuration whose schemas are compiled.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The datasets, within the configured ranges.
    pub datasets: Datasets,
    /// Filters, metrics and windows.
    pub pipeline: PipelineConfig,
    /// Alert rules.
    pub alerts: AlertsConfig,
}

impl Configuration {
    /// Loads the compiled-in configuration, once in a process.
    ///
    /// # Errors
    ///
    /// See [`Configuration::load`].
    pub fn shipped() -> Result<Self, ConfigError> {
        static SHIPPED: LazyLock<Result<Configuration, ConfigError>> =
            LazyLock::new(|| Configuration::load(&Bundle::shipped()));
        SHIPPED.clone()
    }

    /// Loads the compiled-in schemas with another `pipeline.toml`, and no rules of its own.
    ///
    /// # Errors
    ///
    /// See [`Configuration::load`].
    pub fn with_pipeline(text: &str) -> Result<Self, ConfigError> {
        Self::load(&Bundle::shipped().with(PIPELINE_FILE, text).with(ALERTS_FILE, ""))
    }

    /// Parses the files of a bundle and compiles its schemas.
    ///
    /// # Errors
    ///
    /// Names file, line and column.
    pub fn load(bundle: &Bundle) -> Result<Self, ConfigError> {
        if let Some(error) = validate::renamed_key(PIPELINE_FILE, bundle.text(PIPELINE_FILE)) {
            return Err(error);
        }
        let mut pipeline: PipelineConfig = parse(PIPELINE_FILE, bundle.text(PIPELINE_FILE))?;
        let mut alerts: AlertsConfig = parse(ALERTS_FILE, bundle.text(ALERTS_FILE))?;
        let schemas = bundle.folder("datasets", "toml");
        for (name, text) in &schemas {
            entries::add(name, text, &mut pipeline, &mut alerts)?;
        }
        let datasets = Datasets::compile(&schemas, &bundle.lookups(), &pipeline.ranges)
            .map_err(|error| place::of_range(error, bundle.text(PIPELINE_FILE)))?;
        Ok(Self { datasets, pipeline, alerts })
    }

    /// Returns the fields of every dataset's readings, within the configured ranges.
    #[must_use]
    pub fn schemas(&self) -> Schemas {
        self.datasets.schemas()
    }

    /// Compiles the step from raw records to events: schemas and filters.
    ///
    /// # Errors
    ///
    /// See [`Transformer::compile`].
    pub fn transformer(&self) -> Result<Transformer, ConfigError> {
        Transformer::compile(&self.datasets, &self.pipeline.filters)
    }

    /// Returns the senders after checking that their datasets exist.
    ///
    /// # Errors
    ///
    /// See [`Senders::compile`].
    pub fn senders(&self) -> Result<Senders, ConfigError> {
        Senders::compile(&self.pipeline.senders, &self.schemas())
    }

    /// Compiles the windows.
    ///
    /// # Errors
    ///
    /// See [`tributary_windows::compile`].
    pub fn window_specs(&self) -> Result<Vec<Spec>, ConfigError> {
        tributary_windows::compile(&self.pipeline.windows, &self.schemas())
    }

    /// Returns the fields of the events of every window.
    #[must_use]
    pub fn window_fields(&self) -> WindowFields {
        WindowFields::of(&self.pipeline.windows, &self.schemas())
    }

    /// Returns the metrics after checking that their fields exist.
    ///
    /// # Errors
    ///
    /// See [`metric::check`].
    pub fn metrics(&self) -> Result<Vec<MetricSpec>, ConfigError> {
        metric::check(&self.pipeline.metrics, &self.schemas())?;
        Ok(self.pipeline.metrics.clone())
    }

    /// Compiles the rules.
    ///
    /// # Errors
    ///
    /// See [`Rules::compile`].
    pub fn rules(&self) -> Result<Rules, ConfigError> {
        self.rules_of(&self.alerts)
    }

    /// Compiles other rules over the configured datasets.
    ///
    /// # Errors
    ///
    /// See [`Rules::compile`].
    pub fn rules_of(&self, alerts: &AlertsConfig) -> Result<Rules, ConfigError> {
        Rules::compile(&alerts.rules, &self.schemas())
    }

    /// Checks the text of an `alerts.toml` against the configured datasets and windows.
    #[must_use]
    pub fn check_rules(&self, text: &str) -> Checked {
        check(text, &self.schemas(), &self.window_fields())
    }
}

/// Parses a TOML file.
fn parse<'t, T: Deserialize<'t>>(file: &str, text: &'t str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        ConfigError::at(file, text, start, error.message())
    })
}

#[cfg(test)]
mod tests;
