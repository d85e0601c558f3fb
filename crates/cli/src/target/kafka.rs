//! Kafka topic: rows or readings verbatim, with their partition keys.
//!
//! The caller creates records; librdkafka's own threads deliver them. The producer is idempotent: a
//! retried request is stored once, and the records of a key keep their order.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::producer::{NoCustomPartitioner, ThreadedProducer};
use rdkafka::{ClientContext, util::Timeout};

use super::{HealthProbe, Item, SendResult, Status, Target, TargetHealth};

/// Time limit for a record, after which the feed ends. A restarted broker is back within this time.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Time limit for a broker to answer for the first time and to create the topic.
const CONNECT: Duration = Duration::from_secs(5);

/// Maximum time that a record waits for others to share its request.
const LINGER_MS: &str = "10";

/// Maximum number of records and kilobytes in flight. Beyond it, the caller blocks.
const MAX_RECORDS: &str = "50000";
const MAX_KILOBYTES: &str = "65536";

/// Maximum record size of a topic, unless its limit was raised.
const MAX_RECORD_BYTES: usize = 1_000_000;

/// Maximum characters of a topic's name.
const MAX_TOPIC: usize = 249;

/// Brokers and topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    brokers: String,
    topic: String,
}

impl FromStr for Address {
    type Err = String;

    /// Parses `HOST:PORT,HOST:PORT/TOPIC`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (brokers, topic) = text
            .rsplit_once('/')
            .filter(|(brokers, topic)| !brokers.is_empty() && !topic.is_empty())
            .ok_or("a topic is kafka:HOST:PORT/TOPIC, with more brokers after commas")?;
        let fits = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '-');
        if topic.len() > MAX_TOPIC || !topic.chars().all(fits) {
            return Err(format!(
                "{topic:?} is no topic's name: up to {MAX_TOPIC} letters, digits, dots, dashes and underscores"
            ));
        }
        Ok(Self { brokers: brokers.to_owned(), topic: topic.to_owned() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.brokers, self.topic)
    }
}

/// Sends records to a topic.
pub(crate) struct KafkaTarget {
    producer: ThreadedProducer<Reports, NoCustomPartitioner>,
    topic: String,
    reports: Arc<Shared>,
    waited: Duration,
}

/// State shared with librdkafka's threads.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Records in flight.
    outstanding: u64,
    undelivered: u64,
    last_error: Option<String>,
    /// Last error that librdkafka reported about a broker or the connection to it.
    complaint: Option<String>,
    /// Stored records.
    stored: u64,
    /// The complaint, until a record is stored after it.
    stall_reason: Option<String>,
    setup_error: Option<String>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // No thread panics while it holds the lock. Even if one did, the counts would be valid.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an undelivered record and keeps its error.
    fn failed(&self, error: &KafkaError) {
        let mut state = self.state();
        state.undelivered += 1;
        let code = error.rdkafka_error_code();
        let mut reported = error.to_string();
        if let (Some(Code::MessageTimedOut), Some(complaint)) = (code, &state.complaint) {
            reported = format!("{reported}: {complaint}");
        }
        if code.is_some_and(is_set_up) {
            state.setup_error.get_or_insert_with(|| reported.clone());
        }
        // Keep the first error: it is the cause, and later ones only follow from it.
        state.last_error.get_or_insert(reported);
    }
}

/// Returns whether the error is permanent.
fn is_set_up(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::InvalidTopic
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
    )
}

/// Receives the delivery report of each record.
struct Reports(Arc<Shared>);

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        let mut state = self.0.state();
        // "All brokers down" adds nothing to the errors of the single brokers.
        if error.rdkafka_error_code() != Some(Code::AllBrokersDown) || state.complaint.is_none() {
            state.complaint = Some(reason.to_owned());
            state.stall_reason = Some(reason.to_owned());
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                let mut state = self.0.state();
                state.stored += 1;
                state.stall_reason = None;
            }
            Err((error, _)) => self.0.failed(error),
        }
        self.0.state().outstanding -= 1;
        self.0.changed.notify_all();
    }
}

