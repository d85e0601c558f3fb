//! Functions of one stack with two configurations: what one of them knows, the next one learns.

use std::time::Duration;

use fn_transform::handler::Transform;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tributary_aws::error::InvocationError;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::lambda::Invocation;
use tributary_aws::log::MetricsLog;
use tributary_aws::takeover::{ConfigSource, InUse, Reloading};
use tributary_config::{Bundle, Configuration, RELEASES_KEY, Release, Releases, version_key};
use tributary_model::config_error::ConfigError;
use tributary_model::raw::RawRecordWriter;
use tributary_testkit::{MemoryObjects, MemorySink, clock};

use crate::support::{bad_rows, minute, stream};

type Step = Transform<MemorySink<StreamRecord>, MemorySink<Vec<u8>>>;

const RIVERS: &str = r#"
entity = "{river}"
event_id = ["entity", "time"]
partition = "river"

[time]
from = "at"

[measures]
level_m = { from = "level", required = true }

[attributes]
river = { from = "river", required = true }
"#;

/// Puts a configuration into use.
fn push(objects: &MemoryObjects, bundle: &Bundle) {
    let version = bundle.version().to_string();
    objects.put(&version_key(&version), bundle.to_json());
    let mut releases = Releases::default();
    let configuration = Configuration::load(bundle).unwrap();
    releases.push(Release { version, pushed_at: String::new() }, &configuration);
    objects.put(RELEASES_KEY, serde_json::to_vec(&releases).unwrap());
}

/// Returns the payload of a batch with one raw record of `rivers`.
fn batch() -> String {
    let record =
        RawRecordWriter::new("rivers").write("id", "file:x", "2026-11-20T10:00:00Z", |out| {
            out.extend(br#"{"river":"Elbe","at":"2026-11-20T09:00:00Z","level":2.5}"#);
        });
    json!({"Records": [{"eventID": "shardId-000000000000:1", "kinesis": {
        "sequenceNumber": "1", "partitionKey": "Elbe",
        "approximateArrivalTimestamp": clock::now().duration_since(Timestamp::UNIX_EPOCH).as_secs_f64(),
        "data": base64_simd::STANDARD.encode_to_string(record),
    }}]})
    .to_string()
}

fn transform(in_use: &InUse) -> Result<Step, ConfigError> {
    Ok(Transform {
        events: stream(),
        quarantine: bad_rows(),
        transformer: in_use.configuration.transformer()?,
        known: in_use.known.clone(),
        metrics_log: in_use.metrics_log("transform", "Tributary/test").with_writer(|_| ()),
        clock: clock::now,
    })
}

/// Returns `transform` over a bucket whose releases it looks at once an hour.
fn reloading(objects: &MemoryObjects) -> Reloading<'_, Step, &MemoryObjects> {
    clock::begin();
    let source = ConfigSource { bucket: "b".into(), refresh: SignedDuration::from_hours(1) };
    let log = MetricsLog::new("transform", "Tributary/test".into()).with_writer(|_| ());
    Reloading::new(source, objects, log, clock::now, transform)
}

/// Returns the entities of the events, and the codes of the bad rows, of one batch.
async fn run(
    function: &Reloading<'_, Step, &MemoryObjects>,
    payload: &str,
) -> Result<(Vec<Value>, Vec<Value>), InvocationError> {
    let handler = async |transform: &Step, payload: &str, it: Invocation| {
        transform.handle(payload, it.deadline).await?;
        let field =
            |name: &str, line: &[u8]| serde_json::from_slice::<Value>(line).unwrap()[name].clone();
        let events = transform.events.target().stored();
        let bad_rows = transform.quarantine.target().stored();
        let events = events.iter().map(|event| field("entity", &event.data)).collect();
        Ok((events, bad_rows.iter().map(|row| field("code", row)).collect()))
    };
    let invocation = Invocation { request_id: String::new(), deadline: minute() };
    function.answer(payload, invocation, &handler).await
}

#[tokio::test(start_paused = true)]
async fn row_of_new_dataset_is_event_at_once() {
    let objects = MemoryObjects::default();
    let function = reloading(&objects);
    function.current(minute()).await.unwrap();
    tokio::time::advance(Duration::from_secs(30)).await;
    push(&objects, &Bundle::shipped().with("datasets/rivers.toml", RIVERS));

    let (events, bad_rows) = run(&function, &batch()).await.unwrap();
    assert_eq!((events, bad_rows), (vec![json!("Elbe")], vec![]));
}

#[tokio::test(start_paused = true)]
async fn row_of_no_dataset_is_a_bad_row() {
    let objects = MemoryObjects::default();
    let function = reloading(&objects);
    function.current(minute()).await.unwrap();
    tokio::time::advance(Duration::from_secs(30)).await;

    let (events, bad_rows) = run(&function, &batch()).await.unwrap();
    assert_eq!((events, bad_rows), (vec![], vec![json!("unknown_dataset")]));
    assert_eq!(objects.ranges().len(), 2);
    run(&function, &batch()).await.unwrap();
    assert_eq!(objects.ranges().len(), 2, "the releases of that time are known");
}

#[tokio::test(start_paused = true)]
async fn row_waits_where_the_bucket_cannot_be_read() {
    let objects = MemoryObjects::default().failing(1..2);
    let function = reloading(&objects);
    function.current(minute()).await.unwrap();
    tokio::time::advance(Duration::from_secs(30)).await;

    assert_eq!(run(&function, &batch()).await.unwrap_err().kind(), "Plumbing");
    assert_eq!(run(&function, &batch()).await.unwrap().1, [json!("unknown_dataset")]);
}
