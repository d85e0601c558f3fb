//! Shape and rates of each feed, and its stability for a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;
use tributary_datagen::{Counts, FeedKind, Rates, Settings, Simulation};

const ALL: [FeedKind; 4] =
    [FeedKind::Flood, FeedKind::Telemetry, FeedKind::Accidents, FeedKind::Covid];

const HOUR_MS: i64 = 3_600_000;

/// Rates without faults and without weather.
const CALM: Rates = Rates {
    storm: 0.0,
    drift: 0.0,
    noise: 0.0,
    dropout: 0.0,
    late: 0.0,
    duplicate: 0.0,
    spike: 0.0,
    shift: 0.0,
    fast_drift: 0.0,
    stuck: 0.0,
};

struct Sent {
    at: i64,
    key: String,
    line: String,
}

impl Sent {
    fn value(&self) -> Value {
        serde_json::from_str(&self.line).unwrap()
    }
}

fn run(kind: FeedKind, settings: &Settings, count: usize) -> (Vec<Sent>, Counts) {
    let mut simulation = Simulation::new(kind, settings).unwrap();
    let mut sent = Vec::new();
    while sent.len() < count
        && let Some(record) = simulation.next()
    {
        let line = str::from_utf8(record.json).unwrap().to_owned();
        sent.push(Sent { at: record.sent_ms, key: record.key.to_owned(), line });
    }
    (sent, simulation.counts())
}

fn with(kind: FeedKind, rates: Rates) -> Settings {
    Settings { rates, ..Settings::of(kind) }
}

#[test]
fn the_first_records_of_a_seed_never_change() {
    let names = [
        (FeedKind::Flood, "the_first_records_of_flood"),
        (FeedKind::Telemetry, "the_first_records_of_telemetry"),
        (FeedKind::Accidents, "the_first_records_of_accidents"),
        (FeedKind::Covid, "the_first_records_of_covid"),
    ];
    for (kind, name) in names {
        let (sent, _) = run(kind, &Settings { seed: 7, ..Settings::of(kind) }, 5);
        let lines = sent.iter().fold(String::new(), |mut lines, sent| {
            writeln!(lines, "{} {}", sent.key, sent.line).unwrap();
            lines
        });

        insta::assert_snapshot!(name, lines);
    }
}

#[test]
fn records_depend_only_on_settings_and_seed() {
    for kind in ALL {
        let lines = |seed: u64| {
            let (sent, _) = run(kind, &Settings { seed, ..Settings::of(kind) }, 2_000);
            sent.into_iter().map(|sent| sent.line).collect::<Vec<_>>()
        };

        assert_eq!(lines(3), lines(3));
        assert_ne!(lines(3), lines(4));
    }
}

#[test]
fn every_record_has_the_shape_of_its_dataset() {
    let shapes = [
        (FeedKind::Flood, "sensor_id", "sensor_id location water_level timestamp"),
        (
            FeedKind::Telemetry,
            "device_id",
            "device_id timestamp temperature humidity pressure location status",
        ),
        (FeedKind::Covid, "fips", "date county state fips cases deaths"),
    ];
    for (kind, key, shape) in shapes {
        let (sent, _) = run(kind, &Settings::of(kind), 2_000);

        for sent in sent {
            let value = sent.value();
            let mut names: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
            let mut expected: Vec<_> = shape.split(' ').map(str::to_owned).collect();
            names.sort();
            expected.sort();
            assert_eq!(names, expected);
            assert!(value[key] == sent.key.as_str() || value["county"] == sent.key.as_str());
            assert!(!sent.key.is_empty());
        }
    }
}

#[test]
fn accident_has_46_csv_columns() {
    let valid = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/datasets/accidents/valid.csv");
    let header = std::fs::read_to_string(valid).unwrap();
    let header: BTreeSet<_> = header.lines().next().unwrap().split(',').collect();

    let (sent, _) = run(FeedKind::Accidents, &Settings::of(FeedKind::Accidents), 1_000);

    for sent in sent {
        let value = sent.value();
        let row = value.as_object().unwrap();
        assert_eq!(row.keys().map(String::as_str).collect::<BTreeSet<_>>(), header);
        assert!(row.values().all(Value::is_string));
        assert_eq!(row["ID"], sent.key.as_str());
    }
}

