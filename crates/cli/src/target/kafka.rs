//! A Kafka topic: the rows or readings themselves, under their partition keys.
//!
//! The caller makes records; librdkafka's own threads deliver them. The producer is idempotent: a
//! request that is sent again is stored once, and the records of a key keep their order.

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

/// How long a record is tried before the feed ends: a broker that is started again is back by then.
const TIMEOUT: Duration = Duration::from_mins(1);

/// How long a broker may take to answer for the first time, and to make the topic.
const CONNECT: Duration = Duration::from_secs(5);

/// A record waits no longer than this for others to go with.
const LINGER_MS: &str = "10";

/// What may be on its way: records, and kilobytes of them. The caller waits beyond it.
const MAX_RECORDS: &str = "50000";
const MAX_KILOBYTES: &str = "65536";

/// What a topic takes unless its limit has been raised.
const MAX_RECORD_BYTES: usize = 1_000_000;

/// The most characters of a topic's name.
const MAX_TOPIC: usize = 249;

/// Where a topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    brokers: String,
    topic: String,
}

impl FromStr for Address {
    type Err = String;

    /// Reads `HOST:PORT,HOST:PORT/TOPIC`.
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

/// What librdkafka's threads say.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Records that are on their way.
    outstanding: u64,
    undelivered: u64,
    last_error: Option<String>,
    /// What a broker, or the way to it, had to complain of last.
    complaint: Option<String>,
    /// Records that were stored.
    stored: u64,
    /// The complaint, as long as nothing is stored after it.
    stall_reason: Option<String>,
    setup_error: Option<String>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; were it so, counts would still be counts.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One record was not delivered.
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
        // The first is the cause; what is given up after it only follows.
        state.last_error.get_or_insert(reported);
    }
}

/// Whether it never goes away by itself.
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

/// Hears of each record what became of it.
struct Reports(Arc<Shared>);

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        let mut state = self.0.state();
        // That all are down follows from what was said of each.
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
    /// The topic at `address`, which the cluster makes if it may.
    ///
    /// # Errors
    ///
    /// When no broker answers, or the topic is not there.
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

    /// Waits until the topic has partitions: a cluster that makes it on demand takes a moment.
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

    /// Waits until `is_done`; each delivery report is a reason to look.
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

    /// Nothing is kept for longer than [`LINGER_MS`].
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
