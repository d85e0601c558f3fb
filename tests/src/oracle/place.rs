//! Location of a reading: a name, a pair of coordinates, or an object with them.

use std::borrow::Cow;

use serde::Deserialize;

use super::field_value::{FieldValue, missing, wrong};
use tributary_model::bad_row::{Code, Rejection};
use tributary_model::event::{Location, Text};

const FIELD: &str = "location";
const LATITUDE: &str = "location.latitude";
const LONGITUDE: &str = "location.longitude";

/// Parsed `location`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Place<'a> {
    /// The coordinates.
    pub point: Option<Location<'static>>,
    /// The name, where it is one.
    pub name: Option<Text<'a>>,
}

/// An object with coordinates; whatever else it holds is not read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Point<'a> {
    #[serde(borrow, alias = "lat")]
    latitude: FieldValue<'a>,
    #[serde(borrow, alias = "lon")]
    longitude: FieldValue<'a>,
}

/// Reads the place of a field: an object with `latitude` and `longitude` or `lat` and `lon`, in
/// degrees, as text or as JSON that was read [verbatim](super::field_value::verbatim); the text
/// `lat,lon`; or a name, which is a text with a letter in it.
///
/// An object with two null coordinates is absent: the device does not know its position.
///
/// # Errors
///
/// [`Code::OutOfRange`] for coordinates that are not on Earth, [`Code::InvalidNumber`] for a value
/// that is not a number, [`Code::MissingField`] for a single coordinate, [`Code::DuplicateField`]
/// for a repeated one, and [`Code::UnknownValue`] for anything else.
pub(super) fn place(value: FieldValue<'_>) -> Result<Place<'_>, Rejection> {
    if let FieldValue::Json(json) = value {
        return Ok(Place { point: object(json)?, name: None });
    }
    let Some(text) = value.into_text(FIELD)? else { return Ok(Place::default()) };
    if text.starts_with('{') {
        return Ok(Place { point: object(&text)?, name: None });
    }
    if let Some((lat, lon)) = coordinates(&text) {
        return Ok(Place { point: Some(point([(&lat, FIELD), (&lon, FIELD)])?), name: None });
    }
    if text.contains(char::is_alphabetic) {
        return Ok(Place { point: None, name: Some(text) });
    }
    let what = "is neither a name nor latitude,longitude";
    Err(wrong(Code::UnknownValue, FIELD, &text, what))
}

/// The two numbers of `lat,lon`; of what is not two numbers, none.
fn coordinates(text: &str) -> Option<(FieldValue<'_>, FieldValue<'_>)> {
    let number = |text: &'_ str| text.trim().parse::<f64>().is_ok();
    let (lat, lon) = text.split_once(',')?;
    let value = |text| FieldValue::Text(Cow::Borrowed(text));
    (number(lat) && number(lon)).then(|| (value(lat), value(lon)))
}

fn object(json: &str) -> Result<Option<Location<'static>>, Rejection> {
    let unknown = |message: &str| Rejection::field(Code::UnknownValue, FIELD, message);
    if !super::is_object(json.as_bytes()) {
        return Err(unknown("is an array and should be an object with latitude and longitude"));
    }
    let Point { latitude, longitude } = serde_json::from_str(json).map_err(|error| {
        let rejection = super::unreadable(&error);
        match rejection.code {
            Code::DuplicateField => Rejection { field: Some(FIELD.into()), ..rejection },
            _ => unknown("is no object that can be read"),
        }
    })?;
    match (latitude.text(LATITUDE)?, longitude.text(LONGITUDE)?) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(missing(LATITUDE)),
        (Some(_), None) => Err(missing(LONGITUDE)),
        (Some(_), Some(_)) => point([(&latitude, LATITUDE), (&longitude, LONGITUDE)]).map(Some),
    }
}

/// Reads the two coordinates of a place, from -90 to 90 and -180 to 180 degrees.
pub(super) fn point(
    [(lat, lat_field), (lon, lon_field)]: [(&FieldValue<'_>, &'static str); 2],
) -> Result<Location<'static>, Rejection> {
    let lat = lat.required_number(lat_field, -90.0..=90.0)?;
    let lon = lon.required_number(lon_field, -180.0..=180.0)?;
    Location::new(lat, lon)
        .ok_or_else(|| Rejection::field(Code::OutOfRange, lat_field, "is no place on Earth"))
}
