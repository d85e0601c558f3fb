//! Windows over the shipped datasets: specs, aggregation, watermark and state.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use proptest::prelude::*;

use jiff::{SignedDuration, Timestamp};
use tributary_config::Configuration;
use tributary_model::config_error::ConfigError;
use tributary_model::event::Event;
use tributary_windows::aggregate::{Aggregate, Sample};
use tributary_windows::clock::{Clock, ClockStatus, Shard, StreamShard};
use tributary_windows::seen::RecordPosition;
use tributary_windows::*;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn noon() -> Timestamp {
    at("2026-11-20T12:00:00Z")
}

fn text(more: &str) -> String {
    format!(
        "[[windows]]\nid = \"w\"\ndataset = \"telemetry\"\nallowed_lateness = \"10m\"\nretention = \"1h\"\n\
         key = [\"entity\"]\nmeasures = [\"temperature_c\"]\n{more}"
    )
}

fn spec(more: &str) -> Result<Spec, String> {
    of(&text(more)).map(|mut specs| specs.remove(0)).map_err(|it| it.to_string())
}

fn of(text: &str) -> Result<Vec<Spec>, ConfigError> {
    Configuration::with_pipeline(text)?.window_specs()
}

fn tumbling() -> Spec {
    spec("size = \"1m\"\nquantiles = [0.5]\nrate = [\"temperature_c\"]").unwrap()
}

fn sample(id: u64, second: i64, value: f64) -> Sample {
    let time = noon() + SignedDuration::from_secs(second);
    Sample { id: id << 8, time, values: vec![Some(value)], counted: Vec::new() }
}

fn minute() -> Span {
    Span { start: noon(), end: noon() + MINUTE }
}

fn result(window: &Window, name: &str) -> f64 {
    *window.event(&tumbling(), "g").measures.get(name).unwrap()
}

#[test]
fn shipped_windows_compile() {
    let specs = Configuration::shipped().unwrap().window_specs().unwrap();

    let ids: Vec<_> = specs.iter().map(|spec| spec.id.as_str()).collect();
    for id in
        ["telemetry-1m", "telemetry-5m", "flood-15m", "accidents-5s", "accidents-1h", "covid-1d"]
    {
        assert!(ids.contains(&id), "{id} of {ids:?}");
    }
}

#[test]
fn invalid_spec_is_rejected_with_reason() {
    let refused = |more: &str| spec(more).unwrap_err();

    assert!(refused("size = \"0s\"").contains("at least 1s"));
    assert!(refused("size = \"1500ms\"").contains("whole seconds"));
    assert!(refused("size = \"1m\"\nslide = \"2m\"").contains("no longer than size"));
    assert!(refused("size = \"1h\"\nslide = \"1s\"").contains("more than 60 windows"));
    assert!(refused("size = \"1m\"\nquantiles = [1.5]").contains("from 0 to 1"));
    assert!(refused("size = \"1m\"\nrate = [\"x\"]").contains("none of the measures"));
    assert!(refused("size = \"1 sheep\"").contains("no length of time"));
    assert!(refused("size = \"1m\"\nidle_timeout = \"0s\"").contains("every shard would be idle"));
    assert!(refused("size = \"1m\"\ndistinct = 30000").contains("distinct is more than 25000"));
    let long = refused("size = \"9000000000000000000s\"");
    assert!(long.contains("more than a hundred years"), "{long}");
    let counted = refused("size = \"1m\"\ncount_by = [\"status\", \"status\"]");
    assert!(counted.contains("count_by names status twice"), "{counted}");
    let unknown = refused("size = \"1m\"\ncount_by = [\"colour\"]");
    assert!(unknown.contains("count_by \"colour\" is none of"), "{unknown}");
    let evaluated = refused("size = \"1m\"\n[windows.anomaly]\nmeasures = [\"temperature_c\"]");
    assert!(evaluated.contains("is none of count, temperature_c_first"), "{evaluated}");
    for (name, wrong, expected) in [
        ("measures", "[\"heat\"]", "measures \"heat\" is none of"),
        ("key", "[\"temperature_c\"]", "key \"temperature_c\" is neither entity nor one of"),
    ] {
        let right = if name == "key" { "[\"entity\"]" } else { "[\"temperature_c\"]" };
        let text = text("size = \"1m\"").replacen(
            &format!("{name} = {right}"),
            &format!("{name} = {wrong}"),
            1,
        );
        let reported = of(&text).unwrap_err().to_string();
        assert!(reported.contains(expected), "{reported}");
    }
}

