use std::collections::BTreeMap;

use tributary_datasets::ingest::{Feed, Step};
use tributary_model::domain::{Domain, Fields};

use super::*;
use tributary_windows::Window;
use tributary_windows::aggregate::Sample;

fn shipped() -> Configuration {
    Configuration::shipped().unwrap()
}

fn shown(fields: &Fields, path: &str) -> String {
    match fields.domain(path) {
        Some(Domain::Number(numbers, _)) => numbers.to_string(),
        Some(Domain::Text(texts)) => texts.to_string(),
        Some(Domain::Tags | Domain::Object) => "an object".to_owned(),
        None => "not there".to_owned(),
    }
}

#[test]
fn dataset_fields_are_limited_by_configured_ranges() {
    let fields = |name| shipped().schemas().get(name).unwrap().clone();
    for (dataset, path, expected) in [
        ("accidents", "measures.severity", "1 to 4"),
        ("accidents", "measures.temperature_c", "at least -273.15"),
        ("accidents", "attributes.civil_twilight", "day or night"),
        ("accidents", "attributes.city", "any text"),
        ("accidents", "kind", "reading"),
        ("accidents", "window.spec", "not there"),
        ("telemetry", "measures.temperature_c", "-90 to 100"),
        ("telemetry", "attributes.status", "failure, inactive, ok, unknown or warning"),
        ("flood", "measures.water_level_m", "-10 to 100"),
        ("flood", "attributes.stage", "danger, normal, warning or watch"),
        ("covid", "location.lat", "not there"),
        ("covid", "measures.cases", "0 to 10000000000"),
    ] {
        assert_eq!(shown(&fields(dataset), path), expected, "{dataset} {path}");
    }
}

#[test]
fn shipped_metrics_have_known_datasets() {
    assert!(!shipped().metrics().unwrap().is_empty());
}

#[test]
fn window_fields_follow_from_readings() {
    let windows = shipped().window_fields();
    for (spec, path, expected) in [
        ("telemetry-1m", "measures.temperature_c_mean", "-90 to 100"),
        ("telemetry-1m", "measures.temperature_c_std", "0 to 190"),
        ("telemetry-1m", "measures.temperature_c_sum", "any number"),
        ("telemetry-1m", "measures.humidity_pct_sum", "at least 0"),
        ("telemetry-1m", "measures.temperature_c_mean_z", "-10000 to 10000"),
        ("telemetry-1m", "measures.count", "at least 1"),
        ("telemetry-1m", "measures.temperature_c", "not there"),
        ("telemetry-1m", "measures.temperature_c_per_h", "not there"),
        ("telemetry-5m", "measures.temperature_c_p95", "-90 to 100"),
        ("telemetry-5m", "measures.temperature_c_mean_z", "not there"),
        ("telemetry-1m", "attributes.entity", "any text"),
        ("telemetry-1m", "window.spec", "telemetry-1m"),
        ("flood-15m", "measures.water_level_m_per_h", "any number"),
        ("accidents-1h", "measures.count_severity_4", "at least 1"),
        ("accidents-1h", "measures.count_severity_5", "not there"),
        ("accidents-1h", "measures.temperature_c_first", "at least -273.15"),
        ("covid-1d", "attributes.state", "one of 57 texts"),
        ("covid-1d", "location", "not there"),
    ] {
        assert_eq!(shown(windows.get(spec).unwrap(), path), expected, "{spec} {path}");
    }
    assert_eq!(windows.names("accidents"), "accidents-1h, accidents-5s");
    let tags = &windows.get("telemetry-1m").unwrap().tags;
    assert!(tags.contains("anomaly:temperature_c_mean") && tags.contains("anomaly_kind:stuck"));
}

