//! Transforms a raw record into an event, a filtered row or a rejection.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use jiff::Timestamp;
use serde::Deserialize;

use tributary_datasets::{self as datasets, Dataset};
use tributary_model::bad_row::{Code, Rejection, shown};
use tributary_model::config_error::ConfigError;
use tributary_model::domain::MeasureRanges;
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

/// Compiled ranges and filters, which turn rows into events.
#[derive(Debug)]
pub struct Transformer {
    /// By dataset, the range of each measure.
    ranges: BTreeMap<String, Vec<(String, RangeInclusive<f64>)>>,
    filters: Vec<Filter>,
}

impl Transformer {
    /// Compiles the ranges and filters of a configuration, and checks the compiled-in data of each
    /// dataset.
    ///
    /// # Errors
    ///
    /// Names the filter that does not compile, the empty range, the unknown dataset, or the file
    /// that a dataset cannot use.
    pub fn compile(filters: &[FilterSpec], ranges: &MeasureRanges) -> Result<Self, ConfigError> {
        for dataset in datasets::ALL {
            dataset.check()?;
        }
        let schemas = datasets::schemas(ranges);
        let compile = |spec: &FilterSpec| {
            let owner = format!("filter {}", spec.id);
            schemas.require(&owner, &spec.dataset)?;
            let drop_when = Expression::compile(&owner, &spec.drop_when)?;
            Ok(Filter { dataset: spec.dataset.clone(), drop_when })
        };
        let filters = filters.iter().map(compile).collect::<Result<_, _>>()?;
        let compile = |(dataset, measures): (&String, &BTreeMap<String, [f64; 2]>)| {
            schemas.require("ranges", dataset)?;
            let ranges =
                measures.iter().map(|(measure, range)| compile_range(dataset, measure, range));
            Ok((dataset.clone(), ranges.collect::<Result<_, _>>()?))
        };
        let ranges = ranges.iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { ranges, filters })
    }

    /// Returns the outcome of one raw record.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] if the row can never become an event.
    pub fn record<'a>(&self, record: &RawRecord<'a>) -> Result<Outcome<'a>, Rejection> {
        let Some(dataset) = datasets::by_name(&record.dataset) else {
            let name = shown(&record.dataset);
            let message = format!("{name} is none of {}", datasets::names());
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
        dataset: &dyn Dataset,
        payload: &'a str,
        received_at: Option<Timestamp>,
    ) -> Result<Outcome<'a>, Rejection> {
        let event = dataset.event(payload, received_at)?;
        if let Some((measure, _)) = event.measures.iter().find(|(_, value)| !value.is_finite()) {
            let message = "is too large a number in its unit".to_owned();
            return Err(out_of_range(measure.to_owned(), message));
        }
        for (measure, range) in self.ranges.get(&*event.dataset).into_iter().flatten() {
            if let Some(value) = event.measures.get(measure).filter(|it| !range.contains(it)) {
                let message = format!("{value} is outside {} to {}", range.start(), range.end());
                return Err(out_of_range(measure.clone(), message));
            }
        }
        let scope = LazyCell::new(|| Scope::of(&event));
        let mut filters = self.filters.iter().filter(|filter| filter.dataset == event.dataset);
        // A filter that cannot be evaluated drops nothing: keeping the row is the safe side.
        let dropped = filters.any(|filter| filter.drop_when.holds(&scope).unwrap_or(false));
        drop(scope);
        Ok(if dropped { Outcome::Filtered } else { Outcome::Event(Box::new(event)) })
    }
}

fn compile_range(
    dataset: &str,
    measure: &str,
    &[low, high]: &[f64; 2],
) -> Result<(String, RangeInclusive<f64>), ConfigError> {
    if low.is_finite() && high.is_finite() && low < high {
        return Ok((measure.to_owned(), low..=high));
    }
    let message = format!("{low} to {high} is no range of finite numbers");
    Err(ConfigError::new(format!("ranges.{dataset}.{measure}"), message))
}

fn out_of_range(measure: String, message: String) -> Rejection {
    Rejection { code: Code::OutOfRange, field: Some(measure.into()), message }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        ranges: MeasureRanges,
    }

    fn ranges(text: &str) -> Result<Transformer, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        Transformer::compile(&[], &config.ranges).map_err(|error| error.to_string())
    }

    fn outcome(transformer: &Transformer, temperature: f64) -> Result<(), Rejection> {
        let payload = format!(
            "{{\"sensor_id\":\"s\",\"timestamp\":1762344000,\"temperature\":{temperature}}}"
        );
        let telemetry = datasets::by_name("telemetry").unwrap();
        transformer.payload(telemetry, &payload, None).map(|_| ())
    }

    #[test]
    fn measure_outside_its_range_is_rejected() {
        let transformer = ranges("[ranges.telemetry]\ntemperature_c = [-10, 40.5]").unwrap();

        assert_eq!(outcome(&transformer, -10.0), Ok(()));
        assert_eq!(outcome(&transformer, 40.5), Ok(()));
        let rejection = outcome(&transformer, 40.6).unwrap_err();
        assert_eq!(rejection.code, Code::OutOfRange);
        assert_eq!(rejection.field.as_deref(), Some("temperature_c"));
        assert_eq!(rejection.message, "40.6 is outside -10 to 40.5");
    }

    #[test]
    fn number_overflowing_its_unit_is_rejected() {
        let row = |miles: &str| {
            format!(
                "{{\"ID\":\"A-1\",\"Severity\":\"2\",\"Start_Time\":\"2020-04-13 10:00:00\",\"Start_Lat\":\"40.0\",\
                 \"Start_Lng\":\"-83.0\",\"State\":\"OH\",\"Wind_Speed(mph)\":\"{miles}\"}}"
            )
        };
        let accidents = datasets::by_name("accidents").unwrap();
        let transformer = ranges("").unwrap();

        let (large, larger) = (row("1e305"), row("1.7e308"));
        let Ok(Outcome::Event(event)) = transformer.payload(accidents, &large, None) else {
            panic!("it is a number");
        };
        assert!(event.measures.iter().all(|(_, value)| value.is_finite()));
        let rejection = transformer.payload(accidents, &larger, None).map(|_| ()).unwrap_err();
        assert_eq!(rejection.code, Code::OutOfRange);
        assert_eq!(rejection.field.as_deref(), Some("wind_speed_kph"));
    }

    #[test]
    fn range_applies_to_its_dataset_and_measure() {
        for toml in
            ["[ranges.flood]\ntemperature_c = [0, 1]", "[ranges.telemetry]\nhumidity_pct = [0, 1]"]
        {
            assert_eq!(outcome(&ranges(toml).unwrap(), 20.0), Ok(()), "{toml}");
        }
    }

    #[test]
    fn empty_range_is_rejected() {
        for (range, shown) in [("[2, 1]", "2 to 1"), ("[1, 1]", "1 to 1"), ("[nan, 1]", "NaN to 1")]
        {
            let error = ranges(&format!("[ranges.flood]\nx = {range}")).unwrap_err();
            assert_eq!(error, format!("ranges.flood.x: {shown} is no range of finite numbers"));
        }
        let error = ranges("[ranges.weather]\nx = [1, 2]").unwrap_err();
        assert!(error.starts_with("ranges: dataset \"weather\" is none of"), "{error}");
    }
}
