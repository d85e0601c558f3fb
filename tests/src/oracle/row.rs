//! The columns of the CSV, by name, and the plain ones of them as attributes and tags.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use super::field_value::{FieldValue, verbatim};
use tributary_model::bad_row::Rejection;
use tributary_model::event::{Attributes, Text};

/// One row: every column of every edition that is known.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase", bound(deserialize = "'de: 'a"))]
pub(super) struct Row<'a> {
    #[serde(rename = "ID", deserialize_with = "verbatim")]
    pub id: FieldValue<'a>,
    pub source: FieldValue<'a>,
    #[serde(rename = "TMC")]
    pub tmc: FieldValue<'a>,
    pub severity: FieldValue<'a>,
    #[serde(rename = "Start_Time")]
    pub start_time: FieldValue<'a>,
    #[serde(rename = "End_Time")]
    pub end_time: FieldValue<'a>,
    #[serde(rename = "Start_Lat")]
    pub start_lat: FieldValue<'a>,
    #[serde(rename = "Start_Lng")]
    pub start_lng: FieldValue<'a>,
    #[serde(rename = "End_Lat")]
    pub end_lat: FieldValue<'a>,
    #[serde(rename = "End_Lng")]
    pub end_lng: FieldValue<'a>,
    #[serde(rename = "Distance(mi)")]
    pub distance: FieldValue<'a>,
    pub description: FieldValue<'a>,
    pub number: FieldValue<'a>,
    pub street: FieldValue<'a>,
    pub side: FieldValue<'a>,
    pub city: FieldValue<'a>,
    pub county: FieldValue<'a>,
    pub state: FieldValue<'a>,
    pub zipcode: FieldValue<'a>,
    pub country: FieldValue<'a>,
    pub timezone: FieldValue<'a>,
    #[serde(rename = "Airport_Code")]
    pub airport_code: FieldValue<'a>,
    #[serde(rename = "Weather_Timestamp")]
    pub weather_timestamp: FieldValue<'a>,
    #[serde(rename = "Temperature(F)")]
    pub temperature: FieldValue<'a>,
    #[serde(rename = "Wind_Chill(F)")]
    pub wind_chill: FieldValue<'a>,
    #[serde(rename = "Humidity(%)")]
    pub humidity: FieldValue<'a>,
    #[serde(rename = "Pressure(in)")]
    pub pressure: FieldValue<'a>,
    #[serde(rename = "Visibility(mi)")]
    pub visibility: FieldValue<'a>,
    #[serde(rename = "Wind_Direction")]
    pub wind_direction: FieldValue<'a>,
    #[serde(rename = "Wind_Speed(mph)")]
    pub wind_speed: FieldValue<'a>,
    #[serde(rename = "Precipitation(in)")]
    pub precipitation: FieldValue<'a>,
    #[serde(rename = "Weather_Condition")]
    pub weather_condition: FieldValue<'a>,
    amenity: FieldValue<'a>,
    bump: FieldValue<'a>,
    crossing: FieldValue<'a>,
    #[serde(rename = "Give_Way")]
    give_way: FieldValue<'a>,
    junction: FieldValue<'a>,
    #[serde(rename = "No_Exit")]
    no_exit: FieldValue<'a>,
    railway: FieldValue<'a>,
    roundabout: FieldValue<'a>,
    station: FieldValue<'a>,
    stop: FieldValue<'a>,
    #[serde(rename = "Traffic_Calming")]
    traffic_calming: FieldValue<'a>,
    #[serde(rename = "Traffic_Signal")]
    traffic_signal: FieldValue<'a>,
    #[serde(rename = "Turning_Loop")]
    turning_loop: FieldValue<'a>,
    #[serde(rename = "Sunrise_Sunset")]
    pub sunrise_sunset: FieldValue<'a>,
    #[serde(rename = "Civil_Twilight")]
    civil_twilight: FieldValue<'a>,
    #[serde(rename = "Nautical_Twilight")]
    nautical_twilight: FieldValue<'a>,
    #[serde(rename = "Astronomical_Twilight")]
    astronomical_twilight: FieldValue<'a>,
}

pub(super) const DAY_OR_NIGHT: &[(&str, &str)] = &[("Day", "day"), ("Night", "night")];

impl<'a> Row<'a> {
    /// The points of interest: column, tag and value of each.
    pub(super) fn flags(&self) -> [(&'static str, &'static str, &FieldValue<'a>); 13] {
        [
            ("Amenity", "amenity", &self.amenity),
            ("Bump", "bump", &self.bump),
            ("Crossing", "crossing", &self.crossing),
            ("Give_Way", "give_way", &self.give_way),
            ("Junction", "junction", &self.junction),
            ("No_Exit", "no_exit", &self.no_exit),
            ("Railway", "railway", &self.railway),
            ("Roundabout", "roundabout", &self.roundabout),
            ("Station", "station", &self.station),
            ("Stop", "stop", &self.stop),
            ("Traffic_Calming", "traffic_calming", &self.traffic_calming),
            ("Traffic_Signal", "traffic_signal", &self.traffic_signal),
            ("Turning_Loop", "turning_loop", &self.turning_loop),
        ]
    }

    /// The columns that stay text. `state` has been read already, and `weather_time` is the
    /// `Weather_Timestamp` in UTC.
    pub(super) fn into_attributes(
        self,
        state: Text<'a>,
        weather_time: Option<Timestamp>,
    ) -> Result<Attributes<'a>, Rejection> {
        let mut all = Attributes::with_capacity(20);
        for (name, text) in self.into_texts(state, weather_time)? {
            all.push_some(name, text);
        }
        Ok(all)
    }

    fn into_texts(
        self,
        state: Text<'a>,
        weather_time: Option<Timestamp>,
    ) -> Result<[(&'static str, Option<Text<'a>>); 20], Rejection> {
        let twilight = |field, value: &FieldValue<'_>| {
            value.one_of(field, DAY_OR_NIGHT).map(|word| word.map(Cow::Borrowed))
        };
        let civil = twilight("Civil_Twilight", &self.civil_twilight)?;
        let nautical = twilight("Nautical_Twilight", &self.nautical_twilight)?;
        let astronomical = twilight("Astronomical_Twilight", &self.astronomical_twilight)?;

        Ok([
            ("id", Some(self.id.required("ID")?)),
            ("city", self.city.into_text("City")?),
            ("county", self.county.into_text("County")?),
            ("state", Some(state)),
            ("zipcode", self.zipcode.into_text("Zipcode")?),
            ("country", self.country.into_text("Country")?),
            ("street_number", self.number.into_text("Number")?),
            ("street", self.street.into_text("Street")?),
            ("side", self.side.into_text("Side")?),
            ("timezone", self.timezone.into_text("Timezone")?),
            ("airport_code", self.airport_code.into_text("Airport_Code")?),
            ("weather_time", weather_time.map(|time| Cow::Owned(time.to_string()))),
            ("weather_condition", self.weather_condition.into_text("Weather_Condition")?),
            ("wind_direction", self.wind_direction.into_text("Wind_Direction")?),
            ("civil_twilight", civil),
            ("nautical_twilight", nautical),
            ("astronomical_twilight", astronomical),
            ("source", self.source.into_text("Source")?),
            ("tmc", self.tmc.into_text("TMC")?),
            ("description", self.description.into_text("Description")?),
        ])
    }
}
