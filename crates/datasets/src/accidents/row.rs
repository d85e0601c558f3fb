//! The columns of the CSV, by name, and the plain ones of them as attributes and tags.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use crate::field_value::FieldValue;
use crate::us;
use tributary_model::bad_row::Rejection;
use tributary_model::domain::TextSet;
use tributary_model::event::{Attributes, Text};

/// One row: every column of every edition that is known.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Row<'a> {
    #[serde(borrow, rename = "ID")]
    pub id: FieldValue<'a>,
    #[serde(borrow, rename = "Source")]
    pub source: FieldValue<'a>,
    #[serde(borrow, rename = "TMC")]
    pub tmc: FieldValue<'a>,
    #[serde(borrow, rename = "Severity")]
    pub severity: FieldValue<'a>,
    #[serde(borrow, rename = "Start_Time")]
    pub start_time: FieldValue<'a>,
    #[serde(borrow, rename = "End_Time")]
    pub end_time: FieldValue<'a>,
    #[serde(borrow, rename = "Start_Lat")]
    pub start_lat: FieldValue<'a>,
    #[serde(borrow, rename = "Start_Lng")]
    pub start_lng: FieldValue<'a>,
    #[serde(borrow, rename = "End_Lat")]
    pub end_lat: FieldValue<'a>,
    #[serde(borrow, rename = "End_Lng")]
    pub end_lng: FieldValue<'a>,
    #[serde(borrow, rename = "Distance(mi)")]
    pub distance: FieldValue<'a>,
    #[serde(borrow, rename = "Description")]
    pub description: FieldValue<'a>,
    #[serde(borrow, rename = "Number")]
    pub number: FieldValue<'a>,
    #[serde(borrow, rename = "Street")]
    pub street: FieldValue<'a>,
    #[serde(borrow, rename = "Side")]
    pub side: FieldValue<'a>,
    #[serde(borrow, rename = "City")]
    pub city: FieldValue<'a>,
    #[serde(borrow, rename = "County")]
    pub county: FieldValue<'a>,
    #[serde(borrow, rename = "State")]
    pub state: FieldValue<'a>,
    #[serde(borrow, rename = "Zipcode")]
    pub zipcode: FieldValue<'a>,
    #[serde(borrow, rename = "Country")]
    pub country: FieldValue<'a>,
    #[serde(borrow, rename = "Timezone")]
    pub timezone: FieldValue<'a>,
    #[serde(borrow, rename = "Airport_Code")]
    pub airport_code: FieldValue<'a>,
    #[serde(borrow, rename = "Weather_Timestamp")]
    pub weather_timestamp: FieldValue<'a>,
    #[serde(borrow, rename = "Temperature(F)")]
    pub temperature: FieldValue<'a>,
    #[serde(borrow, rename = "Wind_Chill(F)")]
    pub wind_chill: FieldValue<'a>,
    #[serde(borrow, rename = "Humidity(%)")]
    pub humidity: FieldValue<'a>,
    #[serde(borrow, rename = "Pressure(in)")]
    pub pressure: FieldValue<'a>,
    #[serde(borrow, rename = "Visibility(mi)")]
    pub visibility: FieldValue<'a>,
    #[serde(borrow, rename = "Wind_Direction")]
    pub wind_direction: FieldValue<'a>,
    #[serde(borrow, rename = "Wind_Speed(mph)")]
    pub wind_speed: FieldValue<'a>,
    #[serde(borrow, rename = "Precipitation(in)")]
    pub precipitation: FieldValue<'a>,
    #[serde(borrow, rename = "Weather_Condition")]
    pub weather_condition: FieldValue<'a>,
    #[serde(borrow, rename = "Amenity")]
    amenity: FieldValue<'a>,
    #[serde(borrow, rename = "Bump")]
    bump: FieldValue<'a>,
    #[serde(borrow, rename = "Crossing")]
    crossing: FieldValue<'a>,
    #[serde(borrow, rename = "Give_Way")]
    give_way: FieldValue<'a>,
    #[serde(borrow, rename = "Junction")]
    junction: FieldValue<'a>,
    #[serde(borrow, rename = "No_Exit")]
    no_exit: FieldValue<'a>,
    #[serde(borrow, rename = "Railway")]
    railway: FieldValue<'a>,
    #[serde(borrow, rename = "Roundabout")]
    roundabout: FieldValue<'a>,
    #[serde(borrow, rename = "Station")]
    station: FieldValue<'a>,
    #[serde(borrow, rename = "Stop")]
    stop: FieldValue<'a>,
    #[serde(borrow, rename = "Traffic_Calming")]
    traffic_calming: FieldValue<'a>,
    #[serde(borrow, rename = "Traffic_Signal")]
    traffic_signal: FieldValue<'a>,
    #[serde(borrow, rename = "Turning_Loop")]
    turning_loop: FieldValue<'a>,
    #[serde(borrow, rename = "Sunrise_Sunset")]
    sunrise_sunset: FieldValue<'a>,
    #[serde(borrow, rename = "Civil_Twilight")]
    civil_twilight: FieldValue<'a>,
    #[serde(borrow, rename = "Nautical_Twilight")]
    nautical_twilight: FieldValue<'a>,
    #[serde(borrow, rename = "Astronomical_Twilight")]
    astronomical_twilight: FieldValue<'a>,
}

