//! Object in the source bucket, from its notification to raw records and bad rows.
//!
//! The first line of an input is the key, the rest the object.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Mutex;

use aws_lambda_events::event::sqs::SqsEvent;
use fn_ingest_s3::handler::IngestS3;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde_json::json;
use tributary_aws::payload::BatchResponse;
use tributary_aws::producer::Producer;
use tributary_aws::s3::{ObjectName, ObjectStore, Piece, ReadError};
use tributary_aws::takeover::KnownDatasets;
use tributary_datasets::ingest::{Feed, Step};
use tributary_model::bad_row::Code;
use tributary_pipeline::transform::read_raw;
use tributary_rows::{Limits, Position};
use tributary_testkit::MemoryQueue;

use super::judged::check_rejection;
use crate::bench::{
    CONFIGURATION, CapturedLog, Lines, Records, bad_lines, delivery_stream, invoke, now, picked,
    stream,
};
use crate::{Target, seeds};

pub(super) const TARGET: Target = Target { name: "objects", check, seeds: seeds::named_objects };

/// Bytes of an object for one invocation: so few that most objects take several.
const SEGMENT: u64 = 200;

type Ingest = IngestS3<Bucket, Records, Lines, MemoryQueue>;

thread_local! {
    static LOG: CapturedLog = CapturedLog::default();
    static INGEST: Ingest = IngestS3 {
        objects: Bucket::default(),
        raw: Producer::new(stream()).with_jitter_seed(0),
        quarantine: Producer::new(delivery_stream()).with_jitter_seed(0),
        queue: MemoryQueue::default(),
        datasets: CONFIGURATION.datasets.clone(),
        limits: Limits::default(),
        segment_bytes: SEGMENT,
        known: KnownDatasets::default(),
        metrics_log: LOG.with(|log| log.metrics_log("ingest-s3")),
        clock: now,
    };
}

/// Store of one object, read in short pieces, so that it takes several pieces and invocations.
#[derive(Default)]
struct Bucket(Mutex<(Vec<u8>, u64)>);

impl ObjectStore for Bucket {
    async fn read(&self, _: &ObjectName, range: Range<u64>) -> Result<Piece, ReadError> {
        let (object, piece) = &*self.0.lock().unwrap();
        let length = object.len() as u64;
        let start = range.start.min(length);
        let end = range.end.min(start + piece).min(length);
        let bytes = object[start as usize..end as usize].to_vec();
        let etag = Some("e".to_owned());
        Ok(Piece { bytes, object_bytes: length, version_id: None, etag })
    }
}

/// Expected result of a row: its payload, or the code of its fault with its bytes.
type Expected = (Position, Result<String, (Code, Option<Vec<u8>>)>);

fn check(input: &[u8]) {
    let end = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let Ok(key) = str::from_utf8(&input[..end]) else { return };
    let object = input.get(end + 1..).unwrap_or_default();
    let expected = rows_of(key, object);

    let (raw, bad, invocations) = INGEST.with(|ingest| ingested(ingest, key, object));

    let is_row = |(_, outcome): &&Expected| outcome.is_ok();
    let rows: Vec<_> = expected.iter().filter(is_row).collect();
    assert_eq!(raw.len(), rows.len(), "each good row is one raw record");
    let mut ids = BTreeSet::new();
    for (record, (position, payload)) in raw.iter().zip(rows) {
        let record = read_raw(record).unwrap();
        assert!(record.source.ends_with(&at(*position)), "{} {position:?}", record.source);
        assert_eq!(Ok(record.payload.get().to_owned()), *payload);
        assert!(ids.insert(record.record_id.into_owned()), "the id is unique");
    }
    let faults: Vec<_> = expected.iter().filter(|it| !is_row(it)).collect();
    let bad = bad_lines(bad);
    assert_eq!(bad.len(), faults.len(), "each bad row is one line");
    for (line, (position, fault)) in bad.into_iter().zip(faults) {
        let (code, bytes) = fault.as_ref().unwrap_err();
        assert_eq!(line.code, code.as_str());
        assert!(line.source.ends_with(&at(*position)), "{} {position:?}", line.source);
        assert_eq!(line.payload, *bytes);
        assert!(ids.insert(line.record_id), "the id is unique");
    }
    assert!(invocations <= object.len() / SEGMENT as usize + 2, "{invocations} invocations");
}

fn at(position: Position) -> String {
    format!("#offset={}&row={}", position.offset, position.row)
}

/// Returns the expected results of the object, read at once.
fn rows_of(key: &str, object: &[u8]) -> Vec<Expected> {
    let datasets = &CONFIGURATION.datasets;
    let dataset = key.split_once('/').and_then(|(folder, _)| datasets.by_name(folder)).cloned();
    let mut feed = Feed::new(datasets, dataset, Limits::default()).named(key);
    feed.push(object);
    feed.finish();
    let mut rows = Vec::new();
    loop {
        match feed.step() {
            Ok(Step::Started) => {}
            Ok(Step::Row(row)) => {
                let mut payload = Vec::new();
                row.write_payload(&mut payload);
                rows.push((row.position(), Ok(String::from_utf8(payload).unwrap())));
            }
            Ok(Step::Bad(bad)) => {
                check_rejection(&bad.rejection);
                let bytes = bad.bytes.map(<[u8]>::to_vec);
                rows.push((bad.position, Err((bad.rejection.code, bytes))));
            }
            Ok(Step::End) => return rows,
            Ok(Step::NeedInput) => unreachable!("all of the input was pushed"),
            Err(refused) => {
                check_rejection(&refused.rejection);
                rows.push((refused.position, Err((refused.rejection.code, None))));
                return rows;
            }
        }
    }
}

/// Runs the function and returns raw records, lines of quarantine, and the number of invocations.
fn ingested(ingest: &Ingest, key: &str, object: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>, usize) {
    *ingest.objects.0.lock().unwrap() = (object.to_vec(), 1 + picked(object, 400) as u64);
    ingest.raw.target().restart([]);
    ingest.quarantine.target().restart([]);
    ingest.queue.drain();
    let encoded = percent_encode(key.as_bytes(), NON_ALPHANUMERIC).to_string();
    let notification = json!({"Records": [{"eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "b"}, "object": {"key": encoded}}}]});
    let mut bodies = vec![notification.to_string()];
    let mut invocations = 0;
    while !bodies.is_empty() {
        let records: Vec<_> =
            bodies.iter().map(|body| json!({"messageId": "m", "body": body})).collect();
        let payload: SqsEvent = serde_json::from_value(json!({ "Records": records })).unwrap();
        let answer = invoke(|deadline| ingest.handle(payload, deadline)).unwrap();
        assert_eq!(answer, BatchResponse::default());
        assert_eq!(LOG.with(CapturedLog::counts).undelivered, 0);
        invocations += 1;
        bodies = ingest.queue.drain();
    }
    let raw = ingest.raw.target().restart([]).into_iter().map(|record| record.data);
    (raw.collect(), ingest.quarantine.target().restart([]), invocations)
}
