//! Path of a feed through a topic to raw records. `tributary simulate` writes, the poller consumes
//! as Lambda does, `ingest-kafka` writes to failing sinks, and the broker stops in between. Runs
//! against librdkafka's mock cluster and against a real broker.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fn_ingest_kafka::config::Topics;
use fn_ingest_kafka::handler::IngestKafka;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::MetadataTopic;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;
use tributary_aws::deadline::Deadline;
use tributary_aws::firehose;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::log::MetricsLog;
use tributary_aws::producer::Producer;
use tributary_aws::put::Limits as SinkLimits;
use tributary_aws::takeover::KnownDatasets;
use tributary_config::Configuration;
use tributary_kafka_bridge::payload::MAX_BYTES;
use tributary_kafka_bridge::poller::{Poller, Report};
use tributary_kafka_bridge::settings::{Limits, Settings};
use tributary_testkit::{Answer, MemorySink};

const TOPIC: &str = "telemetry";
const STREAM: SinkLimits = SinkLimits { entries: 500, bytes: 5 << 20, entry_bytes: 1 << 20 };
const TIMEOUT: Duration = Duration::from_secs(20);

type Ingest = IngestKafka<MemorySink<StreamRecord>, MemorySink<Vec<u8>>>;

/// Broker that can stop and restart.
trait Broker {
    fn address(&self) -> String;
    fn stop(&self);
    fn restart(&self);
}

/// Size and timing of a run.
struct Plan {
    count: usize,
    rate: u32,
    /// Maximum records per call, and duration of a call. Consuming is slower than writing, so that
    /// records are left when all are written.
    batch: usize,
    call: Duration,
    /// Time between stop and restart of the broker.
    downtime: Duration,
    /// Set if the broker stores a retried record of an idempotent producer once.
    is_idempotent: bool,
}

/// Result of a run.
struct Run {
    report: Report,
    /// Rows in the raw stream, by record id.
    rows: BTreeMap<String, String>,
    /// Raw records in total, including duplicates.
    stored: usize,
    quarantined: usize,
    /// End offset and committed offset of each partition.
    ends: Vec<(i64, i64)>,
    took: Duration,
}

/// Returns the function over sinks that throttle, fail in part, store without an answer, and deny.
fn ingest() -> Ingest {
    let round = [
        Answer::Take,
        Answer::Take,
        Answer::Fail(vec![0, 7, 8]),
        Answer::Take,
        Answer::Throttle,
        Answer::Take,
        Answer::Take,
        Answer::Fail((10..90).collect()),
        Answer::StoreAndTimeOut,
        Answer::Take,
        Answer::AnswerFor(3),
        Answer::Take,
        Answer::Take,
        Answer::Deny,
        Answer::Take,
    ];
    let answers: Vec<_> = round.iter().cycle().take(60).cloned().chain([Answer::Take]).collect();
    IngestKafka {
        raw: Producer::new(MemorySink::scripted(STREAM, StreamRecord::size, answers)),
        quarantine: Producer::new(MemorySink::new(firehose::LIMITS, Vec::len)),
        datasets: Configuration::shipped().unwrap().datasets,
        known: KnownDatasets::default(),
        topics: Topics::default(),
        metrics_log: MetricsLog::new("ingest-kafka", "Tributary/test".into()),
        clock: jiff::Timestamp::now,
    }
}

