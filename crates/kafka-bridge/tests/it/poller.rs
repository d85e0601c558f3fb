//! The poller over librdkafka's mock cluster: delivered, redelivered and committed records.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tributary_kafka_bridge::poller::{Poller, PollerError};
use tributary_kafka_bridge::settings::{Limits, Settings};

use crate::support::{ALL, Calls, Kafka, assert_all_handed, handed, poll, resume_at, settings};

static GO_ON: AtomicBool = AtomicBool::new(false);

type Given = (String, i64, String);

#[expect(clippy::unnecessary_wraps, reason = "it stands where functions may fail")]
fn take_all(_: usize, _: &[Given]) -> Result<String, String> {
    Ok(String::new())
}

#[test]
fn every_record_is_handed_over_once_and_committed() {
    let kafka = Kafka::new();
    kafka.produce("a", 120);
    let calls = Calls::default();

    let report = poll(settings(&kafka.brokers(), &["a"]), &GO_ON, &calls, take_all);

    assert_all_handed(&calls, "a", 120);
    assert!(handed(&calls).values().all(|times| *times == 1));
    assert!(calls.lock().unwrap().iter().all(|batch| batch.len() <= 50));
    assert_eq!((report.records, report.redelivered, report.failed_calls), (360, 0, 0));
    assert_eq!((report.skipped, report.uncommitted), (0, 0));
    assert_eq!(report.committed, BTreeMap::from(["a-0", "a-1", "a-2"].map(|it| (it.into(), 120))));
    assert_eq!(kafka.committed("a", "g"), [120, 120, 120]);
}

#[test]
fn batch_has_partitions_of_one_topic() {
    let kafka = Kafka::new();
    kafka.produce("a", 40);
    kafka.produce("b", 40);
    let calls = Calls::default();

    let report = poll(settings(&kafka.brokers(), &["a", "b"]), &GO_ON, &calls, take_all);

    assert_eq!(report.records, 240);
    let mut most_partitions = 0;
    for batch in calls.lock().unwrap().iter() {
        let mut names: Vec<_> = batch.iter().map(|(name, _)| name.as_str()).collect();
        names.dedup();
        most_partitions = most_partitions.max(names.len());
        assert!(names.iter().all(|it| it[..1] == names[0][..1]), "{names:?}");
    }
    assert!(most_partitions > 1);
}

#[test]
fn failed_partition_resumes_at_its_failed_offset() {
    let kafka = Kafka::new();
    kafka.produce("a", 10);
    let calls = Calls::default();

    let report = poll(settings(&kafka.brokers(), &["a"]), &GO_ON, &calls, |_, records| {
        let is_stuck = |(name, offset, _): &&Given| name == "a-1" && *offset == 4;
        let times = handed(&calls).get("a-1#4").copied().unwrap_or_default();
        let stuck = records.iter().find(is_stuck).filter(|_| times < 3);
        Ok(stuck.map_or_else(String::new, |(name, offset, _)| resume_at(&[(name, *offset)])))
    });

    let handed = handed(&calls);
    for (value, times) in &handed {
        let (partition, number) = value.split_once('#').unwrap();
        let after_the_cut = partition == "a-1" && number.parse::<i64>().unwrap() >= 4;
        // Records after the failed offset may or may not have been in the batch.
        assert!(if after_the_cut { *times <= 3 } else { *times == 1 }, "{value}: {times}");
    }
    assert_eq!(handed["a-1#4"], 3);
    assert_all_handed(&calls, "a", 10);
    assert_eq!((report.cut_partitions, report.failed_calls, report.records), (2, 0, 30));
    assert_eq!(kafka.committed("a", "g"), [10, 10, 10]);
}

#[test]
fn next_poller_resumes_at_the_failed_offset() {
    let kafka = Kafka::new();
    kafka.produce("a", 10);
    let (calls, stop) = (Calls::default(), AtomicBool::new(false));

    let report = poll(settings(&kafka.brokers(), &["a"]), &stop, &calls, |_, records| {
        if handed(&calls).len() == 30 && handed(&calls)["a-2#7"] > 2 {
            stop.store(true, Ordering::Relaxed);
        }
        let stuck = records.iter().find(|(name, offset, _)| name == "a-2" && *offset == 7);
        Ok(stuck.map_or_else(String::new, |(name, offset, _)| resume_at(&[(name, *offset)])))
    });

    assert_eq!(report.records, 27);
    assert_eq!(kafka.committed("a", "g"), [10, 10, 7]);
    let rest = Calls::default();
    poll(settings(&kafka.brokers(), &["a"]), &GO_ON, &rest, take_all);
    let values: Vec<_> = handed(&rest).into_keys().collect();
    assert_eq!(values, ["a-2#7", "a-2#8", "a-2#9"]);
    assert_eq!(kafka.committed("a", "g"), [10, 10, 10]);
}

