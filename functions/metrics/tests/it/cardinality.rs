//! `max_series` over several batches, processes and days.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use fn_metrics::handler::Metrics;
use serde_json::{Value, json};
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::BatchResponse;
use tributary_testkit::service::SimCardinality;
use tributary_testkit::{Answer, Fault, Faults};

use crate::batches::{Namespace, Quarantine, handle, metrics};

type Function = Metrics<Namespace, Quarantine, SimCardinality>;

type Lines = Arc<Mutex<Vec<Value>>>;

/// Returns a function with one metric, accidents by city, of two series at most.
fn function(store: &SimCardinality, script: impl IntoIterator<Item = Answer>) -> (Function, Lines) {
    let lines = Lines::default();
    let (written, mut function) = (lines.clone(), metrics(script));
    function.store = store.clone();
    function.specs.retain(|spec| spec.dimensions.contains(&"city".to_owned()));
    function.specs[0].dimensions = vec!["city".to_owned()];
    function.specs[0].max_series = 2;
    function.metrics_log = MetricsLog::new("metrics", "Tributary/test".into())
        .with_writer(move |line| written.lock().unwrap().push(line.clone()));
    (function, lines)
}

fn store() -> SimCardinality {
    SimCardinality::new(Faults::none(1))
}

/// Returns a batch of accidents in these cities, which arrived on a day of November 2026.
fn batch(day: u32, cities: &[&str]) -> String {
    let arrived: jiff::Timestamp = format!("2026-11-{day}T09:00:00Z").parse().unwrap();
    let record = |(position, city): (usize, &&str)| {
        let event = json!({"kind": "reading", "dataset": "accidents", "event_id": "e1",
            "entity": "OH/Montgomery", "event_time": arrived.to_string(), "received_at": arrived.to_string(),
            "measures": {"severity": 2.0}, "attributes": {"city": city}, "tags": []});
        json!({
            "eventID": format!("shardId-000000000000:{position}"),
            "eventSourceARN": "arn:aws:kinesis:eu-central-1:000000000000:stream/events",
            "kinesis": {
                "partitionKey": "OH/Montgomery",
                "sequenceNumber": position.to_string(),
                "data": base64_simd::STANDARD.encode_to_string(event.to_string()),
                "approximateArrivalTimestamp": arrived.as_second(),
            },
        })
    };
    json!({"Records": cities.iter().enumerate().map(record).collect::<Vec<_>>()}).to_string()
}

/// Returns the number of accidents that a function has put, by city.
fn counted(function: &Function) -> BTreeMap<String, f64> {
    let mut counted = BTreeMap::new();
    for datum in function.metrics.target().stored() {
        let city = datum.dimensions[0].1.clone();
        *counted.entry(city).or_default() += datum.counts.iter().sum::<f64>();
    }
    counted
}

fn expected<const N: usize>(counts: [(&str, f64); N]) -> BTreeMap<String, f64> {
    counts.map(|(city, count)| (city.to_owned(), count)).into()
}

/// Returns the sum of a field over the lines.
fn total(lines: &Lines, field: &str) -> u64 {
    lines.lock().unwrap().iter().filter_map(|line| line[field].as_u64()).sum()
}

#[tokio::test(start_paused = true)]
async fn series_limit_holds_over_batches() {
    let (function, lines) = function(&store(), []);

    for cities in [["a", "a"], ["b", "c"], ["c", "d"], ["a", "b"]] {
        handle(&function, &batch(20, &cities)).await;
    }

    assert_eq!(counted(&function), expected([("a", 3.0), ("b", 2.0), ("other", 3.0)]));
    assert_eq!((total(&lines, "other"), total(&lines, "over_cardinality_limit")), (3, 3));
    assert_eq!(function.store.calls(), 2, "a full set needs no call");
}

#[tokio::test(start_paused = true)]
async fn series_limit_holds_over_processes() {
    let store = store();
    let functions = [(); 5].map(|()| function(&store, []).0);

    let cities = ["a", "b", "c", "d", "e"];
    for (function, city) in functions.iter().zip(cities) {
        handle(function, &batch(20, &[city])).await;
    }
    for function in &functions {
        handle(function, &batch(20, &cities)).await;
    }

    let all: BTreeSet<_> = functions.iter().flat_map(|it| counted(it).into_keys()).collect();
    assert_eq!(all, ["a", "b", "other"].map(str::to_owned).into());
    assert_eq!(counted(&functions[4]), expected([("a", 1.0), ("b", 1.0), ("other", 4.0)]));
}

#[tokio::test(start_paused = true)]
async fn each_day_has_its_own_series() {
    let (function, _) = function(&store(), []);

    handle(&function, &batch(19, &["a", "b", "c"])).await;
    handle(&function, &batch(20, &["c", "d", "a"])).await;

    assert_eq!(
        counted(&function),
        expected([("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 1.0), ("other", 2.0)])
    );
}

#[tokio::test(start_paused = true)]
async fn redelivered_batch_has_the_same_series() {
    let store = store();
    let (first, lines) = function(&store, [Answer::Throttle]);
    let payload = batch(20, &["a", "b", "c"]);

    assert_ne!(handle(&first, &payload).await, BatchResponse::default());
    assert_eq!(total(&lines, "over_cardinality_limit"), 0, "the redelivery counts it");
    handle(&function(&store, []).0, &batch(20, &["c", "d"])).await;
    let (next, lines) = function(&store, []);
    handle(&next, &payload).await;

    assert_eq!(counted(&next), expected([("a", 1.0), ("b", 1.0), ("other", 1.0)]));
    assert_eq!(total(&lines, "over_cardinality_limit"), 1);
}

#[tokio::test(start_paused = true)]
async fn unreachable_store_limits_each_batch_alone() {
    for fault in [Fault::ServerError, Fault::Denied, Fault::TimeOutBefore] {
        let faults = Faults::new(1, BTreeMap::from([(fault, 1.0)]));
        let (function, lines) = function(&SimCardinality::new(faults), []);

        for cities in [["a", "b", "c"], ["c", "d", "e"]] {
            let response = handle(&function, &batch(20, &cities)).await;
            assert_eq!(response, BatchResponse::default(), "{fault:?}");
        }

        let each = ["a", "b", "c", "d"].map(|city| (city.to_owned(), 1.0));
        let both = each.into_iter().chain([("other".to_owned(), 2.0)]).collect();
        assert_eq!(counted(&function), both, "{fault:?}");
        assert_eq!(total(&lines, "limit_errors"), 2, "{fault:?}");
    }
}
