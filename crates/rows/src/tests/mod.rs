//! Tests of the reader through its public interface, and their helpers.

mod csv;
mod dialect;
mod gzip;
mod header;
mod json_lines;
mod json_stream;
mod limits;
mod model;
mod preamble;
mod properties;
mod resume;
mod signature;
mod sniff;

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// Limits small enough to reach in a test.
const SMALL: Limits =
    Limits { max_row_bytes: 40, max_header_bytes: 24, max_columns: 6, max_gzip_ratio: 200 };

/// Owned copy of a row or a broken row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ReadRow {
    position: Position,
    bytes: Vec<u8>,
    /// JSON of the row, or its fault: kind, message, field, complete.
    result: Result<String, (ErrorKind, String, Option<String>, bool)>,
}

impl ReadRow {
    fn code(&self) -> Option<ErrorKind> {
        self.result.as_ref().err().map(|fault| fault.0)
    }
}

/// Everything read from an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Read {
    header: Option<Header>,
    rows: Vec<ReadRow>,
    /// Position before each row and after the last.
    positions: Vec<Position>,
    refusal: Option<Refusal>,
}

impl Read {
    /// Returns the bytes of each row and the kind of its fault.
    fn lines(&self) -> Vec<(&str, Option<ErrorKind>)> {
        self.rows.iter().map(|row| (str::from_utf8(&row.bytes).unwrap(), row.code())).collect()
    }

    fn json(&self) -> Vec<&str> {
        self.rows.iter().map(|row| row.result.as_deref().unwrap_or("broken")).collect()
    }

    fn refused(&self) -> Option<ErrorKind> {
        self.refusal.as_ref().map(|refusal| refusal.kind)
    }

    fn message(&self, row: usize) -> &str {
        &self.rows[row].result.as_ref().unwrap_err().1
    }
}

/// Reads to the end, pushing the next of `pieces` whenever the reader needs input.
fn drain<'p>(reader: &mut ObjectReader, mut pieces: impl Iterator<Item = &'p [u8]>) -> Read {
    let mut read = Read { header: reader.header().cloned(), ..Read::default() };
    loop {
        let (given, end) = match reader.next() {
            Ok(Next::Header(header)) => {
                assert_eq!(read.header, None);
                read.header = Some(header.clone());
                continue;
            }
            Ok(Next::Row(row)) => {
                let mut json = Vec::new();
                row.write_json(&mut json);
                let result = Ok(String::from_utf8(json).unwrap());
                (Some(ReadRow { position: row.position, bytes: row.bytes.to_vec(), result }), false)
            }
            Ok(Next::Broken(row)) => {
                let result = Err((row.kind, row.message, row.field, row.complete));
                (Some(ReadRow { position: row.position, bytes: row.bytes.to_vec(), result }), false)
            }
            Ok(Next::NeedInput) => {
                match pieces.next() {
                    Some(piece) => reader.push(piece),
                    None => reader.finish(),
                }
                continue;
            }
            Ok(Next::End) => (None, true),
            Err(refusal) => {
                read.refusal = Some(refusal);
                (None, true)
            }
        };
        read.positions.push(given.as_ref().map_or(reader.position(), |row| row.position));
        read.rows.extend(given);
        if end {
            assert_eq!(reader.next().err(), read.refusal, "the last result repeats");
            return read;
        }
    }
}

fn read_with(limits: Limits, input: &[u8]) -> Read {
    drain(&mut ObjectReader::new(limits), std::iter::once(input))
}

fn read(input: impl AsRef<[u8]>) -> Read {
    read_with(Limits::default(), input.as_ref())
}

/// Reads the input in pieces of one size.
fn read_in_pieces(limits: Limits, input: &[u8], size: usize) -> Read {
    drain(&mut ObjectReader::new(limits), input.chunks(size))
}

fn gzip(input: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(input).unwrap();
    encoder.finish().unwrap()
}
