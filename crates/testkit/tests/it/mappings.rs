//! Event source mappings behave as documented by AWS.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;
use tributary_aws::kinesis::StreamRecord;
use tributary_testkit::lambda::{Answer, Lambda};
use tributary_testkit::mapping::kafka::{KafkaEntry, KafkaMapping};
use tributary_testkit::mapping::kinesis::{KinesisMapping, Settings};
use tributary_testkit::mapping::sqs::SqsMapping;
use tributary_testkit::service::{SimBucket, SimQueue, SimStream, Store};
use tributary_testkit::{Faults, clock};

/// Data of the records of each batch, in the order of the invocations.
type Batches = Rc<RefCell<Vec<Vec<String>>>>;

const MINUTE: Duration = Duration::from_mins(1);

/// Returns data and sequence number of each record in a stream payload.
fn records(payload: &str) -> Vec<(String, String)> {
    let payload: Value = serde_json::from_str(payload).unwrap();
    let record = |record: &Value| {
        let data = record["kinesis"]["data"].as_str().unwrap();
        let data = base64_simd::STANDARD.decode_to_vec(data).unwrap();
        let number = record["kinesis"]["sequenceNumber"].as_str().unwrap().to_owned();
        (String::from_utf8(data).unwrap(), number)
    };
    payload["Records"].as_array().unwrap().iter().map(record).collect()
}

/// Returns a function that records each batch of a stream and answers with `answer`.
fn recording(answer: impl Fn(&[(String, String)]) -> Answer + 'static) -> (Lambda, Batches) {
    let batches = Batches::default();
    let recorded = batches.clone();
    let lambda = Lambda::new("recording", MINUTE, Faults::none(1), move |payload, _| {
        let records = records(&payload);
        recorded.borrow_mut().push(records.iter().map(|it| it.0.clone()).collect());
        let answer = answer(&records);
        async move { answer }
    });
    (lambda, batches)
}

fn settings() -> Settings {
    Settings {
        batch_size: 4,
        batching_window: Duration::ZERO,
        parallelization_factor: 1,
        bisect: true,
        max_retries: Some(3),
        max_age: None,
        reports_failures: true,
        filter: None,
    }
}

fn put(stream: &SimStream, key: &str, data: &str) {
    stream.take(&StreamRecord::new(key, data.as_bytes().to_vec()));
}

struct Ran {
    batches: Vec<Vec<String>>,
    parked: Vec<Value>,
    is_drained: bool,
}

/// Runs a mapping for ten minutes over the records `0`, `1`, … of one key.
async fn run(
    count: usize,
    settings: Settings,
    answer: impl Fn(&[(String, String)]) -> Answer + 'static,
) -> Ran {
    clock::begin();
    let work = async {
        let stream = Arc::new(SimStream::new(1, 1_000));
        (0..count).for_each(|n| put(&stream, "k", &n.to_string()));
        let (lambda, batches) = recording(answer);
        let bucket = Arc::new(SimBucket::default());
        let mapping = KinesisMapping::new("uuid", stream, lambda, settings, bucket.clone());
        spawn_local(mapping.clone().run());
        sleep(10 * MINUTE).await;
        let is_drained = mapping.is_drained();
        mapping.stop();
        let parked = bucket.list("aws/lambda/uuid/shardId-000000000000/2026/11/20/");
        let parked = parked.iter().map(|it| serde_json::from_slice(&it.1).unwrap()).collect();
        let batches = batches.borrow().clone();
        Ran { batches, parked, is_drained }
    };
    LocalSet::new().run_until(work).await
}

#[expect(clippy::unnecessary_wraps, reason = "an answer among answers that fail")]
fn done() -> Answer {
    Ok(json!({"batchItemFailures": []}).to_string())
}

/// Returns the answer that reports the records whose data is one of `data`.
#[expect(clippy::unnecessary_wraps, reason = "an answer among answers that fail")]
fn failed(records: &[(String, String)], data: &[&str]) -> Answer {
    let items: Vec<_> = records
        .iter()
        .filter(|record| data.contains(&record.0.as_str()))
        .map(|record| json!({"itemIdentifier": record.1}))
        .collect();
    Ok(json!({"batchItemFailures": items}).to_string())
}

/// Answers with `first` the first time, and with success from then on.
fn at_first(
    first: impl Fn(&[(String, String)]) -> Answer,
) -> impl Fn(&[(String, String)]) -> Answer {
    let is_first = RefCell::new(true);
    move |records| if is_first.replace(false) { first(records) } else { done() }
}

