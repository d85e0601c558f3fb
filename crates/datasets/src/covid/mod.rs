//! `covid`: counts of cases and deaths by county and day, in the format of the `us-counties` CSV.
//!
//! Counts are cumulative, and some rows are of no county that has a code: `Unknown`, New York City
//! and Kansas City. More deaths than cases is legal: deaths of unknown county have no cases.
//!
//! Source: The New York Times, <https://github.com/nytimes/covid-19-data>, which explains the
//! columns and the exceptions.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::Offset;
use serde::Deserialize;

use super::{Dataset, reading, rounded, times, us};
use crate::field_value::{FieldValue, missing, wrong};
use tributary_model::bad_row::{Code, Rejection};
use tributary_model::domain::{Fields, NumberSet, TextSet};
use tributary_model::event::{Attributes, Event, Measures, Text};
use tributary_model::id::Id;

/// The dataset; see the [module](self).
pub struct Covid;

const NAME: &str = "covid";

/// More than the people of any county, and of the Earth.
const MAX_COUNT: f64 = 1e10;

/// One row.
#[derive(Debug, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct Row<'a> {
    date: FieldValue<'a>,
    county: FieldValue<'a>,
    state: FieldValue<'a>,
    fips: FieldValue<'a>,
    cases: FieldValue<'a>,
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
            ("state", TextSet::one_of(us::STATES.iter().map(|(code, ..)| *code))),
            ("state_name", TextSet::one_of(us::STATES.iter().map(|(_, name, _)| *name))),
            ("fips", TextSet::any()),
        ];
        Fields::of_readings(NAME, measures, attributes, []).without_location()
    }

    fn event<'a>(
        &self,
        payload: &'a str,
        received_at: Option<Timestamp>,
    ) -> Result<Event<'a>, Rejection> {
        let row: Row<'a> = super::row(payload)?;
        let date = times::date(&row.date)?;
        // The data says no zone, and a day has no other instant than its beginning in UTC.
        let midnight = Offset::UTC.to_timestamp(date.to_datetime(Time::midnight()));
        let beyond = "is beyond what a time can name";
        let event_time =
            midnight.map_err(|_| Rejection::field(Code::InvalidTime, "date", beyond))?;
        let county = row.county.required("county")?;
        let state = row.state.text("state")?.ok_or_else(|| missing("state"))?;
        let (state, state_name) = us::state(state).ok_or_else(|| {
            let what = "is no state or territory of the United States";
            wrong(Code::UnknownValue, "state", state, what)
        })?;
        let fips = fips(row.fips)?;
        let cases = row.cases.required_whole("cases", 0.0..=MAX_COUNT)?;
        let deaths = row.deaths.whole("deaths", 0.0..=MAX_COUNT)?;

        let entity = match &fips {
            Some(fips) => fips.clone(),
            None => Cow::Owned(format!("{state}/{county}")),
        };
        let date = date.to_string();
        let event_id = Id::of_text(&[NAME, &entity, &date]);

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

        Ok(reading(NAME, event_id, entity, event_time, received_at, measures, attributes))
    }
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
        _ => Err(wrong(Code::UnknownValue, "fips", &text, "is no county code of five digits")),
    }
}

#[cfg(test)]
mod tests;