/// `accidents` has more states than the limit of separately counted values.
#[test]
fn values_over_count_limit_may_be_other() {
    let mut shipped = shipped();
    let spec = shipped.pipeline.windows.iter_mut().find(|spec| spec.id == "accidents-1h").unwrap();
    spec.count_by = vec!["state".to_owned(), "severity".to_owned()];
    let windows = shipped.window_fields();
    let fields = windows.get("accidents-1h").unwrap();

    for name in ["count_state_OH", "count_state_other", "count_severity_4"] {
        assert!(fields.measure(name).is_some(), "{name}");
    }
    assert!(fields.measure("count_severity_other").is_none());
}

/// Returns the rows of the fixture of a dataset as JSON, from its JSON Lines or else its CSV.
fn fixture(dataset: &str) -> Vec<String> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/datasets");
    let paths = ["jsonl", "csv"].map(|end| format!("{root}/{dataset}/valid.{end}"));
    let file = paths.iter().find_map(|path| std::fs::read(path).ok()).unwrap();
    rows(dataset, &file)
}

/// Returns the rows of a file, whose columns select the dataset.
fn rows(dataset: &str, file: &[u8]) -> Vec<String> {
    let mut feed = Feed::new(&shipped().datasets, None, <_>::default());
    feed.push(file);
    feed.finish();
    let mut rows = Vec::new();
    loop {
        match feed.step().unwrap() {
            Step::Started => {}
            Step::Row(row) => {
                assert_eq!(row.dataset().name(), dataset);
                let mut payload = Vec::new();
                row.write_payload(&mut payload);
                rows.push(String::from_utf8(payload).unwrap());
            }
            Step::Bad(row) => panic!("{dataset}: {:?}", row.rejection),
            Step::NeedInput | Step::End => return rows,
        }
    }
}

#[test]
fn csv_fixture_gives_readings() {
    let shipped = shipped();
    let file = b"sensor_id,location,water_level,timestamp\nriver-001,Oxbow weir,1.2,1762344000\n";
    let rows = rows("flood", file);
    let flood = shipped.datasets.by_name("flood").unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(flood.event(&rows[0], None).unwrap().entity, "river-001");
}

#[test]
fn fixture_windows_match_declared_fields() {
    let shipped = shipped();
    let windows = shipped.window_fields();
    for spec in shipped.window_specs().unwrap() {
        let dataset = shipped.datasets.by_name(&spec.dataset).unwrap();
        let mut open: BTreeMap<(String, i64), Window> = BTreeMap::new();
        for row in fixture(&spec.dataset) {
            let reading = dataset.event(&row, None).unwrap();
            for span in spec.windows_of(spec.time_of(&reading)) {
                let key = (spec.key_of(&reading), span.start.as_second());
                let window = open.entry(key).or_insert_with(|| Window::open(span));
                window.apply(&spec, [(&Sample::of(&reading, &spec), None)], span.end);
            }
        }
        assert!(!open.is_empty(), "{}", spec.id);
        for ((group, _), mut window) in open {
            window.evaluate(&spec, &tributary_anomaly::Baseline::default());
            let event = window.event(&spec, &group);
            assert_eq!(windows.get(&spec.id).unwrap().mismatch(&event), None, "{event:?}");
        }
    }
}

