//! Location of a row: a name, a pair of coordinates, or an object with them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use tributary_model::bad_row::Code;
use tributary_model::event::{Location, Text};

use crate::row::Value;
use crate::schema::DecimalMark;
use crate::value::{Missing, ValueError, number};

/// Parsed value of a location column.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Place<'a> {
    /// The coordinates.
    pub point: Option<Location<'static>>,
    /// The name, where it is one.
    pub name: Option<Text<'a>>,
}

/// Error of a location, with the coordinate at fault: `latitude`, `longitude` or none.
#[derive(Debug)]
pub(crate) struct PlaceError {
    pub part: Option<&'static str>,
    pub error: ValueError,
}

impl From<ValueError> for PlaceError {
    fn from(error: ValueError) -> Self {
        Self { part: None, error }
    }
}

/// An object with coordinates; whatever else it holds is not read. `GeoJSON` has them in a list,
/// longitude first.
///
/// See <https://www.rfc-editor.org/rfc/rfc7946#section-3.1.2>.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Point<'a> {
    #[serde(borrow, alias = "lat")]
    latitude: Option<&'a RawValue>,
    #[serde(borrow, alias = "lon", alias = "lng", alias = "long")]
    longitude: Option<&'a RawValue>,
    #[serde(borrow)]
    coordinates: Option<Vec<&'a RawValue>>,
}

/// Names of [`Point`].
const NAMES: [&str; 7] = ["latitude", "lat", "longitude", "lon", "lng", "long", "coordinates"];

/// Reads the place of a column: an object with `latitude` and `longitude`, `lat` and `lon`, `lng` or
/// `long`, in degrees, as text or as JSON; a `GeoJSON` point; the text `lat,lon`; or a name, which is
/// a text with a letter in it.
///
/// An object with two null coordinates is absent: the device does not know its position.
///
/// # Errors
///
/// [`Code::OutOfRange`] for coordinates that are not on Earth, [`Code::InvalidNumber`] for a value
/// that is not a number, [`Code::MissingField`] for a single coordinate, [`Code::DuplicateField`]
/// for a repeated one, and [`Code::UnknownValue`] for anything else, such as an object without any
/// of the names.
pub(crate) fn place<'a>(value: &Value<'a>, missing: &Missing) -> Result<Place<'a>, PlaceError> {
    if let Value::Nested(json) = value {
        return Ok(Place { point: object(json)?, name: None });
    }
    let Some(text) = value.text(missing)? else { return Ok(Place::default()) };
    if text.starts_with('{') {
        return Ok(Place { point: object(&text)?, name: None });
    }
    if let Some((lat, lon)) = coordinates(&text) {
        return Ok(Place { point: Some(point(lat?, lon?)?), name: None });
    }
    if text.contains(char::is_alphabetic) {
        return Ok(Place { point: None, name: Some(text) });
    }
    let what = "is neither a name nor latitude,longitude";
    Err(ValueError::of(Code::UnknownValue, &text, what).into())
}

type Coordinate = Result<f64, ValueError>;

/// Returns the two numbers of `lat,lon`; `None` if the text is not two numbers.
fn coordinates(text: &str) -> Option<(Coordinate, Coordinate)> {
    let (lat, lon) = text.split_once(',')?;
    let [lat, lon] = [lat.trim(), lon.trim()];
    let is_number = |text: &str| text.parse::<f64>().is_ok();
    let read = |text| number(text, DecimalMark::Point);
    (is_number(lat) && is_number(lon)).then(|| (read(lat), read(lon)))
}

fn object(json: &str) -> Result<Option<Location<'static>>, PlaceError> {
    let unknown = |message: &str| ValueError::new(Code::UnknownValue, message);
    if !json.trim_ascii_start().starts_with('{') {
        return Err(
            unknown("is an array and should be an object with latitude and longitude").into()
        );
    }
    let Point { latitude, longitude, coordinates } =
        serde_json::from_str(json).map_err(|error| {
            if error.to_string().starts_with("duplicate field") {
                ValueError::new(Code::DuplicateField, "is there more than once")
            } else {
                unknown("is no object that can be read")
            }
        })?;
    let (latitude, longitude) = match coordinates.as_deref() {
        Some([lon, lat, ..]) => (Some(*lat), Some(*lon)),
        Some([_]) => return Err(unknown("has a single coordinate").into()),
        _ => (latitude, longitude),
    };
    let read = |part, raw: Option<&RawValue>| {
        coordinate(raw).map_err(|error| PlaceError { part: Some(part), error })
    };
    let missing = |part| {
        let error = ValueError::new(Code::MissingField, "is required and empty");
        PlaceError { part: Some(part), error }
    };
    match (read("latitude", latitude)?, read("longitude", longitude)?) {
        (None, None) if may_be_empty(json) => Ok(None),
        (None, None) => Err(unknown("has no latitude and longitude").into()),
        (None, Some(_)) => Err(missing("latitude")),
        (Some(_), None) => Err(missing("longitude")),
        (Some(lat), Some(lon)) => point(lat, lon).map(Some),
    }
}

/// Returns `true` for an object without coordinates that has nothing, or a known name of one.
fn may_be_empty(json: &str) -> bool {
    let names: BTreeMap<String, serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
    names.is_empty() || names.keys().any(|name| NAMES.contains(&name.as_str()))
}

