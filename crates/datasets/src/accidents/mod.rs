//! `accidents`: the US-Accidents CSV (Moosavi et al.), 46 columns in its edition of March 2023.
//!
//! Older editions have up to three more (`TMC`, `Number`, `Side`); columns are read by name, so
//! their order does not matter and a column nobody knows stays in the raw layer only.
//!
//! Source: Moosavi, Samavatian, Parthasarathy, Ramnath: "A Countrywide Traffic Accident Dataset",
//! 2019, <https://arxiv.org/abs/1906.05409>.

mod clock;
mod row;
mod weather;

use std::borrow::Cow;

use jiff::Timestamp;

use self::clock::LocalClock;
use self::row::Row;
use super::{Dataset, rounded, us};
use tributary_model::bad_row::{Code, Rejection, shown};
use tributary_model::domain::{Fields, NumberSet};
use tributary_model::event::{Attributes, Event, Kind, Location, Measures, Text};
use tributary_model::id::Id;

/// The dataset; see the [module](self).
pub struct Accidents;

const NAME: &str = "accidents";

impl Dataset for Accidents {
    fn name(&self) -> &'static str {
        NAME
    }

    fn required_columns(&self) -> &'static [&'static [&'static str]] {
        &[&["ID"], &["Severity"], &["Start_Time"], &["Start_Lat"], &["Start_Lng"], &["State"]]
    }

    // Accidents are independent of each other, so the natural key spreads them best; severity
    // would put nine records of ten on one shard.
    fn partition_columns(&self) -> &'static [&'static str] {
        &["ID"]
    }

    fn fields(&self) -> Fields {
        let at_least = |low, names: &[&'static str]| -> Vec<_> {
            names.iter().map(|name| (*name, NumberSet::at_least(low))).collect()
        };
        let mut measures = at_least(-273.15, &["temperature_c", "wind_chill_c"]);
        measures.extend(at_least(
            0.0,
            &[
                "pressure_hpa",
                "visibility_km",
                "wind_speed_kph",
                "precipitation_mm",
                "distance_km",
                "duration_min",
            ],
        ));
        measures.push(("severity", NumberSet::whole(1.0, 4.0)));
        measures.push(("humidity_pct", NumberSet::between(0.0, 100.0)));
        measures.push(("end_lat_deg", NumberSet::between(-90.0, 90.0)));
        measures.push(("end_lon_deg", NumberSet::between(-180.0, 180.0)));
        let times = ["dst_gap", "dst_fold", "timezone_from_state", "weekend", "rush_hour"];
        let tags = row::FLAGS.into_iter().chain(weather::tags()).chain(times);
        let tags = tags.chain(row::DAY_OR_NIGHT.iter().map(|(_, tag)| *tag));
        Fields::of_readings(NAME, measures, row::attributes(), tags)
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
    let mut tags = Vec::with_capacity(8);

    let severity = row.severity.required_whole("Severity", 1.0..=4.0)?;
    let state = state(&row)?;
    let clock = LocalClock::of(&row, &state, &mut tags)?;
    let location = location(&row)?;
    let measures = measures(&row, severity, clock.duration_min)?;
    row.push_flags(&mut tags)?;
    if let Some(day) = row.day_or_night()? {
        tags.push(Cow::Borrowed(day));
    }
    if let Some(text) = row.weather_condition.text("Weather_Condition")? {
        tags.push(Cow::Borrowed(weather::tag(text)));
    }

    let attributes = row.into_attributes(state, clock.weather_time)?;
    let id = attributes.get("id").map_or("", |id| id);

    Ok(Event {
        kind: Kind::Reading,
        dataset: Cow::Borrowed(NAME),
        event_id: Cow::Owned(Id::of_text(&[NAME, id]).to_string()),
        entity: entity(&attributes),
        event_time: clock.start,
        received_at: received_at.unwrap_or(clock.start),
        location: Some(location),
        measures,
        attributes,
        tags,
        window: None,
    })
}

/// The state, which must be one: it is what a row without a time zone takes its zone from.
fn state<'a>(row: &Row<'a>) -> Result<Text<'a>, Rejection> {
    let state = row.state.clone().required("State")?;
    if us::zone_of_state(&state).is_none() {
        let message = format!("{} is no state of the United States", shown(&state));
        return Err(Rejection::field(Code::UnknownValue, "State", message));
    }
    Ok(state)
}

/// `state/county`; the state alone where the county is not known.
fn entity<'a>(attributes: &Attributes<'a>) -> Text<'a> {
    let state = attributes.get("state").map_or("", |state| state);
    match attributes.get("county") {
        Some(county) => Cow::Owned(format!("{state}/{county}")),
        None => Cow::Owned(state.to_owned()),
    }
}

fn location(row: &Row<'_>) -> Result<Location<'static>, Rejection> {
    let lat = row.start_lat.required_number("Start_Lat", -90.0..=90.0)?;
    let lon = row.start_lng.required_number("Start_Lng", -180.0..=180.0)?;
    Location::new(lat, lon)
        .ok_or_else(|| Rejection::field(Code::OutOfRange, "Start_Lat", "is no place on Earth"))
}

/// The measures in SI-ish units. Physical limits only: a station that reports 77 °C in Alaska is
/// improbable, and improbable is for anomaly detection to say.
fn measures(
    row: &Row<'_>,
    severity: f64,
    duration_min: Option<f64>,
) -> Result<Measures<'static>, Rejection> {
    const ABSOLUTE_ZERO_F: f64 = -459.67;
    let positive = || 0.0..=f64::INFINITY;
    let above_zero = || ABSOLUTE_ZERO_F..=f64::INFINITY;
    let celsius = |fahrenheit: f64| rounded((fahrenheit - 32.0) / 1.8);
    let times = |factor: f64| move |value: f64| rounded(value * factor);

    let mut measures = Measures::with_capacity(12);
    let mut push = |name: &'static str, value: Option<f64>| measures.push_some(name, value);
    push("severity", Some(severity));
    push("temperature_c", row.temperature.number("Temperature(F)", above_zero())?.map(celsius));
    push("wind_chill_c", row.wind_chill.number("Wind_Chill(F)", above_zero())?.map(celsius));
    push("humidity_pct", row.humidity.number("Humidity(%)", 0.0..=100.0)?);
    push("pressure_hpa", row.pressure.number("Pressure(in)", positive())?.map(times(33.863_886_7)));
    push("visibility_km", row.visibility.number("Visibility(mi)", positive())?.map(times(MILE_KM)));
    push(
        "wind_speed_kph",
        row.wind_speed.number("Wind_Speed(mph)", positive())?.map(times(MILE_KM)),
    );
    push(
        "precipitation_mm",
        row.precipitation.number("Precipitation(in)", positive())?.map(times(25.4)),
    );
    push("distance_km", row.distance.number("Distance(mi)", positive())?.map(times(MILE_KM)));
    push("duration_min", duration_min.map(rounded));
    push("end_lat_deg", row.end_lat.number("End_Lat", -90.0..=90.0)?);
    push("end_lon_deg", row.end_lng.number("End_Lng", -180.0..=180.0)?);
    Ok(measures)
}

/// Kilometres in an international mile.
const MILE_KM: f64 = 1.609_344;

#[cfg(test)]
mod tests;