/// Returns the aggregate in a stored window.
fn aggregate(window: &Window) -> Aggregate {
    let stored: serde_json::Value = serde_json::from_str(&window.to_json()).unwrap();
    serde_json::from_value(stored["aggregate"].clone()).unwrap()
}

#[test]
fn separately_counted_values_do_not_depend_on_order() {
    let spec = spec("size = \"1m\"\ncount_by = [\"sensor_id\"]").unwrap();
    let of = |id: u64| Sample {
        counted: vec![Some(format!("device-{:02}", id % 70))],
        ..sample(id, 0, 1.0)
    };
    let samples: Vec<_> = (0..210).map(of).collect();

    let mut forward = Window::open(minute());
    forward.apply(&spec, samples.iter().map(|it| (it, None)), noon());
    let mut backward = Window::open(minute());
    for batch in samples.rchunks(9) {
        backward.apply(&spec, batch.iter().map(|it| (it, None)), noon());
    }

    let counts = &aggregate(&forward).counts["sensor_id"];
    assert_eq!(*counts, aggregate(&backward).counts["sensor_id"]);
    assert_eq!((counts.len(), counts["device-49"], counts["other"]), (51, 3, 60));
}

#[test]
fn long_counted_value_is_shortened() {
    let spec = spec("size = \"1m\"\ncount_by = [\"sensor_id\"]").unwrap();
    let long = |end: &str| {
        let device = format!("{}{end}", "x".repeat(100_000));
        let event = serde_json::json!({
            "kind": "reading", "dataset": "telemetry", "event_id": "e", "entity": "e",
            "event_time": noon().to_string(), "received_at": noon().to_string(), "measures": {}, "tags": [],
            "attributes": {"sensor_id": device},
        });
        let event = event.to_string();
        Sample::of(&Event::from_json(event.as_bytes()).unwrap(), &spec).counted[0].clone().unwrap()
    };

    assert_eq!(long("1").chars().count(), 128);
    assert_ne!(long("1"), long("2"));
}

#[test]
fn tumbling_and_sliding_windows_contain_time() {
    let starts = |spec: &Spec, time| {
        spec.windows_of(at(time)).map(|span| span.start.to_string()).collect::<Vec<_>>()
    };
    let hopping = spec("size = \"1m\"\nslide = \"20s\"").unwrap();

    assert_eq!(starts(&tumbling(), "2026-11-20T12:00:59.999Z"), ["2026-11-20T12:00:00Z"]);
    assert_eq!(starts(&tumbling(), "2026-11-20T12:01:00Z"), ["2026-11-20T12:01:00Z"]);
    assert_eq!(starts(&tumbling(), "1969-12-31T23:59:59.5Z"), ["1969-12-31T23:59:00Z"]);
    let over = ["2026-11-20T11:59:20Z", "2026-11-20T11:59:40Z", "2026-11-20T12:00:00Z"];
    assert_eq!(starts(&hopping, "2026-11-20T12:00:00Z"), over);
    assert_eq!(starts(&hopping, "2026-11-20T12:00:19Z"), over);
}

