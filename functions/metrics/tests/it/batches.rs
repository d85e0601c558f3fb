//! Batches of `metrics` with an in-memory namespace: metrics put and failures reported.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fn_metrics::handler::Metrics;
use serde_json::{Value, json};
use tributary_aws::cardinality::Cardinality;
use tributary_aws::cloudwatch;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::firehose;
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::BatchResponse;
use tributary_aws::producer::Producer;
use tributary_aws::takeover::KnownDatasets;
use tributary_config::Configuration;
use tributary_pipeline::metric::Datum;
use tributary_testkit::service::SimCardinality;
use tributary_testkit::{Answer, Faults, MemorySink, aggregated};

pub(crate) type Namespace = MemorySink<Datum>;
pub(crate) type Quarantine = MemorySink<Vec<u8>>;

pub(crate) fn metrics(
    script: impl IntoIterator<Item = Answer>,
) -> Metrics<Namespace, Quarantine, SimCardinality> {
    Metrics {
        metrics: Producer::new(MemorySink::scripted(cloudwatch::LIMITS, |_| 100, script)),
        quarantine: Producer::new(MemorySink::new(firehose::LIMITS, Vec::len)),
        store: SimCardinality::new(Faults::none(1)),
        cardinality: Cardinality::default(),
        specs: Configuration::shipped().unwrap().metrics().unwrap(),
        known: KnownDatasets::default(),
        metrics_log: MetricsLog::new("metrics", "Tributary/test".into()),
        clock: || "2026-11-20T10:00:00Z".parse().unwrap(),
    }
}

