//! `flood`: water levels of river gauges.
//!
//! What a level means is known of the stations in `config/stations.toml` only: an event of theirs
//! says its stage, and an event of any other gauge says none.

mod stations;

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use self::stations::{Stage, stations};
use super::place::{Place, place};
use super::{Dataset, reading_id, rounded, times};
use crate::field_value::{FieldValue, missing, verbatim};
use tributary_model::bad_row::Rejection;
use tributary_model::config_error::ConfigError;
use tributary_model::domain::{Fields, NumberSet, TextSet};
use tributary_model::event::{Attributes, Event, Kind, Location, Measures};

/// The dataset; see the [module](self).
pub struct Flood;

const NAME: &str = "flood";

/// The units of a level, and how a metre is made of it. A foot is the international one.
const UNITS: &[(&str, Unit)] = &[("m", Unit::Metre), ("cm", Unit::Centimetre), ("ft", Unit::Foot)];

#[derive(Clone, Copy)]
enum Unit {
    Metre,
    Centimetre,
    Foot,
}

/// One reading.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row<'a> {
    #[serde(borrow)]
    sensor_id: FieldValue<'a>,
    #[serde(borrow, deserialize_with = "verbatim")]
    location: FieldValue<'a>,
    #[serde(borrow, deserialize_with = "verbatim")]
    water_level: FieldValue<'a>,
    #[serde(borrow)]
    unit: FieldValue<'a>,
    #[serde(borrow, deserialize_with = "verbatim")]
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
            ("stage", TextSet::one_of(Stage::ALL.map(Stage::as_str))),
        ];
        let measures = [("water_level_m", NumberSet::any())];
        Fields::of_readings(NAME, measures, attributes, Stage::ALL.map(Stage::tag))
    }

    fn event<'a>(
        &self,
        payload: &'a str,
        received_at: Option<Timestamp>,
    ) -> Result<Event<'a>, Rejection> {
        event(super::row::<Row<'a>>(payload)?, received_at)
    }
}

fn event(row: Row<'_>, received_at: Option<Timestamp>) -> Result<Event<'_>, Rejection> {
    let sensor_id = row.sensor_id.required("sensor_id")?;
    let water_level_m = water_level_m(&row.water_level, &row.unit)?;
    let event_time =
        times::instant(&row.timestamp, "timestamp")?.ok_or_else(|| missing("timestamp"))?;
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
    attributes.push_some("stage", stage.map(Stage::as_str));

    Ok(Event {
        kind: Kind::Reading,
        dataset: Cow::Borrowed(NAME),
        event_id: Cow::Owned(event_id.to_string()),
        entity: sensor_id,
        event_time,
        received_at: received_at.unwrap_or(event_time),
        location,
        measures,
        attributes,
        tags: stage.map(|stage| Cow::Borrowed(stage.tag())).into_iter().collect(),
        window: None,
    })
}

/// The level in metres. How high or low a gauge can read is for `config/pipeline.toml` to say.
fn water_level_m(level: &FieldValue<'_>, unit: &FieldValue<'_>) -> Result<f64, Rejection> {
    let level = level.required_number("water_level", f64::MIN..=f64::MAX)?;
    Ok(match unit.one_of("unit", UNITS)? {
        None | Some(Unit::Metre) => level,
        Some(Unit::Centimetre) => rounded(level / 100.0),
        Some(Unit::Foot) => rounded(level * 0.3048),
    })
}

#[cfg(test)]
mod tests;
