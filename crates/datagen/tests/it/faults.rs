//! Sensor faults and their labels.

use std::collections::BTreeMap;

use serde_json::Value;
use tributary_datagen::{FaultKind, FeedKind, Label, Rates, Settings, Simulation};

const DAY_MS: i64 = 24 * 3_600_000;

/// Returns rates without any faults.
fn calm() -> Rates {
    Rates { drift: 0.0, dropout: 0.0, late: 0.0, duplicate: 0.0, spike: 0.0, ..Rates::default() }
}

fn settings(rates: Rates) -> Settings {
    Settings {
        seed: 3,
        devices: 4,
        interval_ms: 60_000,
        duration_ms: Some(4 * DAY_MS),
        rates,
        ..Settings::of(FeedKind::Telemetry)
    }
}

/// Runs a simulation; returns the temperatures by device and time, and the labels.
fn run(settings: &Settings) -> (BTreeMap<(String, i64), f64>, Vec<Label>) {
    let mut simulation = Simulation::new(FeedKind::Telemetry, settings).unwrap();
    assert!(simulation.enable_labels());
    let (mut readings, mut labels) = (BTreeMap::new(), Vec::new());
    while let Some(record) = simulation.next() {
        let value: Value = serde_json::from_slice(record.json).unwrap();
        let key = (record.key.to_owned(), record.sent_ms);
        readings.insert(key, value["temperature"].as_f64().unwrap());
        labels.extend(simulation.take_labels());
    }
    (readings, labels)
}

fn is_inside(label: &Label, device: &str, time_ms: i64) -> bool {
    label.device == device
        && label.from_ms <= time_ms
        && label.to_ms.is_none_or(|to_ms| time_ms < to_ms)
}

#[test]
fn readings_deviate_only_where_labelled() {
    let (truth, none) = run(&settings(calm()));
    let rates = Rates { shift: 1.0, fast_drift: 1.0, spike: 0.001, ..calm() };
    let (readings, labels) = run(&settings(rates));

    assert!(none.is_empty());
    for kind in [FaultKind::LevelShift, FaultKind::Drift, FaultKind::Spike] {
        assert!(labels.iter().filter(|label| label.kind == kind).count() > 4, "{labels:?}");
    }
    for ((device, time_ms), value) in &readings {
        let off = value - truth[&(device.clone(), *time_ms)];
        let said: f64 = labels
            .iter()
            .filter(|label| is_inside(label, device, *time_ms))
            .map(|label| match label.kind {
                FaultKind::Drift => {
                    let hours = f64::from(i32::try_from(time_ms - label.from_ms).unwrap()) / 3.6e6;
                    label.size * hours
                }
                _ => label.size,
            })
            .sum();
        // Values outside the sensor's range are cut off.
        if (-39.0..59.0).contains(value) {
            assert!((off - said).abs() < 0.02, "{device} {time_ms}: {off} {said}");
        }
    }
}

#[test]
fn stuck_sensor_repeats_one_value_while_labelled() {
    let (readings, labels) = run(&settings(Rates { stuck: 2.0, ..calm() }));

    assert!(labels.len() > 10, "{labels:?}");
    for label in &labels {
        let shown: Vec<_> = readings
            .iter()
            .filter(|((device, time_ms), _)| is_inside(label, device, *time_ms))
            .map(|(_, value)| value.to_bits())
            .collect();
        assert!(shown.len() >= 29 && shown.iter().all(|value| *value == shown[0]), "{label:?}");
    }
}

#[test]
fn faults_follow_their_rates_without_overlap() {
    let rates = Rates { shift: 0.5, fast_drift: 1.0, stuck: 1.5, ..calm() };
    let settings = Settings {
        devices: 50,
        interval_ms: 900_000,
        duration_ms: Some(8 * DAY_MS),
        ..settings(rates)
    };
    let (_, labels) = run(&settings);

    let count = |kind| labels.iter().filter(|label| label.kind == kind).count();
    assert!((150..250).contains(&count(FaultKind::LevelShift)), "{}", count(FaultKind::LevelShift));
    assert!((330..470).contains(&count(FaultKind::Drift)), "{}", count(FaultKind::Drift));
    assert!((520..680).contains(&count(FaultKind::Stuck)), "{}", count(FaultKind::Stuck));
    let mut last = BTreeMap::new();
    for label in labels {
        let before = last.insert(label.device, label.to_ms.unwrap());
        assert!(before.is_none_or(|before| before < label.from_ms));
    }
}

#[test]
fn slow_drift_is_labelled_once() {
    let (_, labels) = run(&settings(Rates { drift: 1.0, ..calm() }));

    assert_eq!(labels.len(), 4);
    for label in labels {
        assert_eq!((label.kind, label.to_ms), (FaultKind::SlowDrift, None));
        assert!((0.75..1.5).contains(&label.size.abs()), "{label:?}");
    }
}

#[test]
fn labels_and_faults_leave_other_records_unchanged() {
    let lines = |with_labels: bool| {
        let mut simulation =
            Simulation::new(FeedKind::Telemetry, &settings(Rates::default())).unwrap();
        if with_labels {
            simulation.enable_labels();
        }
        let mut lines = Vec::new();
        while let Some(record) = simulation.next() {
            lines.push(record.json.to_vec());
        }
        lines
    };

    assert!(lines(true) == lines(false));
    let mut accidents =
        Simulation::new(FeedKind::Accidents, &Settings::of(FeedKind::Accidents)).unwrap();
    assert!(!accidents.enable_labels());
}
