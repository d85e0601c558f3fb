use std::collections::BTreeMap;

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

/// Returns the readings of a fixture.
fn fixture(dataset: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/datasets");
    std::fs::read_to_string(format!("{root}/{dataset}/valid.jsonl")).unwrap()
}

#[test]
fn fixture_windows_match_declared_fields() {
    let shipped = shipped();
    let windows = shipped.window_fields();
    for spec in shipped.window_specs().unwrap() {
        let rows = fixture(&spec.dataset);
        let dataset = shipped.datasets.by_name(&spec.dataset).unwrap();
        let mut open: BTreeMap<(String, i64), Window> = BTreeMap::new();
        for row in rows.lines() {
            let reading = dataset.event(row, None).unwrap();
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