/// Additions to a file of the shipped configuration, each with its error.
const WRONG: &[(&str, &str, &str)] = &[
    (
        "pipeline.toml",
        "[[filters]]\nid = \"f\"\ndataset = \"flood\"\ndrop_when = \"event.measures.water_level_n > 1.0\"\n",
        "pipeline.toml:4:29: flood has no measures.water_level_n; water_level_m?",
    ),
    (
        "pipeline.toml",
        "[[senders]]\nprincipal = \"p\"\ndatasets = [\"flod\"]\n",
        "pipeline.toml:3:13: datasets \"flod\" is none of accidents, covid, flood, telemetry",
    ),
    (
        "pipeline.toml",
        "[[filters]]\nid = \"f\"\ndataset = \"flod\"\ndrop_when = \"true\"\n",
        "pipeline.toml:3:11: dataset \"flod\" is none of accidents, ",
    ),
    (
        "pipeline.toml",
        "[[filters]]\nid = \"f\"\ndataset = \"flood\"\ndrop_wen = \"true\"\n",
        "pipeline.toml:4:1: unknown field `drop_wen`",
    ),
    (
        "pipeline.toml",
        "[ranges.flood]\nwater_level_n = [0, 1]\n",
        "pipeline.toml:2:17: ranges.flood.water_level_n: there is no measure",
    ),
    (
        "pipeline.toml",
        "[ranges.flod]\nx = [0, 1]\n",
        "pipeline.toml:1:2: ranges: dataset \"flod\" is none of",
    ),
    (
        "pipeline.toml",
        "[[metrics]]\nname = \"m\"\ndataset = \"flood\"\nmeasure = \"water_level\"\ndimensions = []\n",
        "pipeline.toml:4:11: measure \"water_level\" is none of water_level_m",
    ),
    (
        "pipeline.toml",
        "[[metrics]]\nname = \"m\"\ndataset = \"flood\"\ndimensions = [\"dataset\", \"stag\"]\n",
        "pipeline.toml:4:26: dimensions \"stag\" is none of location, sensor_id, stage, dataset, kind, entity",
    ),
    (
        "pipeline.toml",
        "[[metrics]]\nname = \"m\"\ndataset = \"accidents\"\ndimensions = [\"temperature_c\"]\n",
        "pipeline.toml:4:15: dimensions",
    ),
    (
        "pipeline.toml",
        "[[windows]]\nid = \"w\"\ndataset = \"flood\"\nkey = [\"entiti\"]\nsize = \"1m\"\nallowed_lateness = \"1m\"\nretention = \"1h\"\nmeasures = []\n",
        "pipeline.toml:4:8: key \"entiti\" is none of",
    ),
    (
        "pipeline.toml",
        "[[windows]]\nid = \"w\"\ndataset = \"flood\"\nkey = [\"entity\"]\nsize = \"1m\"\nallowed_lateness = \"1m\"\nretention = \"1h\"\nmeasures = [\"level\"]\n",
        "pipeline.toml:8:13: measures \"level\" is none of water_level_m",
    ),
    (
        "pipeline.toml",
        "[[windows]]\nid = \"w\"\ndataset = \"flood\"\nkey = [\"entity\"]\nsize = \"1m\"\nallowed_lateness = \"1m\"\nretention = \"1h\"\nmeasures = []\ncount_by = [\"stagee\"]\n",
        "pipeline.toml:9:13: count_by \"stagee\" is none of",
    ),
    (
        "pipeline.toml",
        "[[windows]]\nid = \"w\"\ndataset = \"flood\"\nkey = [\"entity\"]\nsize = \"1m\"\nlateness = \"1m\"\nretention = \"1h\"\nmeasures = []\n",
        "pipeline.toml:6:1: `lateness` is called `allowed_lateness`",
    ),
    (
        "pipeline.toml",
        "[[windows]]\nid = \"w\"\ndataset = \"flood\"\nkey = [\"entity\"]\nsiz = \"1m\"\n",
        "pipeline.toml:5:1: unknown field `siz`",
    ),
    (
        "alerts.toml",
        "[[rules]]\nid = \"r\"\ndataset = \"flood\"\nseverity = \"info\"\nwhen = \"event.measures.level > 1.0\"\ntitle = \"t\"\nkey = \"{entity}\"\ncooldown = \"1h\"\n",
        "alerts.toml:5:24: rule r: flood has no measures.level",
    ),
    (
        "alerts.toml",
        "[[rules]]\nid = \"r\"\ndataset = \"flood\"\nseverity = \"info\"\nwhen = \"event.measures.water_level_m > 1.0\"\ntitle = \"{measures.level}\"\nkey = \"{entity}\"\ncooldown = \"1h\"\n",
        "alerts.toml:6:11: rule r: flood has no measures.level",
    ),
    (
        "alerts.toml",
        "[[rules]]\nid = \"r\"\ndataset = \"flood\"\nwindow = \"flood-15\"\nseverity = \"info\"\nwhen = \"true\"\ntitle = \"t\"\nkey = \"{entity}\"\ncooldown = \"1h\"\n",
        "alerts.toml:4:10: rule r: \"flood-15\" is no window of flood",
    ),
    (
        "datasets/flood.toml",
        "[[metrics]]\nname = \"m\"\nmeasure = \"level\"\ndimensions = []\n",
        "measure \"level\" is none of water_level_m",
    ),
    (
        "datasets/flood.toml",
        "[[metrics]]\nname = \"m\"\ndataset = \"flood\"\ndimensions = []\n",
        "`dataset` is the dataset of the file",
    ),
    (
        "datasets/flood.toml",
        "[[windows]]\nid = \"w\"\nkeep = \"1m\"\n",
        "`keep` is called `retention`",
    ),
    (
        "datasets/flood.toml",
        "[[rules]]\nid = \"r\"\nseverity = \"info\"\nwhen = \"event.measures.level > 1.0\"\ntitle = \"t\"\nkey = \"{entity}\"\ncooldown = \"1h\"\n",
        "rule r: flood has no measures.level",
    ),
];