#[tokio::test(start_paused = true)]
async fn stream_is_read_in_ordered_batches() {
    let ran = run(10, settings(), |_| done()).await;

    assert_eq!(ran.batches, [vec!["0", "1", "2", "3"], vec!["4", "5", "6", "7"], vec!["8", "9"]]);
    assert!(ran.is_drained && ran.parked.is_empty());
}

#[tokio::test(start_paused = true)]
async fn lowest_reported_number_is_the_checkpoint() {
    let ran = run(4, settings(), at_first(|records| failed(records, &["3", "1"]))).await;

    assert_eq!(ran.batches, [vec!["0", "1", "2", "3"], vec!["1", "2", "3"]]);
    assert!(ran.is_drained);
}

#[tokio::test(start_paused = true)]
async fn reporting_highest_number_alone_loses_earlier_records() {
    let ran = run(4, settings(), at_first(|records| failed(records, &["3"]))).await;

    assert_eq!(ran.batches, [vec!["0", "1", "2", "3"], vec!["3"]]);
}

#[tokio::test(start_paused = true)]
async fn unknown_number_fails_the_whole_batch() {
    let unknown = json!({"batchItemFailures": [{"itemIdentifier": "4711"}]}).to_string();

    let ran = run(2, settings(), at_first(move |_| Ok(unknown.clone()))).await;

    // The whole batch failed, so the mapping halves it.
    assert_eq!(ran.batches[0], ["0", "1"]);
    assert_eq!(ran.batches[1..].concat(), ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn failing_batch_is_bisected_until_poison_is_parked() {
    let ran = run(4, settings(), |records| {
        if records.iter().any(|record| record.0 == "2") { Err("poison".into()) } else { done() }
    })
    .await;

    let attempts = ran.batches.iter().filter(|batch| **batch == ["2"]).count();
    assert_eq!(attempts, 4, "three retries are four attempts, and bisecting uses none of them");
    assert_eq!(ran.batches[..3], [vec!["0", "1", "2", "3"], vec!["0", "1"], vec!["2", "3"]]);
    assert_eq!(ran.batches.last().unwrap(), &["3"]);
    assert!(ran.is_drained);
    assert_eq!(ran.parked.len(), 1);
    let object = &ran.parked[0];
    assert_eq!(object["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!(object["KinesisBatchInfo"]["batchSize"], 1);
    assert_eq!(records(object["payload"].as_str().unwrap())[0].0, "2");
}

#[tokio::test(start_paused = true)]
async fn record_without_retry_limit_blocks_shard() {
    let settings = Settings { max_retries: None, bisect: false, ..settings() };

    let ran = run(2, settings, |_| Err("down".into())).await;

    assert!(!ran.is_drained && ran.batches.len() > 10 && ran.parked.is_empty());
}

#[tokio::test(start_paused = true)]
async fn record_over_max_age_is_parked() {
    let settings = Settings { max_age: Some(2 * MINUTE), max_retries: None, ..settings() };

    let ran = run(1, settings, |_| Err("down".into())).await;

    assert!(ran.is_drained);
    assert_eq!(ran.parked[0]["requestContext"]["condition"], "RecordAgeExceeded");
}

#[tokio::test(start_paused = true)]
async fn answer_is_ignored_without_failure_reporting() {
    let settings = Settings { reports_failures: false, ..settings() };

    let ran = run(4, settings, |records| failed(records, &["0"])).await;

    assert_eq!(ran.batches.len(), 1);
    assert!(ran.is_drained);
}

#[tokio::test(start_paused = true)]
async fn filtered_records_do_not_block_shard() {
    clock::begin();
    let work = async {
        let stream = Arc::new(SimStream::new(1, 1_000));
        for data in [r#"{"kind":"reading"}"#, r#"{"kind":"window"}"#, "no JSON"] {
            put(&stream, "k", data);
        }
        let (lambda, batches) = recording(|_| done());
        let filter = Some(json!({"kind": ["reading", "heartbeat"]}));
        let settings = Settings { filter, ..settings() };
        let mapping = KinesisMapping::new("uuid", stream, lambda, settings, Arc::default());
        spawn_local(mapping.clone().run());
        sleep(MINUTE).await;

        assert_eq!(*batches.borrow(), [[r#"{"kind":"reading"}"#]]);
        assert!(mapping.is_drained());
        mapping.stop();
    };
    LocalSet::new().run_until(work).await;
}

#[tokio::test(start_paused = true)]
async fn reshards_and_lanes_preserve_key_order() {
    clock::begin();
    let work = async {
        let stream = Arc::new(SimStream::new(2, 1_000));
        let put_all = |from: usize| {
            for n in from..from + 40 {
                put(&stream, &format!("key-{}", n % 5), &format!("{}:{n}", n % 5));
            }
        };
        put_all(0);
        assert!(stream.merge(0, 1));
        put_all(40);
        stream.split(2);
        put_all(80);
        let calls = RefCell::new(0);
        let (lambda, batches) = recording(move |records| {
            let call = calls.replace_with(|call| *call + 1);
            if call % 3 == 0 { failed(records, &[records[0].0.as_str()]) } else { done() }
        });
        let settings = Settings { parallelization_factor: 3, ..settings() };
        let mapping = KinesisMapping::new("uuid", stream.clone(), lambda, settings, Arc::default());
        spawn_local(mapping.clone().run());
        sleep(10 * MINUTE).await;
        assert!(mapping.is_drained());
        mapping.stop();

        let mut last: BTreeMap<String, usize> = BTreeMap::new();
        for data in batches.borrow().iter().flatten() {
            let (key, n) = data.split_once(':').unwrap();
            let n: usize = n.parse().unwrap();
            // Records may be redelivered from a checkpoint on; none is skipped.
            let before = last.get(key).copied().unwrap_or_default();
            assert!(n <= before + 5, "{key}: {n} after {before}");
            last.insert(key.to_owned(), before.max(n));
        }
        assert_eq!(last.len(), 5);
        assert!(last.values().all(|n| *n >= 115));
    };
    LocalSet::new().run_until(work).await;
}

#[tokio::test(start_paused = true)]
async fn failing_message_is_redelivered_then_dead_lettered() {
    clock::begin();
    let work = async {
        let queue = SimQueue::new(Faults::none(1), MINUTE, 3);
        queue.push("good".into(), Duration::ZERO);
        queue.push("bad".into(), Duration::ZERO);
        let lambda = Lambda::new("f", MINUTE, Faults::none(1), |payload, _| async move {
            let payload: Value = serde_json::from_str(&payload).unwrap();
            let records = payload["Records"].as_array().unwrap().iter();
            let failures: Vec<_> = records
                .filter(|record| record["body"] == "bad")
                .map(|record| json!({"itemIdentifier": record["messageId"]}))
                .collect();
            Ok(json!({"batchItemFailures": failures}).to_string())
        });
        let mapping = SqsMapping::new(queue.clone(), lambda.clone(), 10);
        mapping.run(1);
        sleep(Duration::from_secs(30)).await;
        assert_eq!((lambda.invocations(), queue.is_empty()), (1, false));

        sleep(10 * MINUTE).await;
        mapping.stop();

        let dead = queue.take_dead_letters();
        assert_eq!((dead.len(), dead[0].body.as_str(), dead[0].receives), (1, "bad", 3));
        assert_eq!(lambda.invocations(), 3);
        assert!(mapping.is_drained());
    };
    LocalSet::new().run_until(work).await;
}

#[tokio::test(start_paused = true)]
async fn partition_resumes_at_its_lowest_reported_offset() {
    clock::begin();
    let work = async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let recorded = seen.clone();
        let lambda = Lambda::new("f", MINUTE, Faults::none(1), move |payload, _| {
            let payload: Value = serde_json::from_str(&payload).unwrap();
            let offsets = |name: &str| -> Vec<u64> {
                let records = payload["records"][name].as_array().into_iter().flatten();
                records.map(|record| record["offset"].as_u64().unwrap()).collect()
            };
            recorded.borrow_mut().push((offsets("t-0"), offsets("t-1")));
            let failure = json!({"itemIdentifier": {"partition": "t-1", "offset": 1}});
            let failures = if recorded.borrow().len() == 1 { vec![failure] } else { Vec::new() };
            async move { Ok(json!({"batchItemFailures": failures}).to_string()) }
        });
        let mapping = KafkaMapping::new(lambda, 100);
        for partition in [0, 0, 1, 1, 1] {
            mapping.produce("t", partition, KafkaEntry::default());
        }
        spawn_local(mapping.clone().run());
        sleep(MINUTE).await;
        mapping.stop();

        assert_eq!(*seen.borrow(), [(vec![0, 1], vec![0, 1, 2]), (vec![], vec![1, 2])]);
        assert!(mapping.is_drained());
    };
    LocalSet::new().run_until(work).await;
}
