//! Payload of `ingest-kafka`: the text of a batch of topics.

use std::borrow::Cow;
use std::collections::BTreeMap;

use fn_ingest_kafka::config::Topics;
use fn_ingest_kafka::handler::IngestKafka;
use fn_ingest_kafka::payload::{KafkaPayload, KafkaResponse, Received, Value as Decoded};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::producer::Producer;
use tributary_aws::takeover::KnownDatasets;
use tributary_model::bad_row::Code;
use tributary_model::pairs::Pairs;
use tributary_pipeline::transform::read_raw;

use crate::bench::{
    CONFIGURATION, CapturedLog, Lines, Records, bad_lines, delivery_stream, failing, invoke, now,
    picked, stream,
};
use crate::{Target, seeds};

pub(super) const TARGET: Target =
    Target { name: "kafka-payloads", check, seeds: seeds::kafka_payloads };

type Ingest = IngestKafka<Records, Lines>;

thread_local! {
    static LOG: CapturedLog = CapturedLog::default();
    static INGEST: Ingest = IngestKafka {
        raw: Producer::new(stream()).with_jitter_seed(0),
        quarantine: Producer::new(delivery_stream()).with_jitter_seed(0),
        datasets: CONFIGURATION.datasets.clone(),
        known: KnownDatasets::default(),
        topics: Topics::parse("prod.crashes=accidents").unwrap(),
        metrics_log: LOG.with(|log| log.metrics_log("ingest-kafka")),
        clock: now,
    };
}

fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let Ok(payload) = KafkaPayload::from_json(text) else {
        assert!(INGEST.with(|it| invoke(|deadline| it.handle(text, deadline))).is_err());
        return;
    };
    let counts = Counts::of(&payload);
    for partition in &payload.partitions {
        assert_eq!(partition.places.len(), partition.records.len());
        assert!(partition.places.is_sorted(), "sorted by offset");
    }
    INGEST.with(|ingest| {
        all_have_their_end(ingest, text, counts);
        one_more_record_is_one_more(ingest, text, counts);
        what_fails_is_reported(ingest, text, &payload, input);
    });
}

/// Expected dispositions of the records of a payload, as far as their shape determines them.
#[derive(Clone, Copy, Default)]
struct Counts {
    all: usize,
    tombstones: usize,
    /// Number of records with an invalid shape or data that is not base64.
    unreadable: usize,
}

impl Counts {
    fn of(payload: &KafkaPayload<'_>) -> Self {
        let mut counts = Self::default();
        let mut bytes = Vec::new();
        for record in payload.partitions.iter().flat_map(|partition| &partition.records) {
            counts.all += 1;
            match record {
                Received::Unreadable(..) => counts.unreadable += 1,
                Received::Record(record) => match record.value_into(&mut bytes) {
                    Decoded::Bytes => {}
                    Decoded::Null => counts.tombstones += 1,
                    Decoded::NotBase64(_) => counts.unreadable += 1,
                },
            }
        }
        counts
    }
}

fn all_have_their_end(ingest: &Ingest, text: &str, counts: Counts) {
    let (answer, raw, lines) = run(ingest, text, None).unwrap();

    assert_eq!(answer, KafkaResponse::default());
    assert_eq!(
        raw.len() + lines.len() + counts.tombstones,
        counts.all,
        "each record has one disposition"
    );
    for record in &raw {
        assert!(!record.data.contains(&b'\n') && !record.data.contains(&b'\r'), "one line");
        let read = read_raw(&record.data).unwrap();
        assert!(read.source.starts_with("kafka:"), "{}", read.source);
        assert!(read.payload.get().starts_with('{'), "a row is an object");
    }
    let lines = bad_lines(lines);
    let unreadable = [Code::InvalidJson.as_str(), Code::BrokenBase64.as_str()];
    let reported = lines.iter().filter(|line| unreadable.contains(&line.code.as_str())).count();
    assert!(reported >= counts.unreadable);
    assert!(
        lines.iter().all(|line| line.source.starts_with("kafka:") && line.record_id.len() == 32)
    );
    let logged = LOG.with(CapturedLog::counts);
    assert_eq!((logged.received, logged.delivered), (counts.all as u64, raw.len() as u64));

    // A redelivery has the same ids.
    let again = run(ingest, text, None).unwrap();
    LOG.with(CapturedLog::counts);
    assert!(again.1 == raw, "a redelivery is the same");
}

