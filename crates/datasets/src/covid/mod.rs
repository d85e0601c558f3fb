//! `covid`: counts of cases and deaths by county and day, in the format of the `us-counties` CSV.
//!
//! Counts are cumulative, and some rows are of no county that has a code: `Unknown`, New York City
//! and Kansas City. More deaths than cases is legal: deaths of unknown county have no cases.
//!
//! Source: The New York Times, <https://github.com/nytimes/covid-19-data>, which explains the
//! columns and the exceptions.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use serde::Deserialize;

use super::{Dataset, rounded, times, us};
use crate::field_value::{FieldValue, missing};
use tributary_model::bad_row::{Code, Rejection, shown};
use tributary_model::domain::{Fields, NumberSet, TextSet};
use tributary_model::event::{Attributes, Event, Kind, Measures, Text};
use tributary_model::id::Id;

/// The dataset; see the [module](self).
pub struct Covid;

const NAME: &str = "covid";

/// More than the people of any county, and of the Earth.
const MAX_COUNT: f64 = 1e10;

/// One row.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row<'a> {
    #[serde(borrow)]
    date: FieldValue<'a>,
    #[serde(borrow)]
    county: FieldValue<'a>,
    #[serde(borrow)]
    state: FieldValue<'a>,
    #[serde(borrow)]
    fips: FieldValue<'a>,
    #[serde(borrow)]
    cases: FieldValue<'a>,
    #[serde(borrow)]
    deaths: FieldValue<'a>,
}

impl Dataset for Covid {
    fn name(&self) -> &'static str {
        NAME
    }

    // `fips` and `deaths` may be empty, and a JSON object may leave out what is empty.
    fn required_columns(&self) -> &'static [&'static [&'static str]] {
        &[&["date"], &["county"], &["state"], &["cases"]]
    }

    // The counts of a county grow from day to day, so its rows keep their order.
    fn partition_columns(&self) -> &'static [&'static str] {
        &["fips", "county"]
    }

    fn fields(&self) -> Fields {
        let counts = || NumberSet::whole(0.0, MAX_COUNT);
        // More deaths than cases is legal.
        let fatality = NumberSet::between(0.0, 100.0 * MAX_COUNT);
        let measures = [("cases", counts()), ("deaths", counts()), ("case_fatality_pct", fatality)];
        let attributes = [
            ("date", TextSet::any()),
            ("county", TextSet::any()),
            ("state", TextSet::one_of(us::codes())),
            ("state_name", TextSet::one_of(us::names())),
            ("fips", TextSet::any()),
        ];
        Fields::of_readings(NAME, measures, attributes, []).without_location()
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
    let date = times::date(&row.date, "date")?.ok_or_else(|| missing("date"))?;
    let event_time = midnight(date)?;
    let county = row.county.required("county")?;
    let (state, state_name) = state(&row.state)?;
    let fips = fips(row.fips)?;
    let cases = row.cases.required_whole("cases", 0.0..=MAX_COUNT)?;
    let deaths = row.deaths.whole("deaths", 0.0..=MAX_COUNT)?;

    let entity = match &fips {
        Some(fips) => fips.clone(),
        None => Cow::Owned(format!("{state}/{county}")),
    };
    let date = date.to_string();
    let event_id = Id::of_text(&[NAME, &entity, &date]).to_string();

    let mut measures = Measures::with_capacity(3);
    measures.push("cases", cases);
    measures.push_some("deaths", deaths);
    let fatality = deaths.filter(|_| cases > 0.0).map(|deaths| rounded(100.0 * deaths / cases));
    measures.push_some("case_fatality_pct", fatality);

    let mut attributes = Attributes::with_capacity(5);
    attributes.push("date", date);
    attributes.push("county", county);
    attributes.push("state", state);
    attributes.push("state_name", state_name);
    attributes.push_some("fips", fips);

    Ok(Event {
        kind: Kind::Reading,
        dataset: Cow::Borrowed(NAME),
        event_id: Cow::Owned(event_id),
        entity,
        event_time,
        received_at: received_at.unwrap_or(event_time),
        location: None,
        measures,
        attributes,
        tags: Vec::new(),
        window: None,
    })
}

/// The beginning of a date in UTC: the data says no zone, and a day has no other instant.
fn midnight(date: Date) -> Result<Timestamp, Rejection> {
    Offset::UTC
        .to_timestamp(date.to_datetime(jiff::civil::Time::midnight()))
        .map_err(|_| Rejection::field(Code::InvalidTime, "date", "is beyond what a time can name"))
}

/// The postal code and the name of the state.
fn state(value: &FieldValue<'_>) -> Result<(&'static str, &'static str), Rejection> {
    let text = value.text("state")?.ok_or_else(|| missing("state"))?;
    us::state(text).ok_or_else(|| {
        let message = format!("{} is no state or territory of the United States", shown(text));
        Rejection::field(Code::UnknownValue, "state", message)
    })
}

/// The county's code of five digits. Where a number lost the zero in front, it is put back: no code
/// has four digits.
///
/// See <https://www.census.gov/library/reference/code-lists/ansi.html>.
fn fips(value: FieldValue<'_>) -> Result<Option<Text<'_>>, Rejection> {
    let Some(text) = value.into_text("fips")? else { return Ok(None) };
    let is_code = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.len() {
        5 if is_code => Ok(Some(text)),
        4 if is_code => Ok(Some(Cow::Owned(format!("0{text}")))),
        _ => {
            let message = format!("{} is no county code of five digits", shown(&text));
            Err(Rejection::field(Code::UnknownValue, "fips", message))
        }
    }
}

#[cfg(test)]
mod tests;
