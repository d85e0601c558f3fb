//! `telemetry`: readings of devices, temperature and humidity first of all.
//!
//! Two shapes are one dataset: `sensor_id` with pressure, location and `active` or `warning`, and
//! `device_id` with `OK`, `WARN` or `FAIL`. Whatever else a device sends stays in the raw layer.

use jiff::Timestamp;
use serde::Deserialize;

use super::field_value::{FieldValue, verbatim};
use super::place::{Place, place};
use super::{climate, reading, reading_id, rounded, since_1900, times};
use tributary_model::bad_row::{Code, Rejection};
use tributary_model::event::{Attributes, Event, Measures, Text};

const NAME: &str = "telemetry";

/// Every word for a state of a device, and what it is called in an event.
const STATUS: &[(&str, &str)] = &[
    ("ok", "ok"),
    ("active", "ok"),
    ("normal", "ok"),
    ("online", "ok"),
    ("warning", "warning"),
    ("warn", "warning"),
    ("failure", "failure"),
    ("failed", "failure"),
    ("fail", "failure"),
    ("error", "failure"),
    ("fault", "failure"),
    ("inactive", "inactive"),
    ("offline", "inactive"),
    ("idle", "inactive"),
    ("standby", "inactive"),
];

const ABSOLUTE_ZERO_C: f64 = -273.15;

/// One reading.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct Row<'a> {
    #[serde(deserialize_with = "verbatim")]
    sensor_id: FieldValue<'a>,
    #[serde(deserialize_with = "verbatim")]
    device_id: FieldValue<'a>,
    #[serde(deserialize_with = "verbatim")]
    timestamp: FieldValue<'a>,
    #[serde(deserialize_with = "verbatim")]
    temperature: FieldValue<'a>,
    #[serde(deserialize_with = "verbatim")]
    humidity: FieldValue<'a>,
    #[serde(deserialize_with = "verbatim")]
    pressure: FieldValue<'a>,
    #[serde(deserialize_with = "verbatim")]
    location: FieldValue<'a>,
    status: FieldValue<'a>,
}

/// Returns the event of a payload.
///
/// # Errors
///
/// A present but invalid value rejects the row.
pub fn event<'a>(payload: &'a str, received_at: Option<Timestamp>) -> Result<Event<'a>, Rejection> {
    let row: Row<'a> = super::row(payload)?;
    let event_time = since_1900("timestamp", times::instant(&row.timestamp)?)?;
    let measures = measures(&row)?;
    let status = row.status.one_of("status", STATUS)?;
    if measures.is_empty() && status.is_none() {
        let message = "is empty, and so is every other measure and the status";
        return Err(Rejection::field(Code::MissingField, "temperature", message));
    }
    let (sensor_id, device_id) = ids(row.sensor_id, row.device_id)?;
    let Place { point, name } = place(row.location)?;

    let event_id = reading_id(NAME, &sensor_id, event_time);
    let mut attributes = Attributes::with_capacity(4);
    attributes.push("sensor_id", sensor_id.clone());
    attributes.push_some("device_id", device_id);
    attributes.push_some("status", status);
    attributes.push_some("location", name);

    let event = reading(NAME, event_id, sensor_id, event_time, received_at, measures, attributes);
    Ok(Event { location: point, ..event })
}

/// Returns the entity of the reading, and the device id if that is another.
fn ids<'a>(
    sensor_id: FieldValue<'a>,
    device_id: FieldValue<'a>,
) -> Result<(Text<'a>, Option<Text<'a>>), Rejection> {
    let device_id = device_id.into_text("device_id")?;
    let Some(sensor_id) = sensor_id.into_text("sensor_id")? else {
        let message = "is required and empty, and so is device_id";
        let missing = || Rejection::field(Code::MissingField, "sensor_id", message);
        return Ok((device_id.ok_or_else(missing)?, None));
    };
    let device_id = device_id.filter(|device_id| *device_id != sensor_id);
    Ok((sensor_id, device_id))
}

/// The measures and what follows from them. Physical limits only: what a device of this fleet can
/// measure is for `config/pipeline.toml` to say.
fn measures(row: &Row<'_>) -> Result<Measures<'static>, Rejection> {
    let temperature_c = row.temperature.number("temperature", ABSOLUTE_ZERO_C..=f64::INFINITY)?;
    let humidity_pct = row.humidity.number("humidity", 0.0..=100.0)?;
    let pressure_hpa = row.pressure.number("pressure", 0.0..=f64::INFINITY)?;

    let mut measures = Measures::with_capacity(5);
    measures.push_some("temperature_c", temperature_c);
    measures.push_some("humidity_pct", humidity_pct);
    measures.push_some("pressure_hpa", pressure_hpa);
    if let (Some(t), Some(rh)) = (temperature_c, humidity_pct) {
        measures.push_some("dew_point_c", climate::dew_point_c(t, rh).map(rounded));
        measures.push_some("heat_index_c", climate::heat_index_c(t, rh).map(rounded));
    }
    Ok(measures)
}
