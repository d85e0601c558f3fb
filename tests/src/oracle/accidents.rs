//! `accidents`: the US-Accidents CSV (Moosavi et al.), 46 columns in its edition of March 2023.
//!
//! Older editions have up to three more (`TMC`, `Number`, `Side`); columns are read by name, so
//! their order does not matter and a column nobody knows stays in the raw layer only.
//!
//! Source: Moosavi, Samavatian, Parthasarathy, Ramnath: "A Countrywide Traffic Accident Dataset",
//! 2019, <https://arxiv.org/abs/1906.05409>.

use std::borrow::Cow;

use jiff::Timestamp;

use super::clock::LocalClock;
use super::field_value::{FieldValue, wrong};
use super::place::point;
use super::row::{self, Row};
use super::{reading, rounded, since_1900, us, weather};
use tributary_model::bad_row::{Code, Rejection};
use tributary_model::event::{Event, Measures};
use tributary_model::id::Id;

const NAME: &str = "accidents";

/// Returns the event of a payload.
///
/// # Errors
///
/// A present but invalid value rejects the row.
pub fn event<'a>(payload: &'a str, received_at: Option<Timestamp>) -> Result<Event<'a>, Rejection> {
    let row: Row<'a> = super::row(payload)?;
    let mut tags = Vec::with_capacity(8);

    let severity = row.severity.required_whole("Severity", 1.0..=4.0)?;
    // The state must be one: a row without a time zone takes its zone from it.
    let state = row.state.clone().required("State")?;
    if us::zone_of_state(&state).is_none() {
        let what = "is no state of the United States";
        return Err(wrong(Code::UnknownValue, "State", &state, what));
    }
    let clock = LocalClock::of(&row, &state, &mut tags)?;
    since_1900("Start_Time", clock.start)?;
    let location = point([(&row.start_lat, "Start_Lat"), (&row.start_lng, "Start_Lng")])?;
    let measures = measures(&row, severity, clock.duration_min)?;
    for (column, tag, value) in row.flags() {
        if value.flag(column)? == Some(true) {
            tags.push(Cow::Borrowed(tag));
        }
    }
    if let Some(day) = row.sunrise_sunset.one_of("Sunrise_Sunset", row::DAY_OR_NIGHT)? {
        tags.push(Cow::Borrowed(day));
    }
    if let Some(text) = row.weather_condition.text("Weather_Condition")? {
        tags.push(Cow::Borrowed(weather::tag(text)));
    }

    let attributes = row.into_attributes(state, clock.weather_time)?;
    let text = |name| attributes.get(name).map_or("", |text| text);

    let event_id = Id::of_text(&[NAME, text("id")]);
    // The state alone where the county is not known.
    let entity = match attributes.get("county") {
        Some(county) => format!("{}/{county}", text("state")),
        None => text("state").to_owned(),
    };
    let event =
        reading(NAME, event_id, entity.into(), clock.start, received_at, measures, attributes);
    Ok(Event { location: Some(location), tags, ..event })
}

/// The measures in SI-ish units. Physical limits only: a station that reports 77 °C in Alaska is
/// improbable, and improbable is for anomaly detection to say.
fn measures(
    row: &Row<'_>,
    severity: f64,
    duration_min: Option<f64>,
) -> Result<Measures<'static>, Rejection> {
    const ABSOLUTE_ZERO_F: f64 = -459.67;
    let celsius = |column, value: &FieldValue<'_>| {
        let fahrenheit = value.number(column, ABSOLUTE_ZERO_F..=f64::INFINITY)?;
        Ok(fahrenheit.map(|fahrenheit| rounded((fahrenheit - 32.0) / 1.8)))
    };
    let positive = |column, value: &FieldValue<'_>, factor: f64| {
        let value = value.number(column, 0.0..=f64::INFINITY)?;
        Ok(value.map(|value| rounded(value * factor)))
    };

    let mut measures = Measures::with_capacity(12);
    let mut push = |name: &'static str, value: Option<f64>| measures.push_some(name, value);
    push("severity", Some(severity));
    push("temperature_c", celsius("Temperature(F)", &row.temperature)?);
    push("wind_chill_c", celsius("Wind_Chill(F)", &row.wind_chill)?);
    push("humidity_pct", row.humidity.number("Humidity(%)", 0.0..=100.0)?);
    push("pressure_hpa", positive("Pressure(in)", &row.pressure, 33.863_886_7)?);
    push("visibility_km", positive("Visibility(mi)", &row.visibility, MILE_KM)?);
    push("wind_speed_kph", positive("Wind_Speed(mph)", &row.wind_speed, MILE_KM)?);
    push("precipitation_mm", positive("Precipitation(in)", &row.precipitation, 25.4)?);
    push("distance_km", positive("Distance(mi)", &row.distance, MILE_KM)?);
    push("duration_min", duration_min.map(rounded));
    push("end_lat_deg", row.end_lat.number("End_Lat", -90.0..=90.0)?);
    push("end_lon_deg", row.end_lng.number("End_Lng", -180.0..=180.0)?);
    Ok(measures)
}

/// Kilometres in an international mile.
const MILE_KM: f64 = 1.609_344;