#[test]
fn records_are_sent_in_order_of_time() {
    for kind in ALL {
        let rates = Rates { late: 0.3, duplicate: 0.3, ..Rates::default() };

        let (sent, _) = run(kind, &with(kind, rates), 5_000);

        assert!(sent.is_sorted_by_key(|sent| sent.at), "{kind:?}");
    }
}

#[test]
fn late_records_follow_the_end_of_readings() {
    let settings = Settings {
        duration_ms: Some(10 * HOUR_MS),
        devices: 10,
        interval_ms: 60_000,
        ..with(FeedKind::Telemetry, Rates { late: 0.5, ..CALM })
    };

    let (sent, counts) = run(FeedKind::Telemetry, &settings, usize::MAX);

    assert_eq!(sent.len(), 6_000);
    assert_eq!(counts.records, 6_000);
    let distinct: BTreeSet<_> = sent.iter().map(|sent| &sent.line).collect();
    assert_eq!(distinct.len(), 6_000);
    assert!(sent.last().unwrap().at > settings.start_ms + 10 * HOUR_MS);
}

/// Returns true if a count is within five standard deviations of `share` of `all`.
fn near(count: u64, all: usize, share: f64) -> bool {
    let all = f64::from(u32::try_from(all).unwrap());
    let deviation = (all * share * (1.0 - share)).sqrt();
    let count = f64::from(u32::try_from(count).unwrap());
    (count - all * share).abs() <= 5.0 * deviation.max(1.0)
}

#[test]
fn observed_shares_match_their_rates() {
    const READINGS: usize = 200_000;
    let settings = |rates: Rates| Settings {
        devices: 200,
        interval_ms: 1_000,
        duration_ms: Some(1_000_000),
        ..with(FeedKind::Telemetry, rates)
    };
    let run = |rates| run(FeedKind::Telemetry, &settings(rates), usize::MAX);

    let (sent, counts) = run(CALM);
    assert_eq!((sent.len(), counts.records), (READINGS, 200_000));

    let (sent, counts) = run(Rates { duplicate: 0.05, ..CALM });
    assert!(near(counts.duplicates, READINGS, 0.05), "{counts:?}");
    let distinct: BTreeSet<_> = sent.iter().map(|sent| &sent.line).collect();
    assert_eq!(distinct.len(), READINGS);
    assert_eq!(sent.len() - distinct.len(), usize::try_from(counts.duplicates).unwrap());

    let (sent, counts) = run(Rates { late: 0.05, ..CALM });
    assert!(near(counts.late, READINGS, 0.05), "{counts:?}");
    let mut newest: BTreeMap<&str, Value> = BTreeMap::new();
    let mut behind = 0;
    for sent in &sent {
        let time = sent.value()["timestamp"].clone();
        let last = newest.entry(&sent.key).or_insert_with(|| time.clone());
        if time.as_str() < last.as_str() {
            behind += 1;
        } else {
            *last = time;
        }
    }
    // A late record whose successors are late too is not out of order.
    assert!(behind <= counts.late && behind * 10 > counts.late * 9, "{behind} {counts:?}");

    let (sent, counts) = run(Rates { dropout: 0.1, ..CALM });
    assert_eq!(sent.len(), READINGS - usize::try_from(counts.dropped).unwrap());
    // Dropped readings come in runs of eight, so the share varies more than its square root.
    assert!((18_000..22_000).contains(&counts.dropped), "{counts:?}");

    let (_, counts) = run(Rates { spike: 0.02, ..CALM });
    assert!(near(counts.spikes, READINGS, 0.02), "{counts:?}");
}

#[test]
fn each_rate_leaves_other_readings_unchanged() {
    let lines = |rates: Rates| -> BTreeSet<String> {
        let settings = Settings { duration_ms: Some(48 * HOUR_MS), ..with(FeedKind::Flood, rates) };
        run(FeedKind::Flood, &settings, usize::MAX).0.into_iter().map(|it| it.line).collect()
    };

    let plain = lines(Rates { late: 0.0, duplicate: 0.0, ..Rates::default() });
    assert_eq!(lines(Rates { late: 0.4, duplicate: 0.3, ..Rates::default() }), plain);
    let quiet = lines(Rates { late: 0.0, dropout: 0.3, ..Rates::default() });
    assert!(quiet.len() < plain.len());
    assert!(quiet.intersection(&plain).count() * 10 > quiet.len() * 9);
}