#[test]
fn long_keys_stay_distinct() {
    let key = |entity: String| {
        let json = format!(
            r#"{{"kind":"reading","dataset":"telemetry","event_id":"1","entity":"{entity}","event_time":"2026-11-20T12:00:00Z","received_at":"2026-11-20T12:00:00Z","measures":{{}},"attributes":{{}},"tags":[]}}"#
        );
        tumbling().key_of(&Event::from_json(json.as_bytes()).unwrap())
    };

    let (one, other) = (key("ä".repeat(300)), key("ä".repeat(301)));

    assert_eq!((one.chars().count(), other.chars().count()), (256, 256));
    assert_ne!(one, other);
    assert_eq!(key("ä".repeat(256)), "ä".repeat(256));
    assert_eq!(key(String::new()), "unknown");
}

#[test]
fn second_value_of_a_reading_is_a_conflict() {
    let spec = tumbling();
    let mut window = Window::open(minute());
    let first = sample(1, 0, 20.0);
    let other = Sample { id: first.id + 1, ..first.clone() };

    let added = window.apply(&spec, [&first, &other, &first].map(|it| (it, None)), noon());

    assert_eq!((added, window.contains(other.id, None)), (1, true));
    assert_eq!([&first, &other].map(|it| window.conflicts(it.id)), [false, true]);
    let reread = Window::from_json(&window.to_json()).unwrap();
    assert!(reread.conflicts(other.id) && !reread.conflicts(sample(2, 0, 20.0).id));
}

#[test]
fn late_event_adds_revision_to_closed_window() {
    let spec = tumbling();
    let mut window = Window::open(minute());

    assert_eq!(window.apply(&spec, [(&sample(1, 0, 20.0), None)], noon()), 1);
    assert_eq!((window.phase(), window.due()), (Phase::Open, Some(minute().end)));
    assert!(window.close(noon()));
    assert_eq!((window.phase(), window.due()), (Phase::Pending, Some(Timestamp::UNIX_EPOCH)));
    window.mark_emitted();
    assert_eq!((window.phase(), window.due(), window.revision()), (Phase::Closed, None, 0));
    assert!(!window.close(noon()));

    assert_eq!(window.apply(&spec, [(&sample(1, 0, 20.0), None)], noon()), 0);
    assert_eq!(window.phase(), Phase::Closed);
    assert_eq!(window.apply(&spec, [(&sample(2, 30, 22.0), None)], noon()), 1);
    assert_eq!((window.phase(), window.revision()), (Phase::Pending, 1));
    assert!((result(&window, "temperature_c_mean") - 21.0).abs() < 1e-12);
    assert!((result(&window, "temperature_c_per_h") - 240.0).abs() < 1e-9);
}

#[test]
fn window_event_id_depends_on_group_and_revision() {
    let (spec, mut window) = (tumbling(), Window::open(minute()));
    window.apply(&spec, [(&sample(1, 0, 20.0), None)], noon());
    let first = window.event(&spec, "g").event_id.into_owned();
    window.close(noon());
    window.mark_emitted();

    assert_eq!(window.event(&spec, "g").event_id, first);
    assert_ne!(window.event(&spec, "h").event_id, first);
    window.apply(&spec, [(&sample(2, 0, 20.0), None)], noon());
    assert_ne!(window.event(&spec, "g").event_id, first);
}

#[test]
fn window_beyond_distinct_limit_is_approximate() {
    let spec = spec("size = \"1m\"\ndistinct = 2").unwrap();
    let samples: Vec<_> = (1..=4).map(|id| sample(id, 0, 1.0)).collect();
    let place = |number| Some(RecordPosition { shard: "s", number });
    let mut window = Window::open(minute());
    let numbers = ["8", "9", "10", "11"];
    let batch = || samples.iter().zip(numbers).map(|(sample, it)| (sample, place(it)));

    assert_eq!(window.apply(&spec, batch(), noon()), 4);
    assert_eq!(window.apply(&spec, batch(), noon()), 0);
    assert_eq!(window.apply(&spec, [(&sample(5, 0, 1.0), place("12"))], noon()), 1);
    assert_eq!(window.event(&spec, "g").tags, ["approximate"]);
}