pub(super) const DAY_OR_NIGHT: &[(&str, &str)] = &[("Day", "day"), ("Night", "night")];

/// The tags of points of interest.
pub(super) const FLAGS: [&str; 13] = [
    "amenity",
    "bump",
    "crossing",
    "give_way",
    "junction",
    "no_exit",
    "railway",
    "roundabout",
    "station",
    "stop",
    "traffic_calming",
    "traffic_signal",
    "turning_loop",
];

/// The attributes that [`Row::into_attributes`] gives, and what each can be.
pub(super) fn attributes() -> impl Iterator<Item = (&'static str, TextSet)> {
    let open = [
        "id",
        "city",
        "county",
        "zipcode",
        "country",
        "street_number",
        "street",
        "side",
        "timezone",
        "airport_code",
        "weather_time",
        "weather_condition",
        "wind_direction",
        "source",
        "tmc",
        "description",
    ];
    let twilights = ["civil_twilight", "nautical_twilight", "astronomical_twilight"];
    let day_or_night = || TextSet::one_of(DAY_OR_NIGHT.iter().map(|(_, name)| *name));
    open.map(|name| (name, TextSet::any()))
        .into_iter()
        .chain(twilights.map(|name| (name, day_or_night())))
        .chain([("state", TextSet::one_of(us::codes()))])
}

impl<'a> Row<'a> {
    /// Adds a tag for each point of interest that is true.
    pub(super) fn push_flags(&self, tags: &mut Vec<Text<'_>>) -> Result<(), Rejection> {
        let flags = [
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
        ];
        for (column, tag, value) in flags {
            if value.flag(column)? == Some(true) {
                tags.push(Cow::Borrowed(tag));
            }
        }
        Ok(())
    }

    /// The tag `day` or `night`, by sunrise and sunset.
    pub(super) fn day_or_night(&self) -> Result<Option<&'static str>, Rejection> {
        self.sunrise_sunset.one_of("Sunrise_Sunset", DAY_OR_NIGHT)
    }

    /// The columns that stay text. `state` has been read already, and `weather_time` is the
    /// `Weather_Timestamp` in UTC.
    pub(super) fn into_attributes(
        self,
        state: Text<'a>,
        weather_time: Option<Timestamp>,
    ) -> Result<Attributes<'a>, Rejection> {
        let twilight = |field, value: &FieldValue<'_>| value.one_of(field, DAY_OR_NIGHT);
        let civil = twilight("Civil_Twilight", &self.civil_twilight)?;
        let nautical = twilight("Nautical_Twilight", &self.nautical_twilight)?;
        let astronomical = twilight("Astronomical_Twilight", &self.astronomical_twilight)?;

        let mut all = Attributes::with_capacity(20);
        all.push("id", self.id.required("ID")?);
        all.push_some("city", self.city.into_text("City")?);
        all.push_some("county", self.county.into_text("County")?);
        all.push("state", state);
        all.push_some("zipcode", self.zipcode.into_text("Zipcode")?);
        all.push_some("country", self.country.into_text("Country")?);
        all.push_some("street_number", self.number.into_text("Number")?);
        all.push_some("street", self.street.into_text("Street")?);
        all.push_some("side", self.side.into_text("Side")?);
        all.push_some("timezone", self.timezone.into_text("Timezone")?);
        all.push_some("airport_code", self.airport_code.into_text("Airport_Code")?);
        all.push_some("weather_time", weather_time.map(|time| time.to_string()));
        all.push_some("weather_condition", self.weather_condition.into_text("Weather_Condition")?);
        all.push_some("wind_direction", self.wind_direction.into_text("Wind_Direction")?);
        all.push_some("civil_twilight", civil);
        all.push_some("nautical_twilight", nautical);
        all.push_some("astronomical_twilight", astronomical);
        all.push_some("source", self.source.into_text("Source")?);
        all.push_some("tmc", self.tmc.into_text("TMC")?);
        all.push_some("description", self.description.into_text("Description")?);
        Ok(all)
    }
}
