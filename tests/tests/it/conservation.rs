//! Conservation: for any bytes, every row becomes an event or a bad row, and nothing else appears.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tributary_datasets::ingest::{Feed, SourceName, Step};
use tributary_model::bad_row::{BadRow, Origin};
use tributary_model::raw::RawRecordWriter;
use tributary_pipeline::transform::{Outcome, read_raw};
use tributary_rows::Limits;

use crate::support::{shipped, transformer};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/datasets");

/// Name, header and a good row of each dataset; a number in the row makes rows differ.
const FEEDS: &[(&str, &str, &str)] = &[
    (
        "accidents",
        "ID,Severity,Start_Time,Start_Lat,Start_Lng,State,Description",
        "A-#,2,2016-02-08 05:46:00,39.8,-84.0,OH,fine",
    ),
    ("flood", "sensor_id,location,water_level,unit,timestamp", "s-#,Weir,1.5,m,1762344000"),
    (
        "telemetry",
        "sensor_id,timestamp,temperature,humidity,status",
        "s-#,2025-11-05 12:00:00.5,21.5,45,OK",
    ),
    ("covid", "date,county,state,fips,cases,deaths", "2030-01-01,County #,Ohio,,100,1"),
];

/// Result of a file: events by id, bad rows by record id, and the number of rows.
#[derive(Debug, Default, PartialEq)]
struct Ingested {
    rows: usize,
    events: BTreeMap<String, String>,
    bad_rows: BTreeMap<String, String>,
    /// Number of events with the id of another: rows with the same natural key.
    repeated: usize,
}

impl Ingested {
    fn is_balanced(&self) -> bool {
        self.rows == self.events.len() + self.repeated + self.bad_rows.len()
    }
}

/// Reads a file in pieces of `piece` bytes into rows, raw records and events, as the functions do.
fn take(dataset: &str, bytes: &[u8], piece: usize) -> Ingested {
    let source = SourceName::s3("b", "folder/f.csv", Some("v1"), None);
    let writer = RawRecordWriter::new(dataset);
    let transformer = transformer();
    let datasets = &shipped().datasets;
    let own = datasets.by_name(dataset).cloned();
    let mut feed = Feed::new(datasets, own, Limits::default());
    let mut pieces = bytes.chunks(piece.max(1));
    let mut ingested = Ingested::default();
    loop {
        let (id, bad) = match feed.step() {
            Ok(Step::NeedInput) => {
                match pieces.next() {
                    Some(piece) => feed.push(piece),
                    None => feed.finish(),
                }
                continue;
            }
            Ok(Step::Started) => continue,
            Ok(Step::End) => return ingested,
            Ok(Step::Row(row)) => {
                let id = source.record_id(row.position()).to_string();
                let at = source.at(row.position());
                let data = writer.write(&id, &at, "2026-11-20T10:00:00.000Z", |out| {
                    row.write_payload(out);
                });
                ingested.rows += 1;
                let raw = read_raw(&data).unwrap();
                match transformer.record(&raw) {
                    Ok(Outcome::Event(event)) => {
                        let json = serde_json::to_string(&event).unwrap();
                        let old = ingested.events.insert(event.event_id.into_owned(), json);
                        ingested.repeated += usize::from(old.is_some());
                        continue;
                    }
                    Ok(Outcome::Filtered) => unreachable!("there is no filter"),
                    Err(rejection) => (id, rejection),
                }
            }
            Ok(Step::Bad(bad)) => {
                ingested.rows += 1;
                (source.record_id(bad.position).to_string(), bad.rejection)
            }
            Err(refused) => {
                ingested.rows += 1;
                let id = source.record_id(refused.position).to_string();
                ingested.bad_rows.insert(format!("{id}-rest"), refused.rejection.message);
                return ingested;
            }
        };
        let origin = Origin::default();
        let now = "2026-11-20T10:00:00Z".parse().unwrap();
        let line = BadRow::new(&bad, &origin, None, now);
        let old =
            ingested.bad_rows.insert(id, String::from_utf8(line.to_line(usize::MAX)).unwrap());
        assert_eq!(old, None, "two bad rows at one position");
    }
}