/// Reads a coordinate: a number or the text of one.
fn coordinate(raw: Option<&RawValue>) -> Result<Option<f64>, ValueError> {
    let Some(raw) = raw.map(RawValue::get) else { return Ok(None) };
    let text: Cow<'_, str> = match raw.as_bytes().first() {
        Some(b'"') => {
            let read = serde_json::from_str::<String>(raw);
            let unreadable =
                |_| ValueError::new(Code::UnknownValue, "is a text that cannot be read");
            Cow::Owned(read.map_err(unreadable)?.trim().to_owned())
        }
        Some(b'{' | b'[') => {
            let message = "is an object or an array and should be a single value";
            return Err(ValueError::new(Code::UnknownValue, message));
        }
        Some(b'n') | None => Cow::Borrowed(""),
        Some(_) => Cow::Borrowed(raw),
    };
    if text.is_empty() { Ok(None) } else { number(&text, DecimalMark::Point).map(Some) }
}

/// Returns the location at `lat` and `lon` degrees.
///
/// # Errors
///
/// [`Code::OutOfRange`] beyond -90 to 90 or -180 to 180, with the coordinate at fault.
pub(crate) fn point(lat: f64, lon: f64) -> Result<Location<'static>, PlaceError> {
    for (part, value, max) in [("latitude", lat, 90.0), ("longitude", lon, 180.0)] {
        if !(-max..=max).contains(&value) {
            let message = format!("\"{value}\" is outside -{max} to {max}");
            let error = ValueError::new(Code::OutOfRange, message);
            return Err(PlaceError { part: Some(part), error });
        }
    }
    Location::new(lat, lon)
        .ok_or_else(|| ValueError::new(Code::OutOfRange, "is no place on Earth").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Result<Place<'_>, PlaceError> {
        let value = match json.as_bytes()[0] {
            b'{' | b'[' => Value::Nested(json),
            b'n' => Value::Null,
            b'"' => Value::Text(serde_json::from_str::<String>(json).unwrap().into()),
            _ => Value::Number(json),
        };
        place(&value, &Missing::default())
    }

    #[test]
    fn coordinates_are_read_in_each_shape() {
        for json in [
            r#""52.3676,4.9041""#,
            r#"" 52.3676 , 4.9041 ""#,
            r#"{"latitude":52.3676,"longitude":4.9041}"#,
            r#"{"lon":"4.9041","lat":"52.3676","altitude":[1]}"#,
            r#"{"lat":52.3676,"lng":4.9041}"#,
            r#"{"type":"Point","coordinates":[4.9041,52.3676,3.5]}"#,
            r#""{\"lat\":52.3676,\"lon\":4.9041}""#,
        ] {
            let place = of(json).unwrap();
            let point = place.point.unwrap();
            assert_eq!((point.lat, point.lon, place.name), (52.3676, 4.9041, None), "{json}");
        }
    }

    #[test]
    fn a_name_stays_text() {
        for name in ["River bend 12", "Mill Street, Oxbow", "4, Weir Lane", "橋"] {
            let json = format!("\" {name} \"");
            let expected = Place { point: None, name: Some(name.into()) };
            assert_eq!(of(&json).ok(), Some(expected));
        }
    }

    #[test]
    fn null_coordinates_are_no_place() {
        for json in [
            "null",
            r#""  ""#,
            "{}",
            r#"{"latitude":null,"longitude":""}"#,
            r#"{"coordinates":[]}"#,
        ] {
            assert_eq!(of(json).ok(), Some(Place::default()), "{json}");
        }
    }

    #[test]
    fn invalid_place_is_rejected_by_code_and_part() {
        for (json, code, part) in [
            (r#""91,4""#, Code::OutOfRange, Some("latitude")),
            (r#""52,-180.5""#, Code::OutOfRange, Some("longitude")),
            (r#"{"lat":-90.1,"lon":4}"#, Code::OutOfRange, Some("latitude")),
            (r#"{"latitude":52,"longitude":181}"#, Code::OutOfRange, Some("longitude")),
            (r#""NaN,4""#, Code::InvalidNumber, None),
            (r#"{"lat":"north","lon":4}"#, Code::InvalidNumber, Some("latitude")),
            (r#"{"lat":52}"#, Code::MissingField, Some("longitude")),
            (r#"{"longitude":4}"#, Code::MissingField, Some("latitude")),
            (r#"{"lat":52,"lat":53,"lon":4}"#, Code::DuplicateField, None),
            (r#"{"lat":52,"latitude":52,"lon":4}"#, Code::DuplicateField, None),
            (r#"{"lat":[52],"lon":4}"#, Code::UnknownValue, Some("latitude")),
            ("[52,4]", Code::UnknownValue, None),
            (r#""52.3676;4.9041""#, Code::UnknownValue, None),
            (r#""52,3676,4,9041""#, Code::UnknownValue, None),
            (r#""{lat:52,lon:4}""#, Code::UnknownValue, None),
            ("12", Code::UnknownValue, None),
            (r#"{"Lat":52,"Lon":4}"#, Code::UnknownValue, None),
            (r#"{"type":"Feature","geometry":{}}"#, Code::UnknownValue, None),
            (r#"{"coordinates":[4.9]}"#, Code::UnknownValue, None),
        ] {
            let PlaceError { part: found, error } = of(json).unwrap_err();
            assert_eq!((error.code, found), (code, part), "{json}");
        }
    }
}
