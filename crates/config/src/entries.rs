//! Filters, metrics, windows and rules that stand in the file of their dataset.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Spanned, Table, Value};

use tributary_model::config_error::ConfigError;
use tributary_rules::AlertsConfig;

use crate::validate::renamed_key;
use crate::{PipelineConfig, parse};

/// The entries of a dataset's file that are not its schema.
#[derive(Deserialize)]
struct Entries {
    #[serde(default)]
    filters: Vec<Spanned<Table>>,
    #[serde(default)]
    metrics: Vec<Spanned<Table>>,
    #[serde(default)]
    windows: Vec<Spanned<Table>>,
    #[serde(default)]
    rules: Vec<Spanned<Table>>,
}

/// Adds the entries in the file of dataset `name`, as if they stood in the files of all datasets.
///
/// # Errors
///
/// Names file, line and column of an entry of another shape, or of another dataset.
pub(crate) fn add(
    name: &str,
    text: &str,
    pipeline: &mut PipelineConfig,
    alerts: &mut AlertsConfig,
) -> Result<(), ConfigError> {
    let file = format!("datasets/{name}.toml");
    if let Some(error) = renamed_key(&file, text) {
        return Err(error);
    }
    let entries: Entries = parse(&file, text)?;
    let own = Own { name, file: &file, text };
    pipeline.filters.extend(own.all(entries.filters)?);
    pipeline.metrics.extend(own.all(entries.metrics)?);
    pipeline.windows.extend(own.all(entries.windows)?);
    alerts.rules.extend(own.all(entries.rules)?);
    Ok(())
}

/// File of a dataset.
struct Own<'t> {
    name: &'t str,
    file: &'t str,
    text: &'t str,
}

impl Own<'_> {
    fn all<T: DeserializeOwned>(
        &self,
        entries: Vec<Spanned<Table>>,
    ) -> Result<Vec<T>, ConfigError> {
        entries.into_iter().map(|entry| self.one(entry)).collect()
    }

    /// Returns an entry, with the dataset of the file.
    fn one<T: DeserializeOwned>(&self, entry: Spanned<Table>) -> Result<T, ConfigError> {
        let start = entry.span().start;
        let error = |message: &str| ConfigError::at(self.file, self.text, start, message);
        let mut entry = entry.into_inner();
        let dataset = Value::String(self.name.to_owned());
        if entry.insert("dataset".to_owned(), dataset).is_some() {
            return Err(error("`dataset` is the dataset of the file, and not stated again"));
        }
        entry.try_into().map_err(|wrong: toml::de::Error| error(wrong.message()))
    }
}