#[test]
fn misspelt_name_is_refused_with_its_place() {
    let mut wrong = Vec::new();
    for (path, text, expected) in WRONG {
        let shipped = Bundle::shipped();
        let old = shipped.text(path).to_owned();
        let is_dataset = path.starts_with("datasets/");
        let text = if is_dataset { format!("{old}\n{text}") } else { (*text).to_owned() };
        let errors = validate(&shipped.with(path, &text).with("datasets/unused.toml", UNUSED));
        let found = errors.first().map_or("valid".to_owned(), ToString::to_string);
        let is_right = if is_dataset {
            found.contains(expected) && found.starts_with(path)
        } else {
            found.starts_with(expected)
        };
        if !is_right {
            wrong.push(format!("{expected}\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// A schema beside the shipped ones, with entries of its own.
const UNUSED: &str = r#"
entity = "{garage}"
event_id = ["entity", "time"]
partition = "garage"
[time]
from = "at"
[measures]
free = { from = "free", type = "integer", range = [0, 1e5] }
[attributes]
garage = { from = "garage", required = true }
[[metrics]]
name = "free"
measure = "free"
dimensions = ["garage"]
[[windows]]
id = "free-1h"
key = ["entity"]
size = "1h"
allowed_lateness = "1h"
retention = "24h"
measures = ["free"]
[[rules]]
id = "garage-full"
severity = "info"
when = "event.measures.free == 0"
title = "{entity} is full"
key = "{entity}"
cooldown = "1h"
"#;

#[test]
fn shipped_configuration_is_valid() {
    assert_eq!(validate(&Bundle::shipped()), []);
}

#[test]
fn entries_of_a_dataset_stand_in_its_file() {
    let bundle = Bundle::shipped().with("datasets/garages.toml", UNUSED);
    assert_eq!(validate(&bundle), []);

    let configuration = Configuration::load(&bundle).unwrap();
    let of = |dataset: &str| dataset == "garages";
    assert!(configuration.metrics().unwrap().iter().any(|metric| of(&metric.dataset)));
    assert!(configuration.window_specs().unwrap().iter().any(|spec| of(&spec.dataset)));
    assert!(configuration.rules().unwrap().iter().any(|rule| of(&rule.spec.dataset)));
}

#[test]
fn each_wrong_schema_is_shown() {
    let wrong = |bundle: Bundle, name: &str| {
        let text = bundle.text(&format!("datasets/{name}.toml")).replace("[time]", "[tiem]");
        bundle.with(&format!("datasets/{name}.toml"), &text)
    };
    let errors = validate(&wrong(wrong(Bundle::shipped(), "flood"), "covid"));
    let places: Vec<_> = errors.iter().map(|error| error.owner().split(':').next()).collect();
    assert_eq!(places, [Some("datasets/covid.toml"), Some("datasets/flood.toml")]);
}
