//! Feeds of any schema.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use tributary_config::Configuration;
use tributary_datagen::{Rates, Settings, Simulation};
use tributary_datasets::infer::{Hints, Sample, SampleFile, infer};
use tributary_datasets::{Dataset, LookupFiles};
use tributary_rows::{Dialect, Encoding, Limits, Next, ObjectReader, sniff};

/// Sensors in nested objects, with units by row and words for devices.
const PUMP: &str = r#"
entity = "{site}/{line}"
event_id = ["entity", "time"]
partition = "device.line"
unknown_columns = "refuse"
interval = "15m"
missing = ["0", "n/v"]
[file]
decimal = ","
[time]
from = "at.time"
formats = ["%d.%m.%Y %H:%M"]
zone = "Europe/Amsterdam"
[location]
lat = "at.lat"
lon = "at.lon"
[lookups.sites]
file = "sites.csv"
key = ["id", "name"]
from = "device.site"
[measures]
flow_l = { from = "flow", unit = "gal", range = [0, inf], required = true }
level_m = { from = "level", unit = { from = "unit", one_of = ["cm", "ft"], otherwise = "m" }, plausible = [-2, 6] }
turns = { from = "turns", type = "integer", range = [-1, 1] }
[attributes]
site = { of = "sites.code", required = true }
line = { from = "device.line", required = true, words = { left = ["Left"], right = ["Right", "R"] } }
zip = { from = "zip", digits = 5 }
since = { from = "since", as = "date" }
name = "device.name"
[tags]
open = { flag = "valve" }
noise = { from = "device.name", contains = [{ tag = "loud", words = ["loud"] }] }
"#;

/// Rows that only an id of their own tells apart, at times in a zone of their own.
const SALE: &str = r#"
entity = "{shop}"
event_id = "receipt"
partition = "receipt"
[time]
from = "start"
zone = { from = "zone" }
[location]
from = "shop.at"
[measures]
paid_s = { from = "end", as = "elapsed" }
temp_c = { from = ["t", "temp"], unit = "F", plausible = [-5, 40] }
lat_deg = { from = "shop.at.lat", range = [50, 52] }
[attributes]
shop = { from = "shop.name", required = true }
receipt = { from = "receipt", digits = 6, required = true }
zone = "zone"
"#;

fn lookups() -> LookupFiles {
    let sites = "id,name,code\n1,Mill,a\n2,Weir,b\n3,Lock,a\n4,Dam,\n";
    LookupFiles::from([("sites.csv".to_owned(), sites.to_owned())])
}

pub(crate) fn compile(name: &str, text: &str) -> Arc<Dataset> {
    Arc::new(Dataset::compile(name, text, &lookups()).unwrap())
}

fn shipped() -> Vec<Arc<Dataset>> {
    Configuration::shipped().unwrap().datasets.iter().cloned().collect()
}

fn repository(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../..", path].iter().collect()
}

/// Returns the datasets that `tributary init` makes of its samples.
fn inferred() -> Vec<Arc<Dataset>> {
    let files = std::fs::read_dir(repository("fixtures/init")).unwrap();
    files.map(|file| inferred_of(&file.unwrap().path())).collect()
}

fn inferred_of(path: &std::path::Path) -> Arc<Dataset> {
    let bytes = std::fs::read(path).unwrap();
    let sniffed = sniff(&bytes).unwrap();
    let encoding = (sniffed.encoding != Encoding::UTF_8).then_some(sniffed.encoding);
    let mut sample = Sample::new(SampleFile {
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        encoding: None,
        has_decimal_comma: sniffed.has_decimal_comma,
        columns: sniffed.columns.clone(),
    });
    let dialect = Dialect { encoding, ..Dialect::default() };
    let mut reader = ObjectReader::new(Limits::default()).of_dialect(dialect);
    reader.push(&bytes);
    reader.finish();
    let mut payload = Vec::new();
    loop {
        match reader.next().unwrap() {
            Next::Row(row) => {
                payload.clear();
                row.write_json(&mut payload);
                sample.add(std::str::from_utf8(&payload).unwrap());
            }
            Next::Header(_) | Next::Broken(_) => {}
            Next::NeedInput | Next::End => break,
        }
        if reader.preamble_lines() < sniffed.preamble_lines {
            reader.skip_header();
        }
    }
    let name = path.file_stem().unwrap().to_string_lossy().replace('-', "_");
    // Prices have no key that a sample shows.
    let inferred = infer(&name, &sample, &Hints::default()).or_else(|_| {
        let key = ["product", "market"].map(str::to_owned).to_vec();
        infer(&name, &sample, &Hints { key, time: None })
    });
    let inferred = inferred.unwrap();
    compile(&name, &inferred.text())
}

