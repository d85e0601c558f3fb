//! Bytes of an object, read by the row reader.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value;
use tributary_rows::{
    ErrorKind, Format, Header, JsonLayout, Limits, Next, ObjectReader, Position, Refusal, Row,
};

use crate::bench::picked;
use crate::{Target, seeds};

pub(super) const TARGET: Target = Target { name: "rows", check, seeds: seeds::objects };

const GZIP: &[u8] = b"\x1f\x8b";

/// Limits small enough for short inputs to reach them.
const SMALL: Limits =
    Limits { max_row_bytes: 80, max_header_bytes: 60, max_columns: 8, max_gzip_ratio: 200 };

/// A row or a broken row, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ReadRow {
    position: Position,
    bytes: Vec<u8>,
    /// JSON of the row, or its fault: code, message, field, complete.
    result: Result<String, (ErrorKind, String, Option<String>, bool)>,
}

/// Everything the reader returned for an object.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    header: Option<Header>,
    rows: Vec<ReadRow>,
    /// Position of the reader before each row and after the last.
    positions: Vec<Position>,
    refusal: Option<Refusal>,
}

fn check(input: &[u8]) {
    for limits in [SMALL, Limits::default()] {
        let whole = read(&limits, &[input]);

        numbers_and_positions_ascend(&whole);
        let pieces: Vec<_> = input.chunks(1 + picked(input, 13)).collect();
        assert_eq!(whole, read(&limits, &pieces), "how an object is cut changes nothing");
        reading_resumes_at_any_row(&limits, input, &whole);
        if input.starts_with(GZIP) {
            gzip_is_what_it_inflates_to(&limits, input, &whole);
        } else {
            every_byte_is_in_a_row_or_in_a_blank_line(input, &whole);
            let compressed = gzip(input);
            // The gzip header precedes that of the object, and is rejected in its place.
            assert_eq!(whole, read(&limits, &[&compressed]), "compressed, it reads the same");
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn read(limits: &Limits, pieces: &[&[u8]]) -> Read {
    drain(&mut ObjectReader::new(limits.clone()), pieces)
}

/// Reads everything, and asserts that the number of calls is explained by what they return.
fn drain(reader: &mut ObjectReader, pieces: &[&[u8]]) -> Read {
    let mut pieces = pieces.iter();
    let mut read = Read { header: reader.header().cloned(), ..Read::default() };
    loop {
        let given = match reader.next() {
            Ok(Next::Header(header)) => {
                assert_eq!(read.header.replace(header.clone()), None, "a header comes once");
                continue;
            }
            Ok(Next::Row(row)) => {
                let result = Ok(json_of(&row));
                ReadRow { position: row.position, bytes: row.bytes.to_vec(), result }
            }
            Ok(Next::Broken(row)) => {
                let result = Err((row.kind, row.message, row.field, row.complete));
                ReadRow { position: row.position, bytes: row.bytes.to_vec(), result }
            }
            Ok(Next::NeedInput) => {
                match pieces.next() {
                    Some(piece) => reader.push(piece),
                    None => reader.finish(),
                }
                continue;
            }
            Ok(Next::End) => break,
            Err(refusal) => {
                read.refusal = Some(refusal);
                break;
            }
        };
        read.positions.push(given.position);
        read.rows.push(given);
    }
    read.positions.push(reader.position());
    assert_eq!(reader.next().err(), read.refusal, "an end is final");
    read
}

/// Returns the JSON of a row, and asserts that it parses to the values of the fields.
fn json_of(row: &Row<'_>) -> String {
    let mut json = Vec::new();
    row.write_json(&mut json);
    let json = String::from_utf8(json).unwrap();
    let fields: serde_json::Map<String, Value> = serde_json::from_str(&json).unwrap();
    if row.header().format() == Format::Csv {
        let columns = row.header().columns().iter().enumerate();
        let cells = columns.filter_map(|(at, name)| Some((name, row.field_at(at)?)));
        let cells: Vec<_> = cells.map(|(name, cell)| (name.as_str(), cell)).collect();
        let fields: Vec<_> =
            fields.iter().map(|(name, it)| (name.as_str(), it.as_str().unwrap().into())).collect();
        assert_eq!(cells, fields);
        for (name, cell) in cells {
            assert_eq!(row.field(name), Some(cell));
        }
    } else {
        for (name, value) in &fields {
            match (value, row.field(name)) {
                (Value::String(text), field) => assert_eq!(field.as_deref(), Some(text.as_str())),
                (Value::Number(_), field) => assert!(field.is_some()),
                (_, field) => assert_eq!(field, None),
            }
        }
    }
    json
}

fn numbers_and_positions_ascend(read: &Read) {
    let numbers = read.rows.iter().map(|row| row.position.row);
    assert!(numbers.eq(1..=read.rows.len() as u64), "rows are counted from 1");
    assert!(read.rows.is_sorted_by(|a, b| a.position.offset < b.position.offset));
    assert!(read.positions.is_sorted());
}

fn every_byte_is_in_a_row_or_in_a_blank_line(input: &[u8], read: &Read) {
    let (Some(header), None) = (&read.header, &read.refusal) else { return };
    let is_utf_16 = input.starts_with(b"\xff\xfe") || input.starts_with(b"\xfe\xff");
    if is_utf_16 {
        return;
    }
    // A stream also has commas and brackets between objects, and any line a byte order mark.
    let is_stream = header.json_layout() == Some(JsonLayout::Stream);
    let between = if is_stream { "\u{feff} \t\r\n,[]" } else { "\u{feff} \t\r\n" };
    let is_blank = |bytes: &[u8]| bytes.iter().all(|it| between.as_bytes().contains(it));
    let mut at = read.positions[0].offset as usize;
    let mut skipping = false;
    for row in &read.rows {
        let offset = row.position.offset as usize;
        // Bytes of a row that is too large are accounted for by the position of the next row.
        assert!(skipping || is_blank(&input[at..offset]), "lost: {at}..{offset}");
        at = offset + row.bytes.len();
        assert_eq!(&input[offset..at], &row.bytes[..]);
        skipping = row.result.as_ref().is_err_and(|fault| !fault.3);
    }
    assert!(skipping || is_blank(&input[at..]), "lost: from {at}");
}

fn reading_resumes_at_any_row(limits: &Limits, input: &[u8], whole: &Read) {
    if whole.header.is_none() {
        return;
    }
    let row = picked(input, whole.positions.len());
    let mut reader = ObjectReader::new(limits.clone());
    reader.push(input);
    reader.finish();
    assert!(matches!(reader.next(), Ok(Next::Header(_))));

    let rest = match reader.seek(whole.positions[row]) {
        Some(offset) => drain(&mut reader, &[&input[offset as usize..]]),
        None => drain(&mut reader, &[]),
    };

    assert_eq!(rest.rows, whole.rows[row..], "from row {row} on");
    assert_eq!(rest.refusal, whole.refusal);
}

/// Asserts that a whole gzip stream reads as what another decoder makes of it.
fn gzip_is_what_it_inflates_to(limits: &Limits, input: &[u8], whole: &Read) {
    let codes = [ErrorKind::TruncatedGzip, ErrorKind::CorruptGzip, ErrorKind::GzipRatio];
    if whole.refusal.as_ref().is_some_and(|refusal| codes.contains(&refusal.kind)) {
        return;
    }
    let mut inflated = Vec::new();
    let max = 200 * (input.len() as u64 + 10_000);
    let end = MultiGzDecoder::new(input).take(max).read_to_end(&mut inflated);
    // A stream read to its end may only have zeros after its last member, which the other decoder
    // reports as an error. A stream rejected for its header may be damaged after that.
    let is_whole = end.is_ok() || whole.refusal.is_none();
    if is_whole && !inflated.starts_with(GZIP) {
        assert_eq!(*whole, read(limits, &[&inflated]), "inflated, it reads the same");
    }
}