/// Returns the values of a field by device, in order of time.
fn series(kind: FeedKind, field: &str, settings: &Settings) -> BTreeMap<String, Vec<f64>> {
    let mut series: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for sent in run(kind, settings, usize::MAX).0 {
        let value = sent.value()[field].as_f64().unwrap();
        series.entry(sent.key).or_default().push(value);
    }
    series
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / f64::from(u32::try_from(values.len()).unwrap())
}

/// Returns settings for two months of hourly readings of 60 devices.
fn months(kind: FeedKind, rates: Rates) -> Settings {
    Settings {
        devices: 60,
        interval_ms: HOUR_MS,
        duration_ms: Some(60 * 24 * HOUR_MS),
        ..with(kind, rates)
    }
}

#[test]
fn noise_differs_between_consecutive_readings() {
    let jitter = |noise: f64| {
        let settings = Settings {
            interval_ms: 1_000,
            duration_ms: Some(600_000),
            ..with(FeedKind::Telemetry, Rates { noise, ..CALM })
        };
        let series = series(FeedKind::Telemetry, "temperature", &settings);
        let steps: Vec<_> =
            series.values().flat_map(|it| it.windows(2).map(|w| (w[1] - w[0]).abs())).collect();
        mean(&steps)
    };

    assert!(jitter(0.0) < 0.005, "{}", jitter(0.0));
    assert!((0.1..0.2).contains(&jitter(1.0)), "{}", jitter(1.0));
}

#[test]
fn drifting_sensor_moves_away_from_truth() {
    let levels = |drift| {
        let settings = months(FeedKind::Flood, Rates { drift, ..CALM });
        series(FeedKind::Flood, "water_level", &settings)
    };
    let (good, drifting) = (levels(0.0), levels(0.5));

    let away = |sensor: &String| (mean(&good[sensor]) - mean(&drifting[sensor])).abs();
    let moved = good.keys().filter(|sensor| away(sensor) > 0.05).count();
    assert!((15..45).contains(&moved), "{moved} of 60");
    let still = good.keys().filter(|sensor| away(sensor) < 0.001).count();
    assert_eq!(moved + still, 60);
}

#[test]
fn storms_make_rivers_rise_fast_and_fall_slowly() {
    let settings = months(FeedKind::Flood, Rates { storm: 0.15, ..CALM });
    let levels = series(FeedKind::Flood, "water_level", &settings);
    let calm = series(FeedKind::Flood, "water_level", &months(FeedKind::Flood, CALM));

    let highest = |levels: &[f64]| levels.iter().copied().fold(0.0, f64::max);
    let flooded = levels.keys().filter(|it| highest(&levels[*it]) > highest(&calm[*it]) + 1.0);
    assert!(flooded.count() > 30);
    let steps: Vec<f64> =
        levels.values().flat_map(|it| it.windows(2).map(|w| w[1] - w[0])).collect();
    let rising = steps.iter().filter(|step| **step > 0.03).count();
    let falling = steps.iter().filter(|step| **step < -0.005).count();
    assert!(falling > 3 * rising, "{rising} hours up, {falling} down");
}

#[test]
fn wave_arrives_downstream_later_and_lower() {
    let settings = months(FeedKind::Flood, Rates { storm: 0.1, ..CALM });
    let levels = series(FeedKind::Flood, "water_level", &settings);
    let peak = |gauge: u32| {
        let levels = &levels[&format!("river-0000-gauge-{gauge}")];
        let highest = levels.iter().copied().fold(0.0, f64::max);
        let lowest = levels.iter().copied().fold(f64::MAX, f64::min);
        (levels.iter().position(|level| *level >= highest).unwrap(), highest - lowest)
    };

    let ((above, max), (below, least)) = (peak(1), peak(6));
    assert!((4..=9).contains(&(below - above)), "{above} {below}");
    assert!(least < max, "{least} {max}");
}

