//! Tests of series with each kind of anomaly, and of series with none.

use std::f64::consts::TAU;

use proptest::prelude::*;

use super::*;

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;

fn spec() -> AnomalySpec {
    toml::from_str(r#"measures = ["level"]"#).unwrap()
}

fn detector(spec: &AnomalySpec, step_s: i64) -> Detector {
    Detector::compile(spec, SignedDuration::from_secs(step_s)).unwrap()
}

/// Returns reproducible uniform noise with a deviation of 1.
fn noise(step: i64) -> f64 {
    let mut x = step.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a double holds")]
    let unit = ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
    (2.0 * unit - 1.0) * 3.0_f64.sqrt()
}

fn turn(step: i64, of: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a count of windows")]
    let turns = step as f64 / of as f64;
    (turns * TAU).sin()
}

/// Series of minutes: 20 °C, ±5 °C over the day, 0.05 of noise.
fn weather(step: i64) -> f64 {
    20.0 + 5.0 * turn(step, 1_440) + 0.05 * noise(step)
}

/// Evaluates windows `0..count` of a series, `step_s` seconds apart.
fn evaluate(
    detector: &Detector,
    step_s: i64,
    count: i64,
    value: impl Fn(i64) -> f64,
) -> Vec<Option<Finding>> {
    let mut baseline = Baseline::default();
    (0..count)
        .map(|step| {
            let start = Timestamp::from_second(step * step_s).unwrap();
            let (findings, after) = detector.evaluate(&baseline, start, |_| Some(value(step)));
            baseline = after;
            findings.0.first().cloned()
        })
        .collect()
}

/// Returns the windows with an anomaly, and its kind.
fn anomalies(found: &[Option<Finding>]) -> Vec<(usize, AnomalyKind)> {
    let kind = |finding: &Option<Finding>| finding.as_ref().and_then(|finding| finding.kind);
    found.iter().enumerate().filter_map(|(at, finding)| Some((at, kind(finding)?))).collect()
}

fn minutes(count: i64, value: impl Fn(i64) -> f64) -> Vec<(usize, AnomalyKind)> {
    anomalies(&evaluate(&detector(&spec(), MINUTE), MINUTE, count, value))
}

#[test]
fn nothing_is_reported_during_warm_up() {
    let found = evaluate(&detector(&spec(), MINUTE), MINUTE, 70, |step| {
        if step == 30 { 1e3 } else { weather(step) }
    });

    assert!(found[..60].iter().all(Option::is_none));
    assert!(found[60..].iter().all(Option::is_some));
}

#[test]
fn week_of_weather_has_no_anomaly() {
    assert_eq!(minutes(7 * 1_440, weather), []);
}

#[test]
fn spike_is_reported_once_and_not_learned() {
    let found = evaluate(&detector(&spec(), MINUTE), MINUTE, 1_000, |step| {
        weather(step) + if step == 500 { 3.0 } else { 0.0 }
    });

    assert_eq!(anomalies(&found), [(500, AnomalyKind::Spike)]);
    assert!(found[500].as_ref().unwrap().z > 20.0);
    assert!(found[501..].iter().flatten().all(|finding| finding.z.abs() < 4.0));
}

#[test]
fn repeated_spikes_are_each_reported() {
    let at = [500, 507, 514, 521, 528, 535, 542, 549, 556, 563];

    let found = minutes(700, |step| weather(step) + if at.contains(&step) { -2.0 } else { 0.0 });

    assert_eq!(found, at.map(|at| (usize::try_from(at).unwrap(), AnomalyKind::Spike)));
}

#[test]
fn level_shift_is_accepted_after_five_windows() {
    let found = minutes(1_000, |step| weather(step) + if step >= 500 { 2.0 } else { 0.0 });

    let kinds: Vec<_> = found.iter().map(|&(_, kind)| kind).collect();
    assert_eq!(found.iter().map(|&(at, _)| at).collect::<Vec<_>>(), [500, 501, 502, 503, 504]);
    assert_eq!(kinds[..2], [AnomalyKind::Spike; 2]);
    assert_eq!(kinds[2..], [AnomalyKind::LevelShift; 3]);
}

#[test]
fn half_shifted_window_is_not_a_drift() {
    let halves = |step: i64| f64::from(i32::try_from((step - 499).clamp(0, 2)).unwrap());

    let found = minutes(1_000, |step| weather(step) + 2.0 * halves(step));

    assert_eq!(found.len(), 5);
    assert_eq!(found[4], (504, AnomalyKind::LevelShift));
}

#[test]
fn slow_runaway_sensor_drifts() {
    #[expect(clippy::cast_precision_loss, reason = "a count of windows")]
    let drift = |step: i64| (step - 3_000).clamp(0, 60) as f64 * 0.15;

    let found = minutes(3_060, |step| weather(step) + drift(step));

    let &(first, _) = found.first().unwrap();
    assert!((3_001..3_010).contains(&first), "{found:?}");
    let drifts = found.iter().filter(|&&(_, kind)| kind == AnomalyKind::Drift).count();
    assert!(drifts > 45, "{found:?}");
}

#[test]
fn fast_runaway_sensor_drifts() {
    #[expect(clippy::cast_precision_loss, reason = "a count of windows")]
    let drift = |step: i64| (step - 500).clamp(0, 20) as f64 * 1.5;

    let found = minutes(520, |step| weather(step) + drift(step));

    assert_eq!(found.iter().find(|&&(at, _)| at == 503), Some(&(503, AnomalyKind::Drift)));
}

#[test]
fn constant_sensor_is_stuck_until_it_moves() {
    let found = minutes(1_000, |step| weather(if (500..600).contains(&step) { 500 } else { step }));

    assert!(found.iter().all(|&(at, kind)| (503..600).contains(&at) && kind == AnomalyKind::Stuck));
    assert!(found.len() >= 95, "{}", found.len());
}

#[test]
fn often_repeating_series_is_not_stuck() {
    let found = minutes(3_000, |step| if noise(step / 7) > 0.0 { 2.0 } else { 2.001 });

    assert_eq!(found.iter().filter(|&&(_, kind)| kind == AnomalyKind::Stuck).count(), 0);
}

#[test]
fn higher_variance_is_learned_within_an_hour() {
    let wild = |step: i64| if step < 500 { 1.0 } else { 20.0 };

    let found = minutes(2_000, |step| 20.0 + 0.05 * wild(step) * noise(step));

    assert!(found.iter().any(|&(at, _)| at < 510), "{found:?}");
    assert!(found.iter().all(|&(at, _)| at < 560), "{found:?}");
}

#[test]
fn season_explains_repeating_hours() {
    // A count that triples at eight and falls at eighteen every day, with one spike at three.
    let day = |hour: i64| if (8..18).contains(&hour.rem_euclid(24)) { 90.0 } else { 30.0 };
    let series =
        |step: i64| day(step) + 2.0 * noise(step) + if step == 24 * 27 + 3 { 60.0 } else { 0.0 };
    let plain = AnomalySpec { warm_up: 48, half_life: 12.0, ..spec() };
    let seasonal = AnomalySpec { seasonal: Some(Seasonal::HourOfDay), ..plain.clone() };
    let last_weeks = |spec: &AnomalySpec| {
        let found = evaluate(&detector(spec, HOUR), HOUR, 24 * 28, series);
        anomalies(&found).into_iter().filter(|&(at, _)| at >= 24 * 14).collect::<Vec<_>>()
    };

    assert_eq!(last_weeks(&plain), []);
    assert_eq!(last_weeks(&seasonal), [(24 * 27 + 3, AnomalyKind::Spike)]);
}

#[test]
fn gap_widens_expectation_and_long_gap_restarts() {
    let after = |gap: i64, value: f64| {
        let detector = detector(&spec(), MINUTE);
        let mut baseline = Baseline::default();
        for step in 0..2_000 {
            let start = Timestamp::from_second(step * MINUTE).unwrap();
            baseline = detector.evaluate(&baseline, start, |_| Some(weather(step))).1;
        }
        let start = Timestamp::from_second((1_999 + gap) * MINUTE).unwrap();
        detector.evaluate(&baseline, start, |_| Some(value)).0.0.first().map(|it| it.kind)
    };
    let near = weather(1_999) + 0.6;

    assert_eq!(after(1, near), Some(Some(AnomalyKind::Spike)));
    assert_eq!(after(40, near), Some(None));
    assert_eq!(after(62, near), None);
}

#[test]
fn floor_suppresses_small_deviations() {
    let step_up = |step: i64| if step == 500 { 2.004 } else { 2.0 };
    let floor = AnomalySpec { floor: [("level".to_owned(), 0.01)].into(), ..spec() };

    let reported = |spec: &AnomalySpec| {
        anomalies(&evaluate(&detector(spec, MINUTE), MINUTE, 600, step_up)).len()
    };

    assert!(reported(&spec()) > 0);
    assert_eq!(reported(&floor), 0);
}

#[test]
fn window_event_gets_scores_and_tags() {
    let spec = AnomalySpec { measures: vec!["a".into(), "b".into(), "c".into()], ..spec() };
    let detector = detector(&spec, MINUTE);
    let mut baseline = Baseline::default();
    let mut findings = Findings::default();
    for step in 0..=500 {
        let start = Timestamp::from_second(step * MINUTE).unwrap();
        let spike = if step == 500 { 9.0 } else { 0.0 };
        (findings, baseline) = detector.evaluate(&baseline, start, |name| match name {
            "a" => Some(weather(step) + spike),
            "b" => Some(weather(step + 77)),
            _ => None,
        });
    }

    let names: Vec<_> = findings.measures().map(|(name, _)| name).collect();
    assert_eq!(names, ["a_z", "b_z"]);
    assert_eq!(findings.tags(), ["anomaly", "anomaly:a", "anomaly_kind:spike"]);
}

#[test]
fn baseline_is_small_and_round_trips() {
    for seasonal in [None, Some(Seasonal::HourOfDay)] {
        let detector = detector(&AnomalySpec { seasonal, ..spec() }, MINUTE);
        let mut baseline = Baseline::default();
        for step in 0..5_000 {
            let start = Timestamp::from_second(1_767_225_600 + step * MINUTE).unwrap();
            baseline = detector.evaluate(&baseline, start, |_| Some(weather(step))).1;
        }
        let text = serde_json::to_string(&baseline).unwrap();

        assert!(text.len() < if seasonal.is_some() { 560 } else { 200 }, "{} {text}", text.len());
        assert_eq!(serde_json::from_str::<Baseline>(&text).unwrap(), baseline);
    }
}

#[test]
fn docs_state_the_defaults() {
    let page = include_str!("../../../docs/ANOMALY.md");
    let (_, block) = page.split_once("[windows.anomaly]\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();

    let stated: AnomalySpec = toml::from_str(block).unwrap();

    assert_eq!(stated.seasonal, Some(Seasonal::HourOfDay));
    let defaults = AnomalySpec { measures: stated.measures.clone(), ..spec() };
    assert_eq!(AnomalySpec { seasonal: None, floor: BTreeMap::new(), ..stated }, defaults);
}

#[test]
fn invalid_spec_is_rejected() {
    let faults = [
        "measures = []",
        "measures = ['a', 'b', 'a']",
        "measures = ['a']\nwarm_up = 9",
        "measures = ['a']\nhalf_life = 0.5",
        "measures = ['a']\nhalf_life = nan",
        "measures = ['a']\nmemory = 1",
        "measures = ['a']\naccept = 2",
        "measures = ['a']\nz = 1.0",
        "measures = ['a']\ndrift_z = inf",
        "measures = ['a']\nfloor = { b = 1.0 }",
        "measures = ['a']\nfloor = { a = -1.0 }",
    ];
    let reported: Vec<_> = faults
        .iter()
        .map(|text| {
            let spec: AnomalySpec = toml::from_str(text).unwrap();
            let step = SignedDuration::from_secs(60);
            format!("window w: anomaly: {}", Detector::compile(&spec, step).unwrap_err())
        })
        .collect();

    insta::assert_snapshot!(reported.join("\n"));
    let spec = AnomalySpec { seasonal: Some(Seasonal::HourOfDay), ..spec() };
    assert!(Detector::compile(&spec, SignedDuration::from_hours(2)).is_err());
    assert!(toml::from_str::<AnomalySpec>("measures = ['a']\nthreshold = 3").is_err());
}

/// Generates ordinary, huge, tiny, equal and non-finite values.
fn anything() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -50.0..50.0_f64,
        2 => Just(20.0),
        1 => any::<f64>(),
        1 => prop_oneof![Just(0.0), Just(f64::MAX), Just(f64::MIN), Just(5e-324)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_values_give_finite_scores_and_small_state(
        values in prop::collection::vec((anything(), -3..90_i64), 1..400),
        is_seasonal in any::<bool>(),
    ) {
        let seasonal = is_seasonal.then_some(Seasonal::HourOfDay);
        let spec = AnomalySpec { seasonal, warm_up: 10, memory: 20, ..spec() };
        let detector = detector(&spec, MINUTE);
        let (mut baseline, mut step) = (Baseline::default(), 0);
        for (value, later) in values {
            step += later;
            let start = Timestamp::from_second(step * MINUTE).unwrap();
            let (findings, after) = detector.evaluate(&baseline, start, |_| Some(value));
            for finding in &findings.0 {
                prop_assert!(finding.z.abs() <= MAX_Z, "{finding:?}");
            }
            let text = serde_json::to_string(&after).unwrap();
            prop_assert!(!text.contains("null") && text.len() < 900, "{}", text);
            // A stored and reloaded baseline evaluates the same.
            baseline = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&baseline, &after);
        }
    }

    #[test]
    fn one_outlier_changes_no_later_result(at in 300..900_i64, size in -1e9..1e9_f64) {
        prop_assume!(size.abs() > 5.0);
        let clean = evaluate(&detector(&spec(), MINUTE), MINUTE, 1_000, weather);
        let spiked = evaluate(&detector(&spec(), MINUTE), MINUTE, 1_000, |step| {
            weather(step) + if step == at { size } else { 0.0 }
        });

        let at = usize::try_from(at).unwrap();
        prop_assert_eq!(anomalies(&spiked), [(at, AnomalyKind::Spike)]);
        for (clean, spiked) in clean.iter().zip(&spiked).skip(at + 1) {
            let apart = clean.as_ref().unwrap().z - spiked.as_ref().unwrap().z;
            prop_assert!(apart.abs() < 1.0, "{}", apart);
        }
    }

    #[test]
    fn any_new_level_is_accepted(size in prop_oneof![-1e6..-1.0_f64, 1.0..1e6_f64]) {
        let found = minutes(700, |step| weather(step) + if step >= 500 { size } else { 0.0 });

        prop_assert_eq!(found.len(), 5, "{:?}", found);
        prop_assert_eq!(found[4], (504, AnomalyKind::LevelShift));
    }

    #[test]
    fn scores_do_not_depend_on_the_unit(factor in prop_oneof![0.01..100.0_f64, -100.0..-0.01_f64]) {
        let series = |step: i64| weather(step) + if step == 500 { 2.0 } else { 0.0 };
        let scores = |factor: f64| {
            evaluate(&detector(&spec(), MINUTE), MINUTE, 700, |step| factor * series(step))
        };

        for (one, other) in scores(1.0).iter().zip(scores(factor)) {
            let z = |finding: &Option<Finding>| finding.as_ref().map_or(0.0, |finding| finding.z);
            prop_assert!((z(one) - z(&other) * factor.signum()).abs() < 1e-3);
        }
    }
}
