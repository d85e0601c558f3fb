//! Messages and objects that yield nothing, or wait for a later configuration.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use aws_lambda_events::event::sqs::SqsEvent;
use fn_ingest_s3::handler::WITHOUT_ROWS;
use serde_json::{Value, json};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::BatchResponse;
use tributary_aws::takeover::KnownDatasets;
use tributary_testkit::MemoryObjects;

use crate::objects::{
    HEADER, Ingest, KEY, MINUTE, codes, csv, handle, ids, ingest, messages, notification, run,
};

/// Returns a message about an object of a dataset that the configuration lacks.
fn message_about_unknown() -> (Ingest, SqsEvent) {
    let mut ingest = ingest(MemoryObjects::with("rivers.csv", "river,level\nElbe,1\n"));
    ingest.known = KnownDatasets::new(BTreeSet::new(), Arc::default());
    let mut messages = messages(&[notification("rivers.csv")]);
    let sent = "1795168800123".to_owned();
    messages.records[0].attributes.insert("SentTimestamp".to_owned(), sent);
    (ingest, messages)
}

#[tokio::test(start_paused = true)]
async fn unknown_dataset_waits_for_later_configuration() {
    let (mut ingest, messages) = message_about_unknown();

    let error = ingest.handle(messages.clone(), Deadline::after(MINUTE)).await.unwrap_err();
    assert!(matches!(error, InvocationError::Stale(_)), "{error}");
    assert!(ingest.quarantine.target().calls().is_empty());

    ingest.known = KnownDatasets::new(BTreeSet::new(), Arc::new(1_795_168_900_000.into()));
    ingest.handle(messages, Deadline::after(MINUTE)).await.unwrap();
    assert_eq!(codes(&ingest), ["unknown_dataset"]);
}

#[tokio::test(start_paused = true)]
async fn unknown_dataset_behind_others_fails_its_message() {
    let (ingest, mut messages) = message_about_unknown();
    ingest.objects.put(KEY, csv(2));
    let known = crate::objects::messages(&[notification(KEY)]);
    messages.records.insert(0, known.records[0].clone());
    messages.records[1].message_id = Some("m1".to_owned());

    let response = ingest.handle(messages, Deadline::after(MINUTE)).await.unwrap();
    assert_eq!(response, BatchResponse::failed(["m1".to_owned()]));
    assert_eq!((ids(&ingest).len(), codes(&ingest).len()), (2, 0));
}

/// Returns the lines of batches that a function writes from now on.
fn batch_lines(ingest: &mut Ingest) -> Arc<Mutex<Vec<Value>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let written = lines.clone();
    ingest.metrics_log = MetricsLog::new("ingest-s3", "Tributary/test".into())
        .with_metrics(&[WITHOUT_ROWS])
        .with_writer(move |line| written.lock().unwrap().push(line.clone()));
    lines
}

#[tokio::test(start_paused = true)]
async fn object_without_rows_is_counted() {
    for (key, bytes, count) in [
        (KEY, HEADER.to_owned(), 1),
        (KEY, String::new(), 1),
        ("flood/a.json", "[]".to_owned(), 1),
        ("other/a.csv", "no,columns\n1,2\n".to_owned(), 1),
        (KEY, csv(1), 0),
        (KEY, HEADER.to_owned() + "bro\"ken\n", 0),
    ] {
        let mut ingest = ingest(MemoryObjects::with(key, bytes.clone()));
        let lines = batch_lines(&mut ingest);

        run(&ingest, key, MINUTE).await;

        let line = &lines.lock().unwrap()[0];
        assert_eq!(line[WITHOUT_ROWS], count, "{bytes:?}");
        let metrics = &line["_aws"]["CloudWatchMetrics"][0]["Metrics"];
        assert!(metrics.as_array().unwrap().iter().any(|it| it["Name"] == WITHOUT_ROWS));
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_event_is_quarantined_and_removal_counted() {
    let mut ingest = ingest(MemoryObjects::with(KEY, csv(1)));
    let lines = batch_lines(&mut ingest);
    let events = ["ObjectRestore:Completed", "s3:ObjectCreated:Put", "ObjectRemoved:Delete"];
    let bodies = events.map(|event| notification(KEY).replace("ObjectCreated:Put", event));

    handle(&ingest, &bodies, MINUTE).await.unwrap();

    assert_eq!(ids(&ingest), ["A-1"]);
    assert_eq!(codes(&ingest), ["unknown_event"]);
    let line = &lines.lock().unwrap()[0];
    assert_eq!((&line["in"], &line["ignored"]), (&json!(2), &json!(1)));
}