impl KafkaTarget {
    /// Opens the topic at `address`, which the cluster creates if it is allowed to.
    ///
    /// # Errors
    ///
    /// Fails if no broker answers or the topic does not exist.
    pub(crate) fn open(address: &Address) -> Result<Self> {
        let reports = Arc::new(Shared::default());
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &address.brokers)
            .set("client.id", "tributary")
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", LINGER_MS)
            .set("message.timeout.ms", TIMEOUT.as_millis().to_string())
            .set("queue.buffering.max.messages", MAX_RECORDS)
            .set("queue.buffering.max.kbytes", MAX_KILOBYTES)
            .create_with_context(Reports(Arc::clone(&reports)))?;
        let target =
            Self { producer, topic: address.topic.clone(), reports, waited: Duration::ZERO };
        target.find_topic(address)?;
        Ok(target)
    }

    /// Waits until the topic has partitions. A cluster that creates topics on demand needs a
    /// moment.
    fn find_topic(&self, address: &Address) -> Result<()> {
        let started = Instant::now();
        let mut time_limit = CONNECT;
        loop {
            let slice = Timeout::After(time_limit.min(Duration::from_secs(2)));
            let wrong = match self.producer.client().fetch_metadata(Some(&self.topic), slice) {
                Ok(metadata) => match metadata.topics().first() {
                    Some(topic) if topic.error().is_none() && !topic.partitions().is_empty() => {
                        return Ok(());
                    }
                    Some(topic) => {
                        topic.error().map_or(Code::UnknownTopicOrPartition, Code::from).to_string()
                    }
                    None => Code::UnknownTopicOrPartition.to_string(),
                },
                Err(error) => {
                    self.reports.state().complaint.clone().unwrap_or_else(|| error.to_string())
                }
            };
            time_limit = CONNECT.saturating_sub(started.elapsed());
            if time_limit.is_zero() {
                bail!("kafka:{address}: {wrong}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until `is_done`, checked after each delivery report.
    fn wait_until(&mut self, is_done: impl Fn(&State) -> bool) {
        let started = Instant::now();
        let mut state = self.reports.state();
        while !is_done(&state) {
            let changed = self.reports.changed.wait(state);
            state = changed.unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        self.waited += started.elapsed();
    }

    fn check(&self) -> Result<()> {
        match &self.reports.state().setup_error {
            Some(error) => Err(anyhow!("kafka: topic {}: {error}", self.topic)),
            None => Ok(()),
        }
    }
}

impl Target for KafkaTarget {
    fn send(&mut self, item: &Item<'_>) -> Result<SendResult> {
        let key = item.key.trim();
        let size = item.payload.len() + key.len();
        if size > MAX_RECORD_BYTES {
            return Ok(SendResult::TooLarge(size));
        }
        let topic = self.topic.clone();
        let mut record = BaseRecord::<str, [u8]>::to(&topic).payload(item.payload);
        if !key.is_empty() {
            record = record.key(key);
        }
        loop {
            let before = {
                let mut state = self.reports.state();
                state.outstanding += 1;
                state.outstanding
            };
            let Err((error, again)) = self.producer.send(record) else { break };
            self.reports.state().outstanding -= 1;
            if error.rdkafka_error_code() != Some(Code::QueueFull) {
                self.reports.failed(&error);
                break;
            }
            record = again;
            self.wait_until(|state| state.outstanding + 1 < before);
        }
        self.check()?;
        Ok(SendResult::Accepted)
    }

    /// Does nothing: no record is buffered longer than [`LINGER_MS`].
    fn flush_if_idle(&mut self, _: Duration) -> Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.wait_until(|state| state.outstanding == 0);
        self.check()
    }

    fn sync(&mut self) -> Result<Option<u64>> {
        self.flush().map(|()| None)
    }

    fn status(&self) -> Status {
        let state = self.reports.state();
        Status { undelivered: state.undelivered, waited: self.waited, ..Status::default() }
    }

    fn health_probe(&self) -> HealthProbe {
        let reports = Arc::clone(&self.reports);
        Box::new(move || {
            let state = reports.state();
            let (completed, stall_reason) = (Some(state.stored), state.stall_reason.clone());
            TargetHealth { completed, rejected: 0, undelivered: state.undelivered, stall_reason }
        })
    }

    fn last_error(&self) -> Option<String> {
        self.reports.state().last_error.clone()
    }
}