fn simulate(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    command
        .args(["simulate", TOPIC, "--seed", "11", "--duplicate-rate", "0"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Runs the feed. The broker stops once while records are written and consumed, and once while the
/// rest is consumed.
fn run_feed(broker: &impl Broker, plan: &Plan) -> Run {
    let started = Instant::now();
    let (ingest, calls, failed) = (ingest(), AtomicU32::new(0), AtomicBool::new(false));
    let settings = Settings {
        brokers: broker.address(),
        topics: vec![TOPIC.into()],
        group: "tributary".into(),
        limits: Limits {
            records: plan.batch,
            bytes: MAX_BYTES,
            window: Duration::from_millis(100),
        },
        until_idle: Some(Duration::from_secs(2)),
    };
    let function = async |payload: String| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        // A call takes a moment. With a short deadline, the sink's failure is reported and not
        // retried.
        tokio::time::sleep(plan.call).await;
        let time = if call.is_multiple_of(3) { 2_000 } else { 130 };
        let wrong = |error: &dyn Display| error.to_string();
        let answer = ingest.handle(&payload, Deadline::after(Duration::from_millis(time))).await;
        let answer = answer.map_err(|error| wrong(&error))?;
        if call % 19 == 18 {
            return Err("the answer was lost".to_owned());
        }
        serde_json::to_string(&answer).map_err(|error| wrong(&error))
    };
    let stored = || ingest.raw.target().stored().len();
    // The number of written records decides when the broker stops, not the speed of the consumer,
    // which depends on the machine.
    let wait_for = |records: usize| {
        let counter = counter(&broker.address());
        while written(&counter) < records {
            assert!(!failed.load(Ordering::Relaxed), "the poller has ended");
            assert!(started.elapsed() < Duration::from_mins(10), "{} of {records}", stored());
            thread::sleep(Duration::from_millis(10));
        }
    };

    let report = thread::scope(|scope| {
        let polling = scope.spawn(|| {
            let report =
                Poller::new(settings, function, |_| ()).unwrap().run(&AtomicBool::new(false));
            failed.store(true, Ordering::Relaxed);
            report.unwrap()
        });
        let (count, rate) = (plan.count.to_string(), format!("{}/s", plan.rate));
        let to = format!("kafka:{}/{TOPIC}", broker.address());
        let mut feeding =
            simulate(&["--count", &count, "--rate", &rate, "--to", &to, "--format", "json"]);
        wait_for(plan.count / 20);
        assert!(
            feeding.try_wait().unwrap().is_none(),
            "the broker stops while records are written"
        );
        broker.stop();
        thread::sleep(plan.downtime);
        broker.restart();

        let fed = feeding.wait_with_output().unwrap();
        assert!(fed.status.success(), "{}", String::from_utf8_lossy(&fed.stderr));
        let summary: Value = serde_json::from_slice(&fed.stdout).unwrap();
        assert_eq!((&summary["records"], &summary["undelivered"]), (&plan.count.into(), &0.into()));
        assert!(!polling.is_finished(), "the broker stops while records are left");
        broker.stop();
        thread::sleep(plan.downtime);
        broker.restart();
        polling.join().unwrap()
    });

    let mut rows = BTreeMap::new();
    for record in ingest.raw.target().stored() {
        let record: Value = serde_json::from_slice(&record.data).unwrap();
        let id = record["record_id"].as_str().unwrap().to_owned();
        let row = record["payload"].to_string();
        assert_eq!(rows.entry(id).or_insert_with(|| row.clone()), &row, "one id, one row");
    }
    Run {
        report,
        rows,
        stored: stored(),
        quarantined: ingest.quarantine.target().stored().len(),
        ends: ends(&broker.address()),
        took: started.elapsed(),
    }
}

fn counter(address: &str) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("group.id", "tributary").create().unwrap()
}

/// Returns the number of records in the topic, or 0 while the broker does not answer.
fn written(counter: &BaseConsumer) -> usize {
    let brief = Duration::from_millis(500);
    let Ok(metadata) = counter.fetch_metadata(Some(TOPIC), brief) else { return 0 };
    let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
    let ends = partitions.filter_map(|it| counter.fetch_watermarks(TOPIC, it.id(), brief).ok());
    usize::try_from(ends.map(|(_, end)| end.max(0)).sum::<i64>()).unwrap()
}

fn ends(address: &str) -> Vec<(i64, i64)> {
    let consumer = counter(address);
    let metadata = consumer.fetch_metadata(Some(TOPIC), TIMEOUT).unwrap();
    let mut asked = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        asked.add_partition(TOPIC, partition.id());
    }
    let committed = consumer.committed_offsets(asked, TIMEOUT).unwrap();
    let end = |partition| consumer.fetch_watermarks(TOPIC, partition, TIMEOUT).unwrap().1;
    let committed_of = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
    let elements = committed.elements();
    elements.iter().map(|it| (end(it.partition()), committed_of(it.offset()))).collect()
}

/// Asserts that no row is lost, no unknown row arrived, and every partition is committed to its
/// end.
fn assert_counts_reconcile(run: &Run, plan: &Plan) {
    let fed = simulate(&["--count", &plan.count.to_string()]).wait_with_output().unwrap();
    let fed: BTreeSet<String> = String::from_utf8(fed.stdout)
        .unwrap()
        .lines()
        .map(|row| serde_json::from_str::<Value>(row).unwrap().to_string())
        .collect();
    assert_eq!(fed.len(), plan.count);

    let arrived: BTreeSet<String> = run.rows.values().cloned().collect();
    assert_eq!(fed.difference(&arrived).count(), 0, "lost");
    assert_eq!(arrived.difference(&fed).count(), 0, "not sent");
    assert_eq!(run.quarantined, 0);
    assert!(run.ends.len() > 1 && run.ends.iter().all(|(end, _)| *end > 0), "{:?}", run.ends);
    assert!(run.ends.iter().all(|(end, committed)| end == committed), "{:?}", run.ends);
    let ends: i64 = run.ends.iter().map(|(end, _)| end).sum();
    assert_eq!(usize::try_from(ends).unwrap(), run.rows.len(), "one id for each record");
    if plan.is_idempotent {
        assert_eq!(run.rows.len(), plan.count, "the topic has each row once");
    }

    let Report { records, skipped, uncommitted, .. } = run.report;
    assert_eq!((records, skipped, uncommitted), (run.rows.len() as u64, 0, 0));
    let committed: Vec<_> = run.report.committed.values().copied().collect();
    assert_eq!(committed, run.ends.iter().map(|(end, _)| *end).collect::<Vec<_>>());
    // The injected faults occurred.
    let Report { failed_calls, cut_partitions, redelivered, .. } = run.report;
    assert!(failed_calls > 0 && cut_partitions > 0 && redelivered > 0, "{:?}", run.report);
}

