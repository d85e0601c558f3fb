//! `flood`: water levels of river gauges.
//!
//! What a level means is known of the stations in `config/stations.toml` only: an event of theirs
//! says its stage, and an event of any other gauge says none.

mod stations;

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use self::stations::{STAGES, stations};
use super::place::{Place, place};
use super::{Dataset, reading, reading_id, rounded, times};
use crate::field_value::{FieldValue, verbatim};
use tributary_model::bad_row::Rejection;
use tributary_model::config_error::ConfigError;
use tributary_model::domain::{Fields, NumberSet, TextSet};
use tributary_model::event::{Attributes, Event, Location, Measures};

/// The dataset; see the [module](self).
pub struct Flood;

const NAME: &str = "flood";

/// Conversion of a level.
type ToMetres = fn(f64) -> f64;

/// The units of a level, and how a metre is made of it. A foot is the international one.
const UNITS: [(&str, ToMetres); 3] = [
    ("m", |level| level),
    ("cm", |level| rounded(level / 100.0)),
    ("ft", |level| rounded(level * 0.3048)),
];

/// One reading.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct Row<'a> {
    sensor_id: FieldValue<'a>,
    #[serde(deserialize_with = "verbatim")]
    location: FieldValue<'a>,
    #[serde(deserialize_with = "verbatim")]
    water_level: FieldValue<'a>,
    unit: FieldValue<'a>,
    #[serde(deserialize_with = "verbatim")]
    timestamp: FieldValue<'a>,
}

impl Dataset for Flood {
    fn name(&self) -> &'static str {
        NAME
    }

    fn required_columns(&self) -> &'static [&'static [&'static str]] {
        &[&["sensor_id"], &["location"], &["water_level"], &["timestamp"]]
    }

    fn required_fields(&self) -> &'static [&'static [&'static str]] {
        &[&["sensor_id"], &["water_level"], &["timestamp"]]
    }

    fn partition_columns(&self) -> &'static [&'static str] {
        &["sensor_id"]
    }

    fn check(&self) -> Result<(), ConfigError> {
        stations().as_ref().map(|_| ()).map_err(Clone::clone)
    }

    fn fields(&self) -> Fields {
        let attributes = [
            ("sensor_id", TextSet::any()),
            ("location", TextSet::any()),
            ("stage", TextSet::one_of(STAGES.map(|(name, _)| name))),
        ];
        let measures = [("water_level_m", NumberSet::any())];
        Fields::of_readings(NAME, measures, attributes, STAGES.map(|(_, tag)| tag))
    }

    fn event<'a>(
        &self,
        payload: &'a str,
        received_at: Option<Timestamp>,
    ) -> Result<Event<'a>, Rejection> {
        let row: Row<'a> = super::row(payload)?;
        let sensor_id = row.sensor_id.required("sensor_id")?;
        let water_level_m = water_level_m(&row.water_level, &row.unit)?;
        let event_time = times::instant(&row.timestamp)?;
        let Place { point, name } = place(row.location)?;

        let mut measures = Measures::with_capacity(1);
        measures.push("water_level_m", water_level_m);

        let station = stations().as_ref().ok().and_then(|stations| stations.get(&*sensor_id));
        let stage = station.map(|station| station.stage(water_level_m));
        let position = || station.and_then(|station| station.position);
        let location = point.or_else(|| position().and_then(|at| Location::new(at.lat, at.lon)));

        let event_id = reading_id(NAME, &sensor_id, event_time);
        let mut attributes = Attributes::with_capacity(3);
        attributes.push("sensor_id", sensor_id.clone());
        attributes.push_some("location", name);
        attributes.push_some("stage", stage.map(|(name, _)| name));

        let event =
            reading(NAME, event_id, sensor_id, event_time, received_at, measures, attributes);
        let tags = stage.map(|(_, tag)| Cow::Borrowed(tag)).into_iter().collect();
        Ok(Event { location, tags, ..event })
    }
}

/// The level in metres. How high or low a gauge can read is for `config/pipeline.toml` to say.
fn water_level_m(level: &FieldValue<'_>, unit: &FieldValue<'_>) -> Result<f64, Rejection> {
    let level = level.required_number("water_level", f64::MIN..=f64::MAX)?;
    Ok(unit.one_of("unit", &UNITS)?.map_or(level, |to_metres| to_metres(level)))
}

#[cfg(test)]
mod tests;