#[test]
fn redriven_batch_is_added_after_later_records() {
    let (spec, mut window) = (tumbling(), Window::open(minute()));
    let place = |number| Some(RecordPosition { shard: "s", number });

    window.apply(&spec, [(&sample(2, 1, 1.0), place("9"))], noon());

    assert_eq!(window.apply(&spec, [(&sample(1, 0, 1.0), place("3"))], noon()), 1);
}

fn shard(id: &str, watermark: Option<&str>, last_seen: &str) -> Shard {
    Shard {
        id: id.into(),
        watermark: watermark.map(at),
        last_seen: at(last_seen),
        is_closed: false,
    }
}

#[test]
fn clock_uses_lowest_watermark_of_active_shards() {
    let (early, late) = ("2026-11-20T11:50:00Z", "2026-11-20T11:58:00Z");
    let clock = |shards: Vec<Shard>| Clock { shards, ..Clock::default() };
    let now = "2026-11-20T12:00:00Z";
    let status = |clock: &Clock| clock.status(noon(), 2 * MINUTE);

    let both = clock(vec![shard("a", Some(early), now), shard("b", Some(late), now)]);
    assert_eq!(status(&both), ClockStatus::At(at(early)));
    let one_idle = clock(vec![shard("a", Some(early), early), shard("b", Some(late), now)]);
    assert_eq!(status(&one_idle), ClockStatus::At(at(late)));
    let one_new = clock(vec![shard("a", None, now), shard("b", Some(late), now)]);
    assert_eq!(status(&one_new), ClockStatus::Waiting);
    let all_idle = clock(vec![shard("a", None, early), shard("b", Some(late), late)]);
    assert_eq!(status(&all_idle), ClockStatus::Idle);
}

/// Rises of a watermark and the windows that the store may have removed, an hour after each.
#[test]
fn removed_windows_start_before_earlier_watermark() {
    let hour = 60 * MINUTE;
    let mut clock = Clock::default();
    let mut raise = |to: &str, now: Timestamp| {
        let rise = clock.rise(at(to), now, hour);
        (clock.watermark, clock.raised_at) = (Some(rise.to), Some(rise.at));
        clock.mark = Some(rise.mark);
        clock.clone()
    };
    let first = raise("2020-01-01T00:00:00Z", noon());
    assert_eq!(first.removed_until(noon() + 59 * MINUTE, hour), None, "too young a clock");
    assert_eq!(first.removed_until(noon() + 2 * hour, hour), first.watermark);

    let after_pause = raise("2020-01-01T00:00:10Z", noon() + 2 * hour);
    let now = noon() + 2 * hour + MINUTE;
    assert_eq!(after_pause.removed_until(now, hour), first.watermark, "removed in the pause");
    assert_eq!(after_pause.watermark_age(now), Some(MINUTE));

    let live = raise("2026-11-20T14:02:00Z", now);
    assert_eq!(live.removed_until(now, hour), first.watermark);
    let later = noon() + 4 * hour;
    let until = live.removed_until(later, 2 * hour).unwrap();
    assert!(until <= later - 2 * hour + 5 * MINUTE, "{until}");
}

#[test]
fn reshard_children_inherit_watermark_and_close_parents() {
    let now = "2026-11-20T12:00:00Z";
    let origin = |id: &str, parents: &[&str]| StreamShard {
        id: id.into(),
        parents: parents.iter().map(ToString::to_string).collect(),
    };
    let stream = [
        origin("p", &[]),
        origin("q", &[]),
        origin("left", &["p"]),
        origin("right", &["p"]),
        origin("both", &["q", "left"]),
    ];
    let known = Clock {
        shards: vec![
            shard("p", Some("2026-11-20T11:00:00Z"), now),
            shard("q", Some("2026-11-20T11:30:00Z"), now),
        ],
        ..Clock::default()
    };

    let registration = known.shards_to_register("left", &stream, noon());

    let new: Vec<_> = registration.new.iter().map(|it| (it.id.as_str(), it.watermark)).collect();
    let (eleven, half_past) = (at("2026-11-20T11:00:00Z"), at("2026-11-20T11:30:00Z"));
    assert_eq!(new, [("left", Some(eleven)), ("right", Some(eleven)), ("both", Some(half_past))]);
    let over: Vec<_> = registration.closed.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(over, ["p"]);

    // Without known shards, the first batch of a grandchild registers neither parents nor
    // grandparents: they were read.
    let registration = Clock::default().shards_to_register("both", &stream, noon());
    let new: Vec<_> = registration.new.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(new, ["right", "both"]);
}