#[test]
fn failed_call_retries_whole_batch_after_backoff() {
    let kafka = Kafka::new();
    kafka.produce("a", 10);
    let (calls, begun) = (Calls::default(), Instant::now());

    let report =
        poll(settings(&kafka.brokers(), &["a"]), &GO_ON, &calls, |number, _| match number {
            1 => Err("time-out".into()),
            2 => Ok("{\"batchItemFailures\":[{\"itemIdentifier\":\"a-0\"}]}".into()),
            3 => Ok(resume_at(&[("a-7", 3)])),
            _ => Ok("null".into()),
        });

    let calls = calls.lock().unwrap();
    // Retried in the next call, unless a partition was reassigned in between and arrives a little
    // later.
    let again: Vec<_> = calls[3..].iter().flatten().collect();
    assert!(calls[0].iter().all(|record| again.contains(&record)));
    // 100, 200 and 400 ms.
    assert!(begun.elapsed() > Duration::from_millis(700));
    assert_eq!(
        (report.calls, report.batches, report.failed_calls),
        (calls.len() as u64, calls.len() as u64 - 3, 3)
    );
    assert_eq!(report.records, 30);
    assert_eq!(kafka.committed("a", "g"), [10, 10, 10]);
}

#[test]
fn broker_failures_lose_no_record() {
    use RDKafkaApiKey as Api;
    use RDKafkaRespErr::{
        RD_KAFKA_RESP_ERR__TRANSPORT as LOST_CONNECTION,
        RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE as NO_COORDINATOR,
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION as NOT_LEADER,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT as TIMED_OUT,
    };
    let kafka = Kafka::new();
    kafka.produce("a", 400);
    let cluster = &kafka.cluster;
    cluster.request_errors(Api::Fetch, &[NOT_LEADER, LOST_CONNECTION, NOT_LEADER]);
    cluster.request_errors(Api::JoinGroup, &[NO_COORDINATOR, LOST_CONNECTION]);
    cluster.request_errors(Api::FindCoordinator, &[NO_COORDINATOR]);
    cluster.request_errors(Api::OffsetCommit, &[NO_COORDINATOR, LOST_CONNECTION, TIMED_OUT]);
    cluster.request_errors(Api::OffsetFetch, &[NO_COORDINATOR]);
    cluster.broker_round_trip_time(ALL, Duration::from_millis(20)).unwrap();
    let calls = Calls::default();

    // Each call takes a moment, so that the broker stops in the middle.
    let brokers = kafka.brokers();
    let report = thread::scope(|scope| {
        let polling = scope.spawn(|| {
            poll(settings(&brokers, &["a"]), &GO_ON, &calls, |_, _| {
                thread::sleep(Duration::from_millis(40));
                take_all(0, &[])
            })
        });
        while calls.lock().unwrap().len() < 5 {
            thread::sleep(Duration::from_millis(10));
        }
        cluster.broker_down(ALL).unwrap();
        thread::sleep(Duration::from_secs(1));
        cluster.broker_up(ALL).unwrap();
        polling.join().unwrap()
    });

    assert_all_handed(&calls, "a", 400);
    assert_eq!((report.records, report.skipped, report.uncommitted), (1_200, 0, 0));
    assert_eq!(kafka.committed("a", "g"), [400, 400, 400]);
}

#[test]
fn rebalance_loses_no_record() {
    let kafka = Kafka::new();
    kafka.produce("a", 300);
    let (first, second) = (Calls::default(), Calls::default());
    let stop = AtomicBool::new(false);
    let brokers = kafka.brokers();
    let slow = |_: usize, _: &[Given]| {
        thread::sleep(Duration::from_millis(100));
        Ok(String::new())
    };

    thread::scope(|scope| {
        let leaving = scope.spawn(|| poll(settings(&brokers, &["a"]), &stop, &first, slow));
        while first.lock().unwrap().is_empty() {
            thread::sleep(Duration::from_millis(10));
        }
        let staying = scope.spawn(|| poll(settings(&brokers, &["a"]), &GO_ON, &second, slow));
        while second.lock().unwrap().is_empty() {
            thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
        leaving.join().unwrap();
        staying.join().unwrap();
    });

    assert!(!first.lock().unwrap().is_empty());
    let both = Calls::default();
    both.lock().unwrap().extend(first.lock().unwrap().iter().cloned());
    both.lock().unwrap().extend(second.lock().unwrap().iter().cloned());
    assert_all_handed(&both, "a", 300);
    assert_eq!(kafka.committed("a", "g"), [300, 300, 300]);
}

#[test]
fn failing_function_bounds_prefetched_records() {
    let kafka = Kafka::new();
    kafka.produce("a", 500);
    let (calls, stop) = (Calls::default(), AtomicBool::new(false));

    poll(settings(&kafka.brokers(), &["a"]), &stop, &calls, |number, _| {
        stop.store(number == 6, Ordering::Relaxed);
        Err("down".into())
    });

    // Two batches ahead, and the surplus of one poll.
    assert!(handed(&calls).len() <= 150, "{}", handed(&calls).len());
    assert_eq!(kafka.committed("a", "g"), [-1, -1, -1]);
}

#[test]
fn oversized_record_stops_the_poller_uncommitted() {
    // Both in one partition: progress of other partitions is not reported when the poller ends.
    let kafka = Kafka::new();
    kafka.produce_one("a", 1, b"small");
    kafka.produce_one("a", 1, &[b'x'; 4_000]);
    let limits = Limits { bytes: 3_000, ..settings("", &["a"]).limits };
    let settings = settings(&kafka.brokers(), &["a"]);

    let function = async |_: String| Ok(String::new());
    let poller = Poller::new(Settings { limits, ..settings }, function, |_| ());
    let error = poller.unwrap().run(&GO_ON).unwrap_err();

    assert!(matches!(&error, PollerError::TooLarge { offset: 1, .. }), "{error}");
    assert_eq!(kafka.committed("a", "g"), [-1, 1, -1]);
}