pub(crate) fn case(name: &str) -> String {
    let path = format!("{}/../../events/metrics/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

pub(crate) async fn handle(
    metrics: &Metrics<Namespace, Quarantine, SimCardinality>,
    payload: &str,
) -> BatchResponse {
    metrics.handle(payload, Deadline::after(Duration::from_secs(5))).await.unwrap()
}

/// Returns the number of events that the metrics with these dimensions count.
fn total(data: &[Datum], dimensions: &[&str]) -> f64 {
    data.iter()
        .filter(|datum| datum.name == "accidents")
        .filter(|datum| datum.dimensions.iter().map(|(name, _)| name).eq(dimensions))
        .flat_map(|datum| &datum.counts)
        .sum()
}

#[tokio::test(start_paused = true)]
async fn batch_is_one_call_counting_every_event() {
    let metrics = metrics([]);

    assert_eq!(handle(&metrics, &case("ten-readings")).await, BatchResponse::default());

    assert_eq!(metrics.metrics.target().calls().len(), 1);
    let data = metrics.metrics.target().stored();
    for dimensions in [["severity", "state"], ["state", "city"], ["state", "county"]] {
        assert!((total(&data, &dimensions) - 10.0).abs() < f64::EPSILON, "{dimensions:?}");
    }
    assert!(data.iter().any(|datum| datum.name == "temperature_c"));
}

#[tokio::test(start_paused = true)]
async fn aggregated_events_sum_like_plain_events() {
    let (alone, together) = (metrics([]), metrics([]));

    handle(&alone, &case("ten-readings")).await;
    let response = handle(&together, &aggregated(&case("ten-readings"), 4).unwrap()).await;

    assert_eq!(response, BatchResponse::default());
    assert_eq!(together.metrics.target().stored(), alone.metrics.target().stored());
}

/// Events 4 to 7 are one aggregate. Its second record is not an event, and quarantine is down.
#[tokio::test(start_paused = true)]
async fn only_events_before_failed_aggregate_are_counted() {
    let mut payload: Value = serde_json::from_str(&case("ten-readings")).unwrap();
    payload["Records"][5]["kinesis"]["data"] = "bm9uZQ==".into();
    let payload = aggregated(&payload.to_string(), 4).unwrap();
    let mut metrics = metrics([]);
    let down = MemorySink::scripted(firehose::LIMITS, Vec::len, [Answer::Throttle]);
    metrics.quarantine = Producer::new(down);

    let response = handle(&metrics, &payload).await;

    let payload: Value = serde_json::from_str(&payload).unwrap();
    let number = payload["Records"][1]["kinesis"]["sequenceNumber"].as_str().unwrap();
    assert_eq!(response, BatchResponse::failed([number.to_owned()]));
    let data = metrics.metrics.target().stored();
    assert!((total(&data, &["severity", "state"]) - 4.0).abs() < f64::EPSILON);
}

#[tokio::test(start_paused = true)]
async fn undelivered_metrics_fail_the_whole_batch() {
    let payload = case("ten-readings");
    let metrics = metrics([Answer::Throttle]);

    let response = handle(&metrics, &payload).await;

    let parsed: Value = serde_json::from_str(&payload).unwrap();
    let first = parsed["Records"][0]["kinesis"]["sequenceNumber"].as_str().unwrap().to_owned();
    assert_eq!(response, BatchResponse::failed([first]));
}

#[tokio::test(start_paused = true)]
async fn event_with_unknown_fields_is_accepted() {
    let metrics = metrics([]);

    assert_eq!(handle(&metrics, &case("unknown-fields")).await, BatchResponse::default());

    assert!(metrics.quarantine.target().stored().is_empty());
}

#[tokio::test(start_paused = true)]
async fn non_event_is_quarantined_and_others_counted() {
    let payload = case("ten-readings").replacen("\"data\":\"", "\"data\":\"!", 1);
    let payload = payload.replacen("\"data\": \"", "\"data\": \"!", 1);
    let metrics = metrics([]);

    assert_eq!(handle(&metrics, &payload).await, BatchResponse::default());

    assert_eq!(metrics.quarantine.target().stored().len(), 1);
    let data = metrics.metrics.target().stored();
    assert!((total(&data, &["severity", "state"]) - 9.0).abs() < f64::EPSILON);
}

#[tokio::test(start_paused = true)]
async fn unknown_dataset_waits_for_later_configuration() {
    let mut metrics = metrics([]);
    metrics.known = KnownDatasets::new(BTreeSet::new(), Arc::default());
    let deadline = Deadline::after(Duration::from_secs(5));

    let error = metrics.handle(&case("ten-readings"), deadline).await.unwrap_err();
    assert!(matches!(error, InvocationError::Stale(_)), "{error}");
    assert!(metrics.metrics.target().calls().is_empty());
}

/// Returns the refused values that a batch reports.
async fn refused(script: impl IntoIterator<Item = Answer>, payload: &str) -> (Vec<Datum>, u64) {
    let lines = Arc::new(Mutex::new(Vec::<Value>::new()));
    let (written, mut metrics) = (lines.clone(), metrics(script));
    metrics.metrics_log = MetricsLog::new("metrics", "Tributary/test".into())
        .with_writer(move |line| written.lock().unwrap().push(line.clone()));

    assert_eq!(handle(&metrics, payload).await, BatchResponse::default());

    let lines = lines.lock().unwrap();
    let count = lines.iter().filter_map(|line| line["metric_values_refused"].as_u64()).sum();
    (metrics.metrics.target().stored(), count)
}

/// One event of ten has a temperature of 1e200 degrees.
#[tokio::test(start_paused = true)]
async fn value_beyond_service_limit_is_reported() {
    let mut payload: Value = serde_json::from_str(&case("ten-readings")).unwrap();
    let data = payload["Records"][4]["kinesis"]["data"].as_str().unwrap();
    let data = base64_simd::STANDARD.decode_to_vec(data).unwrap();
    let mut event: Value = serde_json::from_slice(&data).unwrap();
    event["measures"]["temperature_c"] = json!(1e200);
    let data = base64_simd::STANDARD.encode_to_string(event.to_string());
    payload["Records"][4]["kinesis"]["data"] = data.into();

    let (data, count) = refused([], &payload.to_string()).await;

    assert_eq!(count, 1);
    assert!(data.iter().flat_map(|datum| &datum.values).all(|value| value.abs() < 1e100));
    assert!((total(&data, &["severity", "state"]) - 10.0).abs() < f64::EPSILON);
}

#[tokio::test(start_paused = true)]
async fn refused_datum_costs_only_itself() {
    let (all, none) = refused([], &case("ten-readings")).await;
    // Refuses eighths of eighths until the first datum is alone.
    let calls =
        std::iter::successors(Some(all.len()), |size| (*size > 1).then(|| size.div_ceil(8)));
    let script = calls.map(|_| Answer::Refuse).chain([Answer::Take]);

    let (data, count) = refused(script, &case("ten-readings")).await;

    assert_eq!((none, data.len()), (0, all.len() - 1));
    assert_eq!(data, all[1..]);
    assert!(
        (all[0].counts.iter().sum::<f64>() - f64::from(u32::try_from(count).unwrap())).abs() < 0.5
    );
}