/// Asserts that two windows are equal up to rounding in the last digits.
fn assert_alike(one: &Window, other: &Window) {
    let spec = tumbling();
    let (one, other) = (one.event(&spec, "g"), other.event(&spec, "g"));
    assert_eq!(one.measures.len(), other.measures.len());
    for (name, value) in one.measures.iter() {
        let other = *other.measures.get(name).unwrap();
        // A digest is an estimate that depends on the order.
        let tolerance = if name.ends_with("_p50") { 10.0 } else { 1e-9 };
        assert!(
            (value - other).abs() <= tolerance * value.abs().max(1.0),
            "{name} {value} {other}"
        );
    }
}

#[test]
fn tutorial_example_compiles() {
    let text = include_str!("../../../../fixtures/windows/tutorial.toml");

    let specs = of(text).unwrap();

    assert_eq!(specs[0].windows_of(noon()).count(), 3);
    assert!(specs[0].detector.is_some());
}

proptest! {
    /// The order, batching and repetition of events do not change a window: merging is associative
    /// and commutative, and a merged event adds nothing.
    #[test]
    fn window_does_not_depend_on_order_or_repetition(
        values in prop::collection::vec((0_i64..60, -50.0..50.0), 1..60),
        order in prop::collection::vec((any::<prop::sample::Index>(), 1_usize..9), 0..30),
    ) {
        let spec = tumbling();
        let samples: Vec<_> = values
            .iter()
            .enumerate()
            .map(|(id, (second, value))| sample(id as u64, *second, *value))
            .collect();
        let mut whole = Window::open(minute());
        whole.apply(&spec, samples.iter().map(|it| (it, None)), noon());

        let mut pieces = Window::open(minute());
        for (index, length) in &order {
            let from = index.index(samples.len());
            let batch = samples[from..].iter().take(*length);
            pieces.apply(&spec, batch.map(|it| (it, None)), noon());
            // Round trip through the store.
            pieces = Window::from_json(&pieces.to_json()).unwrap();
        }
        pieces.apply(&spec, samples.iter().rev().map(|it| (it, None)), noon());

        prop_assert_eq!(aggregate(&whole).count, aggregate(&pieces).count);
        assert_alike(&whole, &pieces);
    }

    /// Any finite values produce a window that can be read back, and an event without numbers that
    /// JSON cannot represent.
    #[test]
    fn window_of_any_numbers_round_trips(
        batches in prop::collection::vec(
            prop::collection::vec(prop_oneof![any::<f64>(), Just(f64::MAX), Just(f64::MIN)], 1..9),
            1..9,
        ),
    ) {
        let spec = tumbling();
        let mut window = Window::open(minute());
        for (batch, values) in (0_u64..).zip(&batches) {
            let numbered = (0_i64..).zip(values.iter().filter(|value| value.is_finite()));
            let samples: Vec<_> = numbered
                .map(|(at, value)| sample(batch * 9 + at.unsigned_abs(), at, *value))
                .collect();
            window.apply(&spec, samples.iter().map(|it| (it, None)), noon());
            let read = Window::from_json(&window.to_json());
            prop_assert!(read.is_ok(), "{:?} {}", read.err(), window.to_json());
            window = read.unwrap();
        }
        let event = window.event(&spec, "g");
        prop_assert!(event.measures.iter().all(|(_, value)| value.is_finite()));
    }
}