struct Mock(MockCluster<'static, DefaultProducerContext>);

impl Broker for Mock {
    fn address(&self) -> String {
        self.0.bootstrap_servers()
    }

    fn stop(&self) {
        self.0.broker_down(-1).unwrap();
    }

    fn restart(&self) {
        self.0.broker_up(-1).unwrap();
    }
}

#[test]
fn feed_survives_failing_mock_cluster() {
    use RDKafkaRespErr::{
        RD_KAFKA_RESP_ERR__TRANSPORT as LOST_CONNECTION,
        RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS as LOADING,
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION as NOT_LEADER,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT as TIMED_OUT,
    };
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 4, 1).unwrap();
    cluster.request_errors(Api::Produce, &[NOT_LEADER, LOST_CONNECTION, TIMED_OUT]);
    cluster.request_errors(Api::Fetch, &[NOT_LEADER, LOST_CONNECTION]);
    cluster.request_errors(Api::JoinGroup, &[LOADING]);
    cluster.request_errors(Api::OffsetFetch, &[LOADING]);
    cluster.request_errors(Api::OffsetCommit, &[LOADING, LOST_CONNECTION, TIMED_OUT]);
    cluster.broker_round_trip_time(-1, Duration::from_millis(5)).unwrap();
    let plan = Plan {
        count: 4_000,
        rate: 600,
        batch: 50,
        call: Duration::from_millis(100),
        downtime: Duration::from_secs(1),
        is_idempotent: false,
    };

    let run = run_feed(&Mock(cluster), &plan);

    assert_counts_reconcile(&run, &plan);
}

/// Broker of `tools/kafka.py` in its own folder. It ends with the test.
struct Real {
    home: PathBuf,
    address: String,
}

impl Real {
    /// Starts the broker. If Kafka is not available, prints why and returns `None`.
    fn start() -> Option<Self> {
        let name = format!("kafka-{}", std::process::id());
        let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut broker = Self { home, address: String::new() };
        let started = broker.tool("start").map_err(|why| note(&why)).ok()?;
        started["bootstrap"].as_str().unwrap().clone_into(&mut broker.address);
        Some(broker)
    }

    fn tool(&self, verb: &str) -> Result<Value, String> {
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
        let output = Command::new(python)
            .args(["-m", "tools.kafka", verb, "--home"])
            .arg(&self.home)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match output.status.code() {
            Some(0) => Ok(serde_json::from_str(&said).unwrap()),
            Some(77) => Err(said),
            code => {
                let message = String::from_utf8_lossy(&output.stderr);
                assert_eq!(code, Some(0), "tools.kafka {verb}: {said} {message}");
                Err(said)
            }
        }
    }
}

impl Broker for Real {
    fn address(&self) -> String {
        self.address.clone()
    }

    fn stop(&self) {
        assert_eq!(self.tool("kill").unwrap()["running"], false);
    }

    fn restart(&self) {
        let back = self.tool("start").unwrap();
        assert_eq!(
            (&back["running"], &back["bootstrap"]),
            (&true.into(), &self.address.clone().into())
        );
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        // Ignore errors: a broker that does not stop or a folder that cannot be removed must not
        // fail the test.
        let _ = self.tool("stop");
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// Prints a line past the capture of the test's output, which is full of the function's log lines.
fn note(line: &str) {
    let mut err = std::io::stderr();
    writeln!(err, "{line}").unwrap();
}

#[test]
#[ignore = "make test-kafka: a real broker, which needs java and a way to Maven Central"]
fn feed_survives_killed_real_broker() {
    let Some(broker) = Real::start() else { return };
    let plan = Plan {
        count: 20_000,
        rate: 4_000,
        batch: 100,
        call: Duration::from_millis(30),
        downtime: Duration::from_millis(500),
        is_idempotent: true,
    };

    let run = run_feed(&broker, &plan);

    note(&format!(
        "{} records through {} partitions in {:.1} s, the broker killed twice\n\
         {} raw records, {} of them again; topic ends and committed offsets {:?}\n\
         {}",
        run.rows.len(),
        run.ends.len(),
        run.took.as_secs_f64(),
        run.stored,
        run.stored - run.rows.len(),
        run.ends,
        serde_json::to_string(&run.report).unwrap(),
    ));
    assert_counts_reconcile(&run, &plan);
}
