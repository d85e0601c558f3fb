//! Hostile input: it uses bounded memory and gets a clear code.
//!
//! This is a test binary of its own: the allocator counts the memory of the whole process, so no
//! other test may run beside these.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::alloc::System;
use std::io::Write;
use std::sync::Mutex;

use cap::Cap;
use flate2::Compression;
use flate2::write::GzEncoder;
use tributary_config::Configuration;
use tributary_datasets::ingest::{Feed, Step};
use tributary_model::bad_row::Code;
use tributary_pipeline::transform::{Outcome, read_raw};
use tributary_rows::Limits;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Serializes the tests: memory is counted for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

const MIB: usize = 1024 * 1024;

/// Result of an object: the number of bad rows of each code, and the number of events.
#[derive(Debug, Default, PartialEq)]
struct Ingested {
    codes: Vec<Code>,
    events: usize,
}

/// Reads an object of `dataset` that arrives in `pieces`, with the limits of a function. Fails if
/// it allocates `max` bytes or more beyond the pieces.
fn read(dataset: &str, pieces: impl IntoIterator<Item = Vec<u8>>, max: usize) -> Ingested {
    let _alone = ALONE.lock().unwrap();
    let transformer = Configuration::shipped().unwrap().transformer().unwrap();
    let limits = Limits { max_row_bytes: MIB, max_gzip_ratio: 200, ..Limits::default() };
    let dataset = transformer.datasets().by_name(dataset).cloned();
    let mut feed = Feed::new(transformer.datasets(), dataset, limits);
    let mut pieces = pieces.into_iter();
    let mut ingested = Ingested::default();
    let mut payload = Vec::new();
    let before = MEMORY.allocated();
    let mut peak = 0;
    loop {
        peak = peak.max(MEMORY.allocated().saturating_sub(before));
        match feed.step() {
            Ok(Step::NeedInput) => match pieces.next() {
                Some(piece) => feed.push(&piece),
                None => feed.finish(),
            },
            Ok(Step::Started) => {}
            Ok(Step::Row(row)) => {
                payload.clear();
                row.write_payload(&mut payload);
                let text = str::from_utf8(&payload).unwrap();
                match transformer.payload(row.dataset(), text, None) {
                    Ok(Outcome::Event(_)) => ingested.events += 1,
                    Ok(Outcome::Filtered) => unreachable!("no filter is shipped"),
                    Err(rejection) => ingested.codes.push(rejection.code),
                }
            }
            Ok(Step::Bad(bad)) => ingested.codes.push(bad.rejection.code),
            Ok(Step::End) => break,
            Err(refused) => {
                ingested.codes.push(refused.rejection.code);
                break;
            }
        }
    }
    assert!(peak < max, "{} KiB of {} KiB", peak / 1024, max / 1024);
    ingested
}

fn gzip(pieces: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    pieces.into_iter().for_each(|piece| encoder.write_all(&piece).unwrap());
    encoder.finish().unwrap()
}

const GOOD: &str =
    r#"{"sensor_id":"s","location":"Weir","water_level":1.5,"timestamp":"2030-01-01T00:00:00Z"}"#;

#[test]
fn gzip_bomb_is_rejected_in_bounded_memory() {
    let line = format!("{GOOD}\n").into_bytes();
    let zeros = std::iter::repeat_n(vec![b' '; MIB], 100);
    let bomb = gzip([line].into_iter().chain(zeros));
    assert!(bomb.len() < MIB / 4);

    let ingested = read("flood", bomb.chunks(64 * 1024).map(<[u8]>::to_vec), 16 * MIB);

    assert_eq!(ingested.codes, [Code::GzipRatio]);
}

#[test]
fn huge_row_is_rejected_in_bounded_memory() {
    for open in ["{\"sensor_id\":\"", "s,\"", "s,"] {
        let is_json = open.starts_with('{');
        let header = if is_json { "" } else { "sensor_id,location,water_level,timestamp\n" };
        let good = if is_json { GOOD } else { "s,Weir,1.5,2030-01-01T00:00:00Z" };
        let pieces = [format!("{header}{good}\n{open}").into_bytes()]
            .into_iter()
            .chain(std::iter::repeat_n(vec![b'x'; MIB], 12))
            .chain([format!("\n{good}\n").into_bytes()]);

        let ingested = read("flood", pieces, 8 * MIB);

        assert_eq!(ingested, Ingested { codes: vec![Code::RowTooLarge], events: 2 }, "{open}");
    }
}

#[test]
fn deeply_nested_json_is_one_bad_row() {
    let transformer = Configuration::shipped().unwrap().transformer().unwrap();
    for deep in [
        format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000)),
        format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)),
        "{\"a\":".repeat(100_000),
    ] {
        let ingested = read("flood", [format!("{deep}\n{GOOD}\n").into_bytes()], 8 * MIB);
        assert_eq!(ingested, Ingested { codes: vec![Code::InvalidJson], events: 1 });

        let raw = format!(
            r#"{{"dataset":"flood","record_id":"r","source":"s","received_at":"2030-01-01T00:00:00Z","payload":{deep}}}"#
        );
        let rejection = read_raw(raw.as_bytes()).and_then(|raw| transformer.record(&raw)).err();
        let code = rejection.map(|it| it.code).unwrap();
        assert!([Code::InvalidJson, Code::MissingField].contains(&code), "{code}");
    }
}

#[test]
fn million_columns_are_rejected() {
    let columns = "c,".repeat(1_000_000);
    let header = "sensor_id,location,water_level,timestamp";
    let good = "s,Weir,1.5,2030-01-01T00:00:00Z";

    let ingested = read("flood", [columns.into_bytes()], 8 * MIB);
    assert_eq!(ingested.codes, [Code::HeaderTooLarge]);

    let commas = format!("{}x", ",".repeat(1_000_000));
    let file = format!("{header}\n{good}\n{commas}\n{good}\n");
    let ingested = read("flood", [file.into_bytes()], 32 * MIB);
    assert_eq!(ingested, Ingested { codes: vec![Code::WrongColumnCount], events: 2 });
}

#[test]
fn duplicate_fields_and_huge_numbers_have_codes() {
    let huge = "9".repeat(400);
    for (field, code) in [
        (r#""water_level":1,"water_level":2"#.to_owned(), Code::DuplicateField),
        (format!(r#""water_level":{huge}"#), Code::InvalidJson),
        (format!(r#""water_level":"{huge}""#), Code::InvalidNumber),
        (r#""water_level":"1e400""#.to_owned(), Code::InvalidNumber),
        (r#""water_level":1e300"#.to_owned(), Code::OutOfRange),
        (r#""water_level":"NaN""#.to_owned(), Code::MissingField),
        (r#""water_level":"inf""#.to_owned(), Code::InvalidNumber),
        (format!(r#""water_level":1,"timestamp":{huge}"#), Code::InvalidJson),
    ] {
        let line = format!(
            r#"{{"sensor_id":"s","location":"Weir",{field},"timestamp":"2030-01-01T00:00:00Z"}}"#
        );

        let ingested = read("flood", [line.clone().into_bytes()], 4 * MIB);

        assert_eq!(ingested.codes, [code], "{}", &line[..line.len().min(120)]);
    }
}
