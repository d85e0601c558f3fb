//! Nothing is lost and nothing is invented: for any bytes, every row is an event or a bad row.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use tributary_core::bad_row::{BadRow, Origin};
use tributary_core::config::PipelineConfig;
use tributary_core::datasets::accidents::Accidents;
use tributary_core::ingest::{Feed, SourceName, Step};
use tributary_core::raw::RawRecordWriter;
use tributary_core::rows::Limits;
use tributary_core::transform::{Outcome, Transformer, read_raw};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/datasets/accidents");
const HEADER: &str = "ID,Severity,Start_Time,Start_Lat,Start_Lng,State,Description\n";

/// What a file becomes: events by id, bad rows by record id, and how many rows there were.
#[derive(Debug, Default, PartialEq)]
struct Came {
    rows: usize,
    events: BTreeMap<String, String>,
    bad_rows: BTreeMap<String, String>,
    /// Events that have the id of another: rows with the same natural key.
    repeated: usize,
}

impl Came {
    fn balances(&self) -> bool {
        self.rows == self.events.len() + self.repeated + self.bad_rows.len()
    }
}

/// Takes a file, in pieces of `piece` bytes, through rows, raw records and transform, as the
/// functions do.
fn take(bytes: &[u8], piece: usize) -> Came {
    let source = SourceName::s3("b", "accidents/f.csv", Some("v1"), None);
    let writer = RawRecordWriter::new("accidents");
    let transformer = Transformer::compile(&PipelineConfig::default()).unwrap();
    let mut feed = Feed::new(Some(&Accidents), Limits::default());
    let mut pieces = bytes.chunks(piece.max(1));
    let mut came = Came::default();
    loop {
        let (id, bad) = match feed.step() {
            Ok(Step::NeedInput) => {
                match pieces.next() {
                    Some(piece) => feed.push(piece),
                    None => feed.finish(),
                }
                continue;
            }
            Ok(Step::Begun) => continue,
            Ok(Step::End) => return came,
            Ok(Step::Row(row)) => {
                let id = source.record_id(row.position()).to_string();
                let at = source.at(row.position());
                let data = writer.write(&id, &at, "2026-11-20T10:00:00.000Z", |out| {
                    row.write_payload(out);
                });
                came.rows += 1;
                let raw = read_raw(&data).unwrap();
                match transformer.record(&raw) {
                    Ok(Outcome::Event(event)) => {
                        let json = serde_json::to_string(&event).unwrap();
                        let old = came.events.insert(event.event_id.into_owned(), json);
                        came.repeated += usize::from(old.is_some());
                        continue;
                    }
                    Ok(Outcome::Filtered) => unreachable!("there is no filter"),
                    Err(rejection) => (id, rejection),
                }
            }
            Ok(Step::Bad(position, rejection, _)) => {
                came.rows += 1;
                (source.record_id(position).to_string(), rejection)
            }
            Err(refused) => {
                came.rows += 1;
                let id = source.record_id(refused.position).to_string();
                came.bad_rows.insert(format!("{id}-rest"), refused.rejection.message);
                return came;
            }
        };
        let origin = Origin::default();
        let now = "2026-11-20T10:00:00Z".parse().unwrap();
        let line = BadRow::new(&bad, &origin, None, now);
        let old = came.bad_rows.insert(id, String::from_utf8(line.to_line()).unwrap());
        assert_eq!(old, None, "two bad rows at one position");
    }
}

/// Cells that are likely to matter, and some that are anything.
fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "A-1", "A-2", "2", "4", "5", "NaN", "1e999", "", " ", "2016-02-08 05:46:00",
            "2021-03-14 02:30:00", "2021-02-30 00:00:00", "39.8", "-84.0", "91", "OH", "ZZ",
            "\"a,b\"", "\"a\nb\"", "\"a\"\"b\"", "\"open", "a\"b", "\u{0}", "é",
        ]).prop_map(str::to_owned),
        1 => ".{0,12}",
    ]
}

fn file() -> impl Strategy<Value = String> {
    let row = prop_oneof![
        1 => (1..50_u32).prop_map(|n| format!("A-{n},2,2016-02-08 05:46:00,39.8,-84.0,OH,fine")),
        3 => prop::collection::vec(cell(), 5..9).prop_map(|cells| cells.join(",")),
    ];
    prop::collection::vec(row, 0..30).prop_map(|rows| HEADER.to_owned() + &rows.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_bytes_balance_and_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(take(&bytes, 64).balances());
    }

    #[test]
    fn any_rows_balance(file in file()) {
        let came = take(file.as_bytes(), 1 << 20);

        prop_assert!(came.balances(), "{came:?}");
    }

    #[test]
    fn however_the_file_is_cut_events_and_ids_are_the_same(file in file(), piece in 1..100_usize) {
        prop_assert_eq!(take(file.as_bytes(), 1 << 20), take(file.as_bytes(), piece));
    }

    #[test]
    fn any_record_of_the_stream_is_an_event_or_a_rejection(data in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(raw) = read_raw(&data) {
            let transformer = Transformer::compile(&PipelineConfig::default()).unwrap();
            let _ = transformer.record(&raw);
        }
    }

    #[test]
    fn any_json_payload_is_an_event_or_a_rejection(fields in prop::collection::btree_map(
        prop::sample::select(vec!["ID", "Severity", "Start_Time", "State", "Bump", "Start_Lat"]),
        prop_oneof![Just("null".to_owned()), Just("[1]".to_owned()), Just("{}".to_owned()),
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| format!("{n:e}")),
            any::<i64>().prop_map(|n| n.to_string()), ".{0,8}".prop_map(|s| serde_json::to_string(&s).unwrap())],
        0..6))
    {
        let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let payload = format!("{{{}}}", fields.join(","));
        let transformer = Transformer::compile(&PipelineConfig::default()).unwrap();
        let _ = transformer.payload(&Accidents, &payload, None);
    }
}

#[test]
fn the_demo_fixture_has_as_many_events_and_bad_rows_as_its_maker_says() {
    let bytes = std::fs::read(format!("{FIXTURES}/demo.csv")).unwrap();
    let expected = std::fs::read(format!("{FIXTURES}/demo.expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();

    let came = take(&bytes, 4_096);

    let counts = (came.rows, came.events.len(), came.bad_rows.len());
    let count = |name: &str| usize::try_from(expected[name].as_u64().unwrap()).unwrap();
    assert_eq!(counts, (count("rows"), count("good"), count("bad")));
    assert_eq!(came.repeated, 0);
}

/// Real rows, where they are at hand: their licence keeps them out of the repository.
#[test]
fn real_rows_are_all_events() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/us-accidents-2000.csv");
    let Ok(bytes) = std::fs::read(path) else { return };

    let came = take(&bytes, 1 << 16);

    assert_eq!((came.rows, came.events.len()), (2_000, 2_000), "{:?}", came.bad_rows);
}