/// Returns the schemas of the documentation.
fn documented() -> Vec<Arc<Dataset>> {
    let page = std::fs::read_to_string(repository("docs/DATASETS.md")).unwrap();
    let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let schemas = blocks.filter(|block| block.contains("\nevent_id = "));
    schemas.map(|schema| compile("weather", schema)).collect()
}

/// Returns settings without records that are sent twice.
pub(crate) fn settings(dataset: &Dataset) -> Settings {
    let usual = Settings::of_dataset(dataset);
    let rates = Rates { duplicate: 0.0, spike: 0.05, ..usual.rates };
    Settings { rates, ..usual }
}

fn rows(dataset: &Arc<Dataset>, settings: &Settings, count: usize) -> Vec<String> {
    let mut simulation = Simulation::of_dataset(dataset, settings).unwrap();
    let mut rows = Vec::new();
    while let Some(record) = simulation.next().filter(|_| rows.len() < count) {
        let row = std::str::from_utf8(record.json).unwrap();
        let key = dataset.partition_key(row);
        assert_eq!(key.as_deref(), Some(record.key), "{}: {row}", dataset.name());
        rows.push(row.to_owned());
    }
    rows
}

/// Checks that rows are events without faults, each with an id of its own.
#[track_caller]
pub(crate) fn check(dataset: &Arc<Dataset>, settings: &Settings) -> Vec<String> {
    let rows = rows(dataset, settings, 4_000);
    let mut ids = BTreeSet::new();
    for row in &rows {
        let event = dataset.event(row, None).unwrap();
        assert!(event.faults.is_empty(), "{:?}: {row}", event.faults);
        assert!(ids.insert(event.event_id.into_owned()), "{}: id of {row}", dataset.name());
    }
    assert!(rows.len() > 3_000, "{}", dataset.name());
    rows
}

#[test]
fn rows_of_shipped_schemas_have_no_faults() {
    for dataset in shipped() {
        check(&dataset, &settings(&dataset));
    }
}

#[test]
fn rows_of_documented_schemas_have_no_faults() {
    let documented = documented();
    assert!(!documented.is_empty());
    for dataset in documented {
        check(&dataset, &settings(&dataset));
    }
}

#[test]
fn rows_of_inferred_schemas_have_no_faults() {
    let inferred = inferred();
    assert!(inferred.len() > 4);
    for dataset in inferred {
        check(&dataset, &settings(&dataset));
    }
}

#[test]
fn nested_rows_have_every_field() {
    let dataset = compile("pump", PUMP);
    let usual = settings(&dataset);
    assert_eq!((usual.devices, usual.interval_ms), (4, 15 * 60_000));
    let rows = check(&dataset, &Settings { start_ms: 1_792_800_000_000, ..usual });

    let entities: BTreeSet<_> =
        rows.iter().map(|row| dataset.event(row, None).unwrap().entity.into_owned()).collect();
    assert_eq!(
        entities.into_iter().collect::<Vec<_>>(),
        ["a/left", "a/right", "b/left", "b/right"]
    );
    let row: Value = serde_json::from_str(&rows[0]).unwrap();
    assert!(row["device"]["line"].is_string() && row["at"]["lat"].is_string(), "{row}");
    assert!(row["flow"].as_str().unwrap().contains(','), "{row}");
    let event = dataset.event(&rows[0], None).unwrap();
    assert_eq!((event.measures.len(), event.attributes.len()), (3, 5), "{}", rows[0]);
    assert!(event.location.is_some());
}