/// Generates field values: some that are likely to matter, some arbitrary.
fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "A-1", "A-2", "2", "4", "5", "NaN", "1e999", "", " ", "2016-02-08 05:46:00",
            "2021-03-14 02:30:00", "2021-02-30 00:00:00", "39.8", "-84.0", "91", "OH", "ZZ",
            "s-1", "1762344000", "1.5", "cm", "WARN", "Ohio", "01001", "2030-01-01",
            "\"a,b\"", "\"a\nb\"", "\"a\"\"b\"", "\"open", "a\"b", "\u{0}", "é",
        ]).prop_map(str::to_owned),
        1 => ".{0,12}",
    ]
}

fn file() -> impl Strategy<Value = (&'static str, String)> {
    prop::sample::select(FEEDS).prop_flat_map(|(dataset, header, good)| {
        let row = prop_oneof![
            1 => (1..50_u32).prop_map(|n| good.replace('#', &n.to_string())),
            3 => prop::collection::vec(cell(), 4..9).prop_map(|cells| cells.join(",")),
        ];
        let file = move |rows: Vec<String>| (dataset, format!("{header}\n{}", rows.join("\n")));
        prop::collection::vec(row, 0..30).prop_map(file)
    })
}

#[test]
fn good_row_of_each_header_is_an_event() {
    for (dataset, header, good) in FEEDS {
        let ingested = take(dataset, format!("{header}\n{good}").as_bytes(), 64);
        assert_eq!(
            (ingested.rows, ingested.events.len()),
            (1, 1),
            "{dataset}: {:?}",
            ingested.bad_rows
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_bytes_balance_and_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        for dataset in shipped().datasets.iter() {
            prop_assert!(take(dataset.name(), &bytes, 64).is_balanced());
        }
    }

    #[test]
    fn any_rows_balance((dataset, file) in file()) {
        let ingested = take(dataset, file.as_bytes(), 1 << 20);

        prop_assert!(ingested.is_balanced(), "{ingested:?}");
    }

    #[test]
    fn events_do_not_depend_on_piece_size(
        (dataset, file) in file(), piece in 1..100_usize,
    ) {
        let whole = take(dataset, file.as_bytes(), 1 << 20);

        prop_assert_eq!(take(dataset, file.as_bytes(), piece), whole);
    }

    #[test]
    fn any_stream_record_is_event_or_rejection(data in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(raw) = read_raw(&data) {
            let transformer = transformer();
            let _ = transformer.record(&raw);
        }
    }

    #[test]
    fn any_json_payload_is_event_or_rejection(fields in prop::collection::btree_map(
        prop::sample::select(vec!["ID", "Severity", "Start_Time", "State", "Bump", "Start_Lat"]),
        prop_oneof![Just("null".to_owned()), Just("[1]".to_owned()), Just("{}".to_owned()),
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| format!("{n:e}")),
            any::<i64>().prop_map(|n| n.to_string()), ".{0,8}".prop_map(|s| serde_json::to_string(&s).unwrap())],
        0..6))
    {
        let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let payload = format!("{{{}}}", fields.join(","));
        let accidents = shipped().datasets.by_name("accidents").unwrap();
        let _ = transformer().payload(accidents, &payload, None);
    }
}

#[test]
fn demo_fixture_has_the_stated_counts() {
    let bytes = std::fs::read(format!("{FIXTURES}/accidents/demo.csv")).unwrap();
    let expected = std::fs::read(format!("{FIXTURES}/accidents/demo.expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();

    let ingested = take("accidents", &bytes, 4_096);

    let counts = (ingested.rows, ingested.events.len(), ingested.bad_rows.len());
    let count = |name: &str| usize::try_from(expected[name].as_u64().unwrap()).unwrap();
    assert_eq!(counts, (count("rows"), count("good"), count("bad")));
    assert_eq!(ingested.repeated, 0);
}

/// Reads real rows if they are at hand: their licence keeps them out of the repository.
#[test]
fn real_rows_become_events() {
    for (dataset, file, rows) in
        [("accidents", "us-accidents-2000.csv", 2_000), ("covid", "us-counties-one-day.csv", 3_246)]
    {
        let path = format!("{}/../../shared/data/{file}", env!("CARGO_MANIFEST_DIR"));
        let Ok(bytes) = std::fs::read(path) else { continue };

        let ingested = take(dataset, &bytes, 1 << 16);

        assert_eq!((ingested.rows, ingested.events.len()), (rows, rows), "{:?}", ingested.bad_rows);
    }
}