/// Asserts that a good record at the end of each partition is stored, whatever precedes it.
fn one_more_record_is_one_more(ingest: &Ingest, text: &str, counts: Counts) {
    #[derive(serde::Deserialize)]
    struct Payload<'a> {
        #[serde(borrow)]
        records: Pairs<Cow<'a, str>, Vec<&'a RawValue>>,
    }
    let Ok(payload) = serde_json::from_str::<Payload<'_>>(text) else { return };
    let value = base64_simd::STANDARD.encode_to_string(r#"{"good":1}"#);
    let good = json!({"topic": "flood", "partition": 0, "offset": i64::MAX, "value": value});
    let good = serde_json::value::to_raw_value(&good).unwrap();
    // The last of two partitions with one name counts.
    let mut partitions = BTreeMap::new();
    for (name, records) in payload.records.iter() {
        let mut records = records.clone();
        records.push(&*good);
        partitions.insert(name, records);
    }
    let count = partitions.len();
    let text = serde_json::to_string(&BTreeMap::from([("records", partitions)])).unwrap();

    let (answer, raw, lines) = run(ingest, &text, None).unwrap();

    LOG.with(CapturedLog::counts);
    assert_eq!(answer, KafkaResponse::default());
    let is_good = |it: &&StreamRecord| read_raw(&it.data).unwrap().payload.get() == r#"{"good":1}"#;
    assert!(raw.iter().filter(is_good).count() >= count, "each partition is read to its end");
    assert_eq!(raw.len() + lines.len() + counts.tombstones, counts.all + count);
}

/// Asserts the reported offsets when some entries of each call fail repeatedly: each partition
/// resumes at its own offset.
fn what_fails_is_reported(ingest: &Ingest, text: &str, payload: &KafkaPayload<'_>, input: &[u8]) {
    let fault = (picked(input, 3) == 0, picked(input, 3));
    let Ok((answer, raw, lines)) = run(ingest, text, Some(fault)) else {
        // Only for records without an offset to report.
        let places = payload.partitions.iter().flat_map(|partition| &partition.places);
        assert!(places.into_iter().any(Option::is_none));
        LOG.with(CapturedLog::forget);
        return;
    };
    let counts = LOG.with(CapturedLog::counts);
    assert_eq!(counts.undelivered == 0, answer.batch_item_failures.is_empty());
    let mut seen = Vec::new();
    for failure in &answer.batch_item_failures {
        let position = &failure.item_identifier;
        let of_name = |it: &&fn_ingest_kafka::payload::Partition<'_>| it.name == position.partition;
        let partition = payload.partitions.iter().find(of_name).unwrap();
        assert!(partition.places.contains(&Some(position.offset)), "an offset of that partition");
        assert!(!seen.contains(&&position.partition), "each partition is reported once");
        seen.push(&position.partition);
    }
    assert!(raw.len() + lines.len() >= (counts.delivered + counts.quarantined) as usize);
}

type Run = (KafkaResponse, Vec<StreamRecord>, Vec<Vec<u8>>);

fn run(ingest: &Ingest, text: &str, fault: Option<(bool, usize)>) -> Result<Run, String> {
    ingest.raw.target().restart([]);
    ingest.quarantine.target().restart([]);
    match fault {
        Some((true, index)) => drop(ingest.quarantine.target().restart(failing(index))),
        Some((false, index)) => drop(ingest.raw.target().restart(failing(index))),
        None => {}
    }
    let answer = invoke(|deadline| ingest.handle(text, deadline));
    let stored = (ingest.raw.target().restart([]), ingest.quarantine.target().restart([]));
    let answer = answer.map_err(|error| error.to_string())?;
    let json: Value = serde_json::to_value(&answer).unwrap();
    assert!(json["batchItemFailures"].is_array());
    Ok((answer, stored.0, stored.1))
}
