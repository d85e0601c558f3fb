//! Transforms a raw record into an event, a filtered row or a rejection.

use std::cell::LazyCell;

use jiff::Timestamp;
use serde::Deserialize;

use tributary_datasets::{Dataset, Datasets};
use tributary_model::bad_row::{Code, Rejection, shown};
use tributary_model::config_error::ConfigError;
use tributary_model::event::Event;
use tributary_model::json::is_object;
use tributary_model::raw::RawRecord;
use tributary_rules::expression::{Expression, Scope};

/// A filter as configured in `pipeline.toml`, which explains each field.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the configuration file explains its fields where users read them")]
pub struct FilterSpec {
    pub id: String,
    pub dataset: String,
    pub drop_when: String,
}

#[derive(Debug)]
struct Filter {
    dataset: String,
    drop_when: Expression,
}

/// Result of a valid row.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// An event for the EVENTS stream.
    Event(Box<Event<'a>>),
    /// A declared filter dropped the row.
    Filtered,
}

/// Schemas and filters, which turn rows into events.
#[derive(Debug)]
pub struct Transformer {
    datasets: Datasets,
    filters: Vec<Filter>,
}

impl Transformer {
    /// Compiles filters over the datasets of a configuration.
    ///
    /// # Errors
    ///
    /// Names the filter that does not compile or whose dataset is unknown.
    pub fn compile(datasets: &Datasets, filters: &[FilterSpec]) -> Result<Self, ConfigError> {
        let schemas = datasets.schemas();
        let compile = |spec: &FilterSpec| {
            let owner = format!("filter {}", spec.id);
            schemas.require(&owner, &spec.dataset)?;
            let drop_when = Expression::compile(&owner, &spec.drop_when)?;
            Ok(Filter { dataset: spec.dataset.clone(), drop_when })
        };
        let filters = filters.iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { datasets: datasets.clone(), filters })
    }

    /// Returns the datasets.
    #[must_use]
    pub fn datasets(&self) -> &Datasets {
        &self.datasets
    }

    /// Returns the outcome of one raw record.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] if the row can never become an event.
    pub fn record<'a>(&'a self, record: &RawRecord<'a>) -> Result<Outcome<'a>, Rejection> {
        let Some(dataset) = self.datasets.by_name(&record.dataset) else {
            let name = shown(&record.dataset);
            let message = format!("{name} is none of {}", self.datasets.names());
            return Err(Rejection::row(Code::UnknownDataset, message));
        };
        self.payload(dataset, record.payload.get(), Some(record.received_at))
    }

    /// Returns the outcome of one payload of `dataset`; for `received_at` see [`Dataset::event`].
    ///
    /// # Errors
    ///
    /// A [`Rejection`] if the row can never become an event.
    pub fn payload<'a>(
        &self,
        dataset: &'a Dataset,
        payload: &'a str,
        received_at: Option<Timestamp>,
    ) -> Result<Outcome<'a>, Rejection> {
        let event = dataset.event(payload, received_at)?;
        let scope = LazyCell::new(|| Scope::of(&event));
        let mut filters = self.filters.iter().filter(|filter| filter.dataset == event.dataset);
        // A filter that cannot be evaluated drops nothing: keeping the row is the safe side.
        let dropped = filters.any(|filter| filter.drop_when.holds(&scope).unwrap_or(false));
        drop(scope);
        Ok(if dropped { Outcome::Filtered } else { Outcome::Event(Box::new(event)) })
    }
}

/// Decodes a record of the RAW stream.
///
/// # Errors
///
/// [`Code::NotUtf8`] or [`Code::InvalidJson`] if it is not a raw record.
pub fn read_raw(data: &[u8]) -> Result<RawRecord<'_>, Rejection> {
    if let Err(error) = str::from_utf8(data) {
        let message = format!("byte {} of the record is not UTF-8", error.valid_up_to());
        return Err(Rejection::row(Code::NotUtf8, message));
    }
    if !is_object(data) {
        return Err(Rejection::row(Code::InvalidJson, "the record is no JSON object"));
    }
    RawRecord::from_json(data).map_err(|error| {
        let message = match error.classify() {
            serde_json::error::Category::Data => "is JSON without the shape of a raw record",
            _ => "is not JSON",
        };
        let at = format!("the record {message}, at column {}", error.column());
        Rejection::row(Code::InvalidJson, at)
    })
}
