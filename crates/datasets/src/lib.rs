//! The schema engine: a file of `config/datasets/` becomes a [`Dataset`], which turns rows into
//! events.
//!
//! A schema is compiled once into slots for its columns, parsers and ranges; a row is then read
//! without interpretation. docs/DATASETS.md explains a schema line by line.
//!
//! Out of scope: reading files, and what is done with events.

mod dataset;
mod functions;
pub mod infer;
pub mod ingest;
mod lookup;
pub mod pages;
mod place;
mod recognition;
mod row;
mod schema;
mod time;
mod units;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_model::config_error::ConfigError;
use tributary_model::domain::{MeasureRanges, Schemas};

pub use self::dataset::{
    ColumnNumber, Dataset, Form, KeyTime, LookupFiles, Need, Reader, TimeText,
};

/// All datasets of a configuration. A clone shares them.
#[derive(Clone, Debug, Default)]
pub struct Datasets(Arc<[Arc<Dataset>]>);

impl Datasets {
    /// Compiles the schemas, by name of the dataset.
    ///
    /// # Errors
    ///
    /// Names file, line and column; or two datasets that a header would select equally.
    pub fn compile(
        schemas: &BTreeMap<String, String>,
        lookups: &LookupFiles,
        ranges: &MeasureRanges,
    ) -> Result<Self, ConfigError> {
        let mut all = Vec::with_capacity(schemas.len());
        for (name, text) in schemas {
            let mut dataset = Dataset::compile(name, text, lookups)?;
            if let Some(ranges) = ranges.get(name) {
                dataset.narrow(ranges)?;
            }
            all.push(Arc::new(dataset));
        }
        let datasets = Self(all.into());
        if let Some(name) = ranges.keys().find(|name| datasets.by_name(name).is_none()) {
            let message = format!("dataset {name:?} is none of {}", datasets.names());
            return Err(ConfigError::new("ranges", message));
        }
        recognition::check_distinct(&datasets)?;
        Ok(datasets)
    }

    /// Iterates over the datasets in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Dataset>> {
        self.0.iter()
    }

    /// Returns the dataset of a name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<Dataset>> {
        self.0.iter().find(|dataset| dataset.name() == name)
    }

    /// Returns the dataset whose name is the first folder of an object's key.
    #[must_use]
    pub fn by_key(&self, key: &str) -> Option<&Arc<Dataset>> {
        key.split_once('/').and_then(|(folder, _)| self.by_name(folder))
    }

    /// Returns the names of all datasets, for messages.
    #[must_use]
    pub fn names(&self) -> String {
        self.0.iter().map(|dataset| dataset.name()).collect::<Vec<_>>().join(", ")
    }

    /// Returns the fields of every dataset's readings.
    #[must_use]
    pub fn schemas(&self) -> Schemas {
        self.0.iter().map(|dataset| dataset.fields().clone()).collect()
    }
}

/// The datasets of the repository.
#[cfg(test)]
mod testing {
    use super::*;

    pub(crate) fn shipped() -> Datasets {
        let folder = |name: &str, extension: &str| {
            let folder = format!("{}/../../config/{name}", env!("CARGO_MANIFEST_DIR"));
            let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            let files = files.filter(|path| path.extension().is_some_and(|it| it == extension));
            files.collect::<Vec<_>>()
        };
        let name = |name: Option<&std::ffi::OsStr>| name.unwrap().to_str().unwrap().to_owned();
        let text = |path: &std::path::PathBuf| std::fs::read_to_string(path).unwrap();
        let schemas = folder("datasets", "toml");
        let schemas = schemas.iter().map(|path| (name(path.file_stem()), text(path))).collect();
        let lookups = folder("lookups", "csv");
        let lookups = lookups.iter().map(|path| (name(path.file_name()), text(path))).collect();
        Datasets::compile(&schemas, &lookups, &MeasureRanges::new()).unwrap()
    }
}
