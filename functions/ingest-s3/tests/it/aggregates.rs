//! `ingest-s3` with KPL aggregates: the same raw records, whatever the stream answers.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_lambda_events::event::sqs::SqsEvent;
use fn_ingest_s3::handler::IngestS3;
use serde_json::{Value, json};
use tributary_aws::aggregating::Aggregating;
use tributary_aws::deadline::Deadline;
use tributary_aws::firehose;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::BatchResponse;
use tributary_aws::producer::Producer;
use tributary_aws::put::Limits;
use tributary_aws::takeover::KnownDatasets;
use tributary_config::Configuration;
use tributary_kpl as kpl;
use tributary_rows as rows;
use tributary_testkit::{Answer, MemoryObjects, MemoryQueue, MemorySink};

const STREAM: Limits = Limits { entries: 500, bytes: 5 << 20, entry_bytes: 1 << 20 };
const KEY: &str = "accidents/file.csv";
const ROWS: usize = 1_200;

type Raw = Aggregating<MemorySink<StreamRecord>>;
type Ingest = IngestS3<MemoryObjects, Raw, MemorySink<Vec<u8>>, MemoryQueue>;

/// Creates a function over an object of [`ROWS`] good rows and a bad one after every hundredth.
fn ingest<R, Q>(on: bool, raw: R, quarantine: Q) -> Ingest
where
    R: IntoIterator<Item = Answer>,
    Q: IntoIterator<Item = Answer>,
{
    let mut file = "ID,Severity,Start_Time,Start_Lat,Start_Lng,State,Description\n".to_owned();
    file.extend((0..ROWS).map(|row| {
        let bad = if row % 100 == 99 { "a,b,c,d,e,f,g,h\n" } else { "" };
        format!("A-{row},2,2020-01-01 00:00:00,40.0,-83.0,OH,\n{bad}")
    }));
    let raw = MemorySink::scripted(STREAM, StreamRecord::size, raw);
    IngestS3 {
        objects: MemoryObjects::with(KEY, file),
        raw: Producer::new(Aggregating::new(raw, on)),
        quarantine: Producer::new(MemorySink::scripted(firehose::LIMITS, Vec::len, quarantine)),
        queue: MemoryQueue::default(),
        datasets: Configuration::shipped().unwrap().datasets,
        limits: rows::Limits::default(),
        segment_bytes: 64 << 20,
        known: KnownDatasets::default(),
        metrics_log: MetricsLog::new("ingest-s3", "Tributary/test".into()),
        clock: || "2026-11-20T10:00:00Z".parse().unwrap(),
    }
}

/// Runs the object from its notification to its end, including continuations and redeliveries.
async fn run(ingest: &Ingest) {
    let mut bodies = vec![
        json!({"Records": [{"eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "b"}, "object": {"key": KEY}}}]})
        .to_string(),
    ];
    for _ in 0..50 {
        let message = json!({"Records": [{"messageId": "m", "body": bodies[0]}]});
        let message: SqsEvent = serde_json::from_value(message).unwrap();
        let deadline = Deadline::after(Duration::from_mins(1));
        let response = ingest.handle(message, deadline).await.unwrap();
        let rest = ingest.queue.drain();
        match rest.is_empty() {
            true if response == BatchResponse::default() => return,
            true => {}
            false => bodies = rest,
        }
    }
    unreachable!("the object never ends");
}

/// Returns the records of the stream, with aggregates unpacked.
fn raw_records(ingest: &Ingest) -> Vec<(String, Vec<u8>)> {
    let mut records = Vec::new();
    for StreamRecord { partition_key, data } in ingest.raw.target().target().stored() {
        match kpl::user_records(&data) {
            None => records.push((partition_key, data)),
            Some(read) => records.extend(
                read.unwrap().iter().map(|it| (it.partition_key.to_owned(), it.data.to_vec())),
            ),
        }
    }
    records
}

fn record_ids(ingest: &Ingest) -> BTreeSet<String> {
    let id = |(_, data): &(_, Vec<u8>)| {
        let record: Value = serde_json::from_slice(data).unwrap();
        record["record_id"].to_string()
    };
    raw_records(ingest).iter().map(id).collect()
}

#[tokio::test(start_paused = true)]
async fn aggregated_rows_yield_the_same_raw_records() {
    let (plain, together) = (ingest(false, [], []), ingest(true, [], []));

    run(&plain).await;
    run(&together).await;

    assert!(raw_records(&together) == raw_records(&plain));
    assert_eq!(plain.raw.target().target().stored().len(), ROWS);
    let stored = together.raw.target().target().stored();
    assert!(stored.len() < ROWS / 20, "{} records", stored.len());
    assert!(stored.iter().all(|record| record.size() <= kpl::PAYLOAD_UNIT));
}

#[tokio::test(start_paused = true)]
async fn only_failed_aggregates_are_retried() {
    let ingest = ingest(true, [Answer::Fail(vec![1]), Answer::Take], []);

    run(&ingest).await;

    assert_eq!(raw_records(&ingest).len(), ROWS);
    assert_eq!(record_ids(&ingest).len(), ROWS);
    assert_eq!(ingest.raw.target().target().calls()[1], 1, "the one aggregate alone");
}

/// The first 500 rows are 495 records: an answer with as many entries still does not match the
/// aggregates put.
#[tokio::test(start_paused = true)]
async fn an_answer_of_another_length_is_not_trusted() {
    for length in [500, 495, 1] {
        let ingest = ingest(true, [Answer::AnswerFor(length), Answer::Take], []);

        run(&ingest).await;

        let calls = ingest.raw.target().target().calls();
        assert_eq!(calls[0], calls[1], "answered for {length}: sent again as a whole");
        assert_eq!(record_ids(&ingest).len(), ROWS);
    }
}

#[tokio::test(start_paused = true)]
async fn no_row_is_lost_whatever_fails() {
    for fault in (0..64_usize).step_by(3) {
        let answer = move |bit: usize| match fault >> bit & 1 {
            0 => Answer::Take,
            _ => Answer::Fail(vec![bit, fault % 7]),
        };
        let down = || std::iter::repeat_n(Answer::Throttle, fault % 4 * 20);
        let raw = (0..3).map(answer).chain(down()).chain([Answer::Take]);
        let quarantine = (3..6).map(answer).chain(down()).chain([Answer::Take]);
        let ingest = ingest(true, raw, quarantine);

        run(&ingest).await;

        assert_eq!(record_ids(&ingest).len(), ROWS, "fault {fault}");
        let bad_rows: BTreeSet<_> = ingest.quarantine.target().stored().into_iter().collect();
        assert_eq!(bad_rows.len(), ROWS / 100, "fault {fault}");
    }
}