#[test]
fn serial_ids_tell_rows_apart() {
    let dataset = compile("sale", SALE);
    let rows = check(&dataset, &settings(&dataset));

    let event = dataset.event(&rows[0], None).unwrap();
    assert_eq!(event.entity, "sale-001");
    assert_eq!(event.attributes.get("receipt").map(|it| &**it), Some("000001"));
    assert!((50.0..=52.0).contains(event.measures.get("lat_deg").unwrap()));
    assert!(event.measures.get("paid_s").is_some() && event.location.is_some());
}

#[test]
fn same_seed_gives_same_rows() {
    let dataset = compile("pump", PUMP);
    let seed = |seed| rows(&dataset, &Settings { seed, ..settings(&dataset) }, 500);

    assert_eq!(seed(7), seed(7));
    assert_ne!(seed(7), seed(8));
}

#[test]
fn numbers_follow_a_daily_curve() {
    let weather = &documented()[0];
    let calm = Rates { noise: 0.0, spike: 0.0, late: 0.0, dropout: 0.0, ..settings(weather).rates };
    let calm = Settings { devices: 1, interval_ms: 3_600_000, rates: calm, ..settings(weather) };

    let mut by_hour: BTreeMap<i8, BTreeSet<String>> = BTreeMap::new();
    for row in rows(weather, &calm, 24 * 20) {
        let event = weather.event(&row, None).unwrap();
        let hour = event.event_time.to_zoned(jiff::tz::TimeZone::UTC).hour();
        let temperature = event.measures.get("temperature_c").unwrap();
        by_hour.entry(hour).or_default().insert(temperature.to_string());
    }
    let number = |hour| by_hour[&hour].first().unwrap().parse::<f64>().unwrap();
    assert!(by_hour.values().all(|values| values.len() == 1), "{by_hour:?}");
    assert!(number(14) > number(2) + 5.0, "{by_hour:?}");
}

#[test]
fn rates_of_numbers_need_a_number() {
    let text = SALE.replace("[measures]", "[measures]\ncount = \"count\"");
    let (with, without) = (compile("sale", &text), compile("sale", &without_numbers()));
    assert!(Settings::of_dataset(&with).rates.spike > 0.0);

    let usual = Settings::of_dataset(&without);
    assert!(usual.rates.spike <= 0.0 && Simulation::of_dataset(&without, &usual).is_ok());
    let rates = Rates { spike: 0.1, ..usual.rates };
    let refused = Simulation::of_dataset(&without, &Settings { rates, ..usual }).err().unwrap();
    assert_eq!(refused.to_string(), "sale has no numbers for a spike rate");
}

/// Returns [`SALE`] without its numbers.
fn without_numbers() -> String {
    let is_number = |line: &&str| line.starts_with("temp_c") || line.starts_with("lat_deg");
    SALE.lines().filter(|line| !is_number(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn schema_without_possible_row_is_refused() {
    let pump = compile("pump", PUMP);
    let refused = |dataset: &Arc<Dataset>, change: &dyn Fn(&mut Settings)| {
        let mut settings = settings(dataset);
        change(&mut settings);
        Simulation::of_dataset(dataset, &settings).err().unwrap().to_string()
    };

    assert_eq!(refused(&pump, &|it| it.devices = 5), "pump can have 1 to 4 devices");
    let message = refused(&pump, &|it| it.interval_ms = 10_000);
    assert!(message.contains("closer than 60 s"), "{message}");
    let message = refused(&pump, &|it| it.rates.storm = 1.0);
    assert!(message.contains("storm"), "{message}");
    let twice = PUMP.replace(
        "from = \"turns\", type = \"integer\", range = [-1, 1]",
        "from = \"flow\", range = [-9, -1]",
    );
    let message = refused(&compile("pump", &twice), &|_| {});
    assert!(message.starts_with("dataset \"pump\" cannot be simulated: "), "{message}");
}
