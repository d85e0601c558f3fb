//! Lookup tables: the files of `config/lookups/`.

use std::collections::HashMap;

use jiff::tz::TimeZone;

use tributary_model::event::Location;
use tributary_rows::{Limits, Next, ObjectReader};

/// A reference table with a key.
#[derive(Debug)]
pub(crate) struct Table {
    file: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Index of the first key column.
    key: usize,
    /// Row of each key; if `ignore_case`, of each key in lower case and as written.
    index: HashMap<String, usize>,
    ignore_case: bool,
}

impl Table {
    /// Reads a CSV text. Each of the `keys` columns names a row, with or without regard to case.
    ///
    /// # Errors
    ///
    /// Returns a message with file and row.
    pub(crate) fn read(
        file: &str,
        text: &str,
        keys: &[&str],
        ignore_case: bool,
    ) -> Result<Self, String> {
        let (columns, rows) = read_csv(file, text)?;
        let mut table = Self {
            file: file.to_owned(),
            columns,
            rows,
            key: 0,
            index: HashMap::new(),
            ignore_case,
        };
        for (number, key) in keys.iter().enumerate() {
            let column = table.column(key)?;
            if number == 0 {
                table.key = column;
            }
            for (at, row) in table.rows.iter().enumerate() {
                let key = table.folded(&row[column]);
                if key.is_empty() {
                    return Err(format!("lookups/{file}: row {}: the key is empty", at + 1));
                }
                if table.index.insert(key, at).is_some_and(|other| other != at) {
                    let key = &row[column];
                    return Err(format!("lookups/{file}: row {}: {key:?} is there twice", at + 1));
                }
            }
        }
        for key in keys {
            let column = table.column(key)?;
            let written = table.rows.iter().enumerate().map(|(at, row)| (row[column].clone(), at));
            table.index.extend(written);
        }
        Ok(table)
    }

    fn folded(&self, key: &str) -> String {
        if self.ignore_case { key.to_lowercase() } else { key.to_owned() }
    }

    /// Returns the name of the file in `config/lookups/`.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// Iterates over the names of the columns.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(String::as_str)
    }

    /// Returns the row of a key.
    pub(crate) fn find(&self, key: &str) -> Option<usize> {
        let folded = || self.index.get(key.to_lowercase().as_str()).filter(|_| self.ignore_case);
        // Most rows have the key as it is written in the table, which costs no copy.
        self.index.get(key).or_else(folded).copied()
    }

    /// Iterates over the first key of each row.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|row| row[self.key].as_str())
    }

    /// Returns the index of a column.
    ///
    /// # Errors
    ///
    /// Returns a message that names the columns.
    pub(crate) fn column(&self, name: &str) -> Result<usize, String> {
        self.columns.iter().position(|column| column == name).ok_or_else(|| {
            let columns = self.columns.join(", ");
            format!("lookups/{} has no column {name:?}: it has {columns}", self.file)
        })
    }

    /// Returns the text of a field; `None` if it is empty.
    pub(crate) fn text(&self, row: usize, column: usize) -> Option<&str> {
        Some(self.rows[row][column].as_str()).filter(|text| !text.is_empty())
    }

    /// Returns the texts of a column.
    pub(crate) fn texts(&self, column: usize) -> impl Iterator<Item = &str> {
        self.rows.iter().map(move |row| row[column].as_str()).filter(|text| !text.is_empty())
    }

    fn parsed<T>(
        &self,
        column: usize,
        what: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<Option<T>>, String> {
        let field = |(at, row): (usize, &Vec<String>)| match row[column].as_str() {
            "" => Ok(None),
            text => parse(text).map(Some).ok_or_else(|| {
                let (file, name) = (&self.file, &self.columns[column]);
                format!("lookups/{file}: row {}: {name} {text:?} is no {what}", at + 1)
            }),
        };
        self.rows.iter().enumerate().map(field).collect()
    }

    /// Reads a column of numbers, by row.
    ///
    /// # Errors
    ///
    /// Returns a message with file, row and column.
    pub(crate) fn numbers(&self, column: usize) -> Result<Vec<Option<f64>>, String> {
        let finite = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
        self.parsed(column, "finite number", finite)
    }

    /// Reads a column of IANA time zones, by row.
    ///
    /// # Errors
    ///
    /// Returns a message with file, row and column.
    pub(crate) fn zones(&self, column: usize) -> Result<Vec<Option<TimeZone>>, String> {
        self.parsed(column, "time zone", |name| TimeZone::get(name).ok())
    }

    /// Reads two columns of coordinates in degrees, by row.
    ///
    /// # Errors
    ///
    /// Returns a message with file and row.
    pub(crate) fn locations(
        &self,
        [lat, lon]: [usize; 2],
    ) -> Result<Vec<Option<Location<'static>>>, String> {
        let (lats, lons) = (self.numbers(lat)?, self.numbers(lon)?);
        let mut locations = Vec::with_capacity(lats.len());
        for (at, (lat, lon)) in lats.into_iter().zip(lons).enumerate() {
            let is_on_earth =
                |lat, lon| (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon);
            locations.push(match (lat, lon) {
                (None, None) => None,
                (Some(lat), Some(lon)) if is_on_earth(lat, lon) => Location::new(lat, lon),
                _ => {
                    let file = &self.file;
                    return Err(format!("lookups/{file}: row {}: no place on Earth", at + 1));
                }
            });
        }
        Ok(locations)
    }
}