#[test]
fn it_is_warmer_in_the_afternoon() {
    let settings = months(FeedKind::Telemetry, CALM);
    // Hourly from midnight UTC; the stations are six hours west of it.
    let series = series(FeedKind::Telemetry, "temperature", &settings);
    let at = |hour: usize| {
        let values: Vec<f64> =
            series.values().flat_map(|it| it.iter().skip(hour).step_by(24).copied()).collect();
        mean(&values)
    };

    assert!(at(20) > at(8) + 5.0, "{} {}", at(20), at(8));
}

#[test]
fn accidents_follow_the_clock_of_their_place() {
    let (sent, _) = run(FeedKind::Accidents, &with(FeedKind::Accidents, CALM), 20_000);
    let mut hours = [0; 24];
    for sent in sent {
        let time = sent.value()["Start_Time"].as_str().unwrap()[11..13].to_owned();
        hours[time.parse::<usize>().unwrap()] += 1;
    }

    assert!(hours[17] > 4 * hours[3], "{hours:?}");
    assert!(hours[8] > 4 * hours[2], "{hours:?}");
}

#[test]
fn county_counts_only_grow_without_faults() {
    let settings = Settings {
        duration_ms: Some(200 * 24 * HOUR_MS),
        ..with(FeedKind::Covid, Rates { noise: 1.0, ..CALM })
    };
    let mut counties: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for sent in run(FeedKind::Covid, &settings, usize::MAX).0 {
        let cases = sent.value()["cases"].as_str().unwrap().parse().unwrap();
        counties.entry(sent.key).or_default().push(cases);
    }

    assert_eq!(counties.len(), 45);
    assert!(counties.contains_key("New York City"));
    for cases in counties.values() {
        assert!(cases.is_sorted() && cases[199] > 500, "{cases:?}");
    }
}

/// 9999-12-30T22:00:00Z.
const LAST_TIME_MS: i64 = 253_402_207_200_000;

#[test]
fn unlimited_feed_ends_before_year_10000() {
    let settings = Settings {
        start_ms: LAST_TIME_MS - HOUR_MS,
        devices: 1,
        interval_ms: HOUR_MS / 4,
        rates: CALM,
        ..Settings::of(FeedKind::Flood)
    };
    let mut simulation = Simulation::new(FeedKind::Flood, &settings).unwrap();

    let mut readings = 0;
    while let Some(record) = simulation.next() {
        readings += 1;
        assert!(String::from_utf8_lossy(record.json).contains("\"9999-12-30T2"));
    }
    assert_eq!(readings, 5);
}

#[test]
fn invalid_settings_report_one_line() {
    let wrong = [
        (FeedKind::Flood, Settings { devices: 0, ..Settings::of(FeedKind::Flood) }),
        (FeedKind::Covid, Settings { devices: 46, ..Settings::of(FeedKind::Covid) }),
        (FeedKind::Covid, Settings { interval_ms: 1_000, ..Settings::of(FeedKind::Covid) }),
        (FeedKind::Flood, Settings { interval_ms: 0, ..Settings::of(FeedKind::Flood) }),
        (FeedKind::Flood, Settings { start_ms: i64::MAX, ..Settings::of(FeedKind::Flood) }),
        (
            FeedKind::Flood,
            Settings {
                start_ms: LAST_TIME_MS - 24 * HOUR_MS,
                duration_ms: Some(25 * HOUR_MS),
                ..Settings::of(FeedKind::Flood)
            },
        ),
        (FeedKind::Flood, with(FeedKind::Flood, Rates { late: 1.1, ..CALM })),
        (FeedKind::Flood, with(FeedKind::Flood, Rates { spike: f64::NAN, ..CALM })),
        (FeedKind::Flood, with(FeedKind::Flood, Rates { dropout: 1.0, ..CALM })),
        (FeedKind::Flood, with(FeedKind::Flood, Rates { storm: -1.0, ..CALM })),
        (FeedKind::Flood, with(FeedKind::Flood, Rates { stuck: 1.0, ..CALM })),
        (FeedKind::Telemetry, with(FeedKind::Telemetry, Rates { shift: 4.1, ..CALM })),
        (FeedKind::Telemetry, with(FeedKind::Telemetry, Rates { shift: 3.0, stuck: 2.0, ..CALM })),
    ];
    for (kind, settings) in wrong {
        let error = Simulation::new(kind, &settings).err().unwrap().to_string();

        assert!(!error.contains('\n') && !error.is_empty(), "{settings:?}");
    }
}
