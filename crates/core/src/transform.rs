//! One raw record in, one outcome out: an event, a declared filter, or a rejection.

use jiff::Timestamp;
use serde::Deserialize;

use crate::bad_row::{Code, Rejection, shown};
use crate::config::{ConfigError, PipelineConfig};
use crate::datasets::{self, Dataset};
use crate::event::Event;
use crate::expression::{Expression, Scope};
use crate::raw::RawRecord;

/// A filter as `pipeline.toml` states it; the file explains each field.
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

/// What a good row became.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// An event for the EVENTS stream.
    Event(Box<Event<'a>>),
    /// A declared filter dropped it.
    Filtered,
}

/// The step from rows to events, with its filters compiled.
#[derive(Debug)]
pub struct Transformer {
    filters: Vec<Filter>,
}

impl Transformer {
    /// Compiles the filters of a configuration.
    ///
    /// # Errors
    ///
    /// Names the filter that does not compile or drops events of no dataset.
    pub fn compile(config: &PipelineConfig) -> Result<Self, ConfigError> {
        let compile = |spec: &FilterSpec| {
            let owner = format!("filter {}", spec.id);
            if datasets::by_name(&spec.dataset).is_none() {
                let message =
                    format!("dataset {:?} is none of {}", spec.dataset, datasets::names());
                return Err(ConfigError::new(owner, message));
            }
            let drop_when = Expression::compile(&owner, &spec.drop_when)?;
            Ok(Filter { dataset: spec.dataset.clone(), drop_when })
        };
        let filters = config.filters.iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { filters })
    }

    /// The outcome of one raw record.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] where the row can never become an event.
    pub fn record<'a>(&self, record: &RawRecord<'a>) -> Result<Outcome<'a>, Rejection> {
        let Some(dataset) = datasets::by_name(&record.dataset) else {
            let name = shown(&record.dataset);
            let message = format!("{name} is none of {}", datasets::names());
            return Err(Rejection::row(Code::UnknownDataset, message));
        };
        self.payload(dataset, record.payload.get(), Some(record.received_at))
    }

    /// The outcome of one payload of `dataset`; `received_at` as in [`Dataset::event`].
    ///
    /// # Errors
    ///
    /// A [`Rejection`] where the row can never become an event.
    pub fn payload<'a>(
        &self,
        dataset: &dyn Dataset,
        payload: &'a str,
        received_at: Option<Timestamp>,
    ) -> Result<Outcome<'a>, Rejection> {
        let event = dataset.event(payload, received_at)?;
        let mut filters =
            self.filters.iter().filter(|filter| filter.dataset == event.dataset).peekable();
        if filters.peek().is_none() {
            return Ok(Outcome::Event(Box::new(event)));
        }
        let scope = Scope::of(&event);
        // A filter that cannot be asked drops nothing: to keep is the safe side.
        let dropped = filters.any(|filter| filter.drop_when.holds(&scope).unwrap_or(false));
        drop(scope);
        Ok(if dropped { Outcome::Filtered } else { Outcome::Event(Box::new(event)) })
    }
}

/// Reads a record of the RAW stream.
///
/// # Errors
///
/// [`Code::NotUtf8`] or [`Code::InvalidJson`] where it is no raw record.
pub fn read_raw(data: &[u8]) -> Result<RawRecord<'_>, Rejection> {
    if let Err(error) = str::from_utf8(data) {
        let message = format!("byte {} of the record is not UTF-8", error.valid_up_to());
        return Err(Rejection::row(Code::NotUtf8, message));
    }
    if !datasets::is_object(data) {
        return Err(Rejection::row(Code::InvalidJson, "the record is no JSON object"));
    }
    RawRecord::from_json(data).map_err(|error| {
        let message = match error.classify() {
            serde_json::error::Category::Data => "is JSON and lacks the shape of a raw record",
            _ => "is not JSON",
        };
        let at = format!("the record {message}, at column {}", error.column());
        Rejection::row(Code::InvalidJson, at)
    })
}