/// Reads the header and the rows of a CSV, trimmed.
fn read_csv(file: &str, text: &str) -> Result<(Vec<String>, Vec<Vec<String>>), String> {
    let mut reader = ObjectReader::new(Limits::default());
    reader.push(text.as_bytes());
    reader.finish();
    let (mut columns, mut rows) = (Vec::new(), Vec::new());
    loop {
        match reader.next().map_err(|refusal| format!("lookups/{file}: {refusal}"))? {
            Next::Header(header) => columns = header.columns().to_vec(),
            Next::Row(row) => {
                let field = |at| row.field_at(at).unwrap_or_default().trim().to_owned();
                rows.push((0..columns.len()).map(field).collect());
            }
            Next::Broken(row) => {
                return Err(format!("lookups/{file}: row {}: {}", row.position.row, row.message));
            }
            Next::NeedInput | Next::End => return Ok((columns, rows)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATIONS: &str = "id,name,watch,lat,lon\na, Oxbow ,1.5,52,4.9\nB,Mill,,,\n";

    #[test]
    fn row_is_found_by_each_key() {
        let table = Table::read("s.csv", STATIONS, &["id", "name"], true).unwrap();
        for (key, row) in
            [("a", Some(0)), ("A", Some(0)), ("oxbow", Some(0)), ("b", Some(1)), ("c", None)]
        {
            assert_eq!(table.find(key), row, "{key}");
        }
        assert_eq!(Table::read("s.csv", STATIONS, &["id"], false).unwrap().find("A"), None);
        assert_eq!(table.numbers(2), Ok(vec![Some(1.5), None]));
        assert_eq!(table.locations([3, 4]).unwrap()[1], None);
        assert_eq!((table.text(0, 1), table.text(1, 2)), (Some("Oxbow"), None));
    }

    #[test]
    fn unusable_table_names_file_and_row() {
        for (text, expected) in [
            ("id,name\na,b\na,c\n", "lookups/s.csv: row 2: \"a\" is there twice"),
            ("id,name\n,b\n", "lookups/s.csv: row 1: the key is empty"),
            ("id,name\na,b,c\n", "lookups/s.csv: row 1: "),
            ("name\nb\n", "lookups/s.csv has no column \"id\": it has name"),
            ("", "lookups/s.csv: "),
        ] {
            let message = Table::read("s.csv", text, &["id"], false).unwrap_err();
            assert!(message.starts_with(expected), "{message}");
        }
        let table = Table::read("s.csv", "id,x,lat,lon\na,far,91,0\n", &["id"], false).unwrap();
        assert_eq!(
            table.numbers(1).unwrap_err(),
            "lookups/s.csv: row 1: x \"far\" is no finite number"
        );
        assert!(table.zones(1).unwrap_err().ends_with("is no time zone"));
        assert!(table.locations([2, 3]).unwrap_err().ends_with("no place on Earth"));
    }
}
