//! Location of a row.

use tributary_model::bad_row::{Code, Rejection};
use tributary_model::event::Location;

use super::lookups::Matches;
use super::source::Source;
use crate::place::{Place, PlaceError, place, point};
use crate::row::Row;
use crate::schema::DecimalMark;
use crate::value::{ValueError, number};

/// Reads the location of rows.
#[derive(Debug)]
pub(crate) struct LocationReader {
    pub columns: LocationColumns,
    /// A lookup, and the location of each of its rows.
    pub otherwise: Option<(usize, Vec<Option<Location<'static>>>)>,
    pub is_required: bool,
}

/// Columns of a location.
#[derive(Debug)]
pub(crate) enum LocationColumns {
    /// A column of any form.
    One(Source),
    /// Latitude and longitude, and the decimal mark of both.
    Two([Source; 2], DecimalMark),
}

impl LocationReader {
    pub(super) fn is_required(&self) -> bool {
        self.is_required
    }

    /// Returns the location of the selected row of the lookup.
    pub(super) fn otherwise(&self, matches: &Matches) -> Option<Location<'static>> {
        let (lookup, locations) = self.otherwise.as_ref()?;
        locations[matches[*lookup]?].clone()
    }

    /// Returns the place that the columns name.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] if it is invalid.
    pub(super) fn read<'a>(&self, row: &Row<'a>) -> Result<Place<'a>, Rejection> {
        match &self.columns {
            LocationColumns::One(source) => one(source, row),
            LocationColumns::Two(sources, decimal) => two(sources, *decimal, row),
        }
    }

    /// Returns the rejection of a row without coordinates.
    pub(super) fn missing(&self) -> Rejection {
        match &self.columns {
            LocationColumns::One(source) | LocationColumns::Two([source, _], _) => source.empty(),
        }
    }
}

fn one<'a>(source: &Source, row: &Row<'a>) -> Result<Place<'a>, Rejection> {
    let Some((column, value)) = source.value(row) else { return Ok(Place::default()) };
    let read = place(value, source.missing_values());
    read.map_err(|PlaceError { part, error }| match part {
        Some(part) => error.reject(&format!("{column}.{part}")),
        None => error.reject(column),
    })
}

fn two<'a>(
    [lat, lon]: &[Source; 2],
    decimal: DecimalMark,
    row: &Row<'a>,
) -> Result<Place<'a>, Rejection> {
    match (degrees(lat, decimal, row, 90.0)?, degrees(lon, decimal, row, 180.0)?) {
        (None, None) => Ok(Place::default()),
        (None, _) => Err(lat.empty()),
        (_, None) => Err(lon.empty()),
        (Some((column, lat)), Some((_, lon))) => {
            let point = point(lat, lon).map_err(|fault| fault.error.reject(column))?;
            Ok(Place { point: Some(point), name: None })
        }
    }
}

/// Reads a coordinate of at most `max` degrees, with its column.
fn degrees<'s>(
    source: &'s Source,
    decimal: DecimalMark,
    row: &Row<'_>,
    max: f64,
) -> Result<Option<(&'s str, f64)>, Rejection> {
    source.read_first(row, |value, text| {
        let degrees = number(text, decimal.of(value))?;
        if (-max..=max).contains(&degrees) {
            return Ok(Some(degrees));
        }
        let what = format!("is outside -{max} to {max}");
        Err(ValueError::of(Code::OutOfRange, text, &what))
    })
}
