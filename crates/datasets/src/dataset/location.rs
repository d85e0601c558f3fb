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
    /// Latitude and longitude.
    Two([Source; 2]),
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
    /// A [`Rejection`] if it is invalid, or required and absent.
    pub(super) fn read<'a>(&self, row: &Row<'a>) -> Result<Place<'a>, Rejection> {
        match &self.columns {
            LocationColumns::One(source) => self.one(source, row),
            LocationColumns::Two(sources) => self.two(sources, row),
        }
    }

    fn one<'a>(&self, source: &Source, row: &Row<'a>) -> Result<Place<'a>, Rejection> {
        let found = match source.value(row) {
            None => Place::default(),
            Some((column, value)) => {
                let read = place(value, source.missing_values());
                read.map_err(|PlaceError { part, error }| match part {
                    Some(part) => error.reject(&format!("{column}.{part}")),
                    None => error.reject(column),
                })?
            }
        };
        if self.is_required && found.point.is_none() {
            return Err(source.empty());
        }
        Ok(found)
    }

    fn two<'a>(&self, sources: &[Source; 2], row: &Row<'a>) -> Result<Place<'a>, Rejection> {
        let [lat, lon] = sources;
        match (degrees(lat, row, 90.0)?, degrees(lon, row, 180.0)?) {
            (None, None) if !self.is_required => Ok(Place::default()),
            (None, _) => Err(lat.empty()),
            (_, None) => Err(lon.empty()),
            (Some((column, lat)), Some((_, lon))) => {
                let point = point(lat, lon).map_err(|fault| fault.error.reject(column))?;
                Ok(Place { point: Some(point), name: None })
            }
        }
    }
}

/// Reads a coordinate of at most `max` degrees, with its column.
fn degrees<'s>(
    source: &'s Source,
    row: &Row<'_>,
    max: f64,
) -> Result<Option<(&'s str, f64)>, Rejection> {
    source.read(row, |text| {
        let degrees = number(text, DecimalMark::Point)?;
        if (-max..=max).contains(&degrees) {
            return Ok(degrees);
        }
        let what = format!("is outside -{max} to {max}");
        Err(ValueError::of(Code::OutOfRange, text, &what))
    })
}
