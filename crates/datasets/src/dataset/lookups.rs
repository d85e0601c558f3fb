//! Lookup tables of a schema, and the rows that a row selects in them.

use jiff::tz::TimeZone;

use tributary_model::bad_row::{Code, Rejection};

use super::source::Source;
use crate::lookup::Table;
use crate::row::Row;
use crate::value::ValueError;

/// Maximum lookups of a schema.
pub(super) const MAX_LOOKUPS: usize = 8;

/// The lookups of a schema.
#[derive(Debug, Default)]
pub(crate) struct Lookups(pub(super) Vec<Lookup>);

/// A lookup: a table, and the columns that hold its key.
#[derive(Debug)]
pub(crate) struct Lookup {
    pub name: String,
    pub table: Table,
    pub source: Source,
    pub is_required: bool,
}

/// Column of a lookup.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookupColumn {
    pub lookup: usize,
    pub column: usize,
}

/// Selected row of each lookup.
pub(crate) type Matches = [Option<usize>; MAX_LOOKUPS];

impl Lookups {
    /// Returns the row that each lookup selects.
    ///
    /// # Errors
    ///
    /// [`Code::MissingField`] or [`Code::UnknownValue`] if a required lookup selects none.
    pub(super) fn find(&self, row: &Row<'_>) -> Result<Matches, Rejection> {
        let mut matches = Matches::default();
        for (lookup, found) in self.0.iter().zip(&mut matches) {
            let read = lookup.source.read(row, |key| match lookup.table.find(key) {
                None if lookup.is_required => {
                    let what = format!("is not in lookups/{}", lookup.table.file());
                    Err(ValueError::of(Code::UnknownValue, key, &what))
                }
                row => Ok(row),
            });
            *found = match read {
                Ok(Some((_, row))) => row,
                Ok(None) if lookup.is_required => return Err(lookup.source.empty()),
                Err(rejection) if lookup.is_required => return Err(rejection),
                _ => None,
            };
        }
        Ok(matches)
    }

    /// Returns the text of a column in the selected row.
    pub(super) fn text(&self, matches: &Matches, at: LookupColumn) -> Option<&str> {
        self.0[at.lookup].table.text(matches[at.lookup]?, at.column)
    }

    /// Returns the key that selected the row of a lookup, for messages.
    pub(super) fn key(&self, lookup: usize, row: &Row<'_>) -> String {
        let key = self.0[lookup].source.read(row, |key| Ok(key.to_owned()));
        key.ok().flatten().map(|(_, key)| key).unwrap_or_default()
    }
}

/// Time zone of each row of a lookup.
#[derive(Debug)]
pub(crate) struct LookupZones {
    pub lookup: usize,
    pub zones: Vec<Option<TimeZone>>,
}

impl LookupZones {
    /// Returns the zone of the selected row.
    pub(super) fn zone(&self, matches: &Matches) -> Option<&TimeZone> {
        self.zones[matches[self.lookup]?].as_ref()
    }
}
