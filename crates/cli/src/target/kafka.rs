//! Kafka topic: rows or readings verbatim, with their partition keys.
//!
//! The caller creates records; librdkafka's own threads deliver them. The producer is idempotent: a
//! retried request is stored once, and the records of a key keep their order.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::producer::{NoCustomPartitioner, ThreadedProducer};
use rdkafka::{ClientContext, util::Timeout};

use super::tally::{Outcome, Tally};
use super::{Item, SendResult, Target};

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

impl Address {
    /// Parses `HOST:PORT,HOST:PORT/TOPIC`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
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
}

/// Receives the delivery report of each record.
struct Reports {
    topic: String,
    tally: Arc<Tally>,
    /// Last error that librdkafka reported about a broker or the connection to it.
    complaint: Mutex<Option<String>>,
}

impl Reports {
    fn complaint(&self) -> MutexGuard<'_, Option<String>> {
        // No thread panics while it holds the lock.
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an undelivered record and keeps its error.
    fn failed(&self, error: &KafkaError) {
        let code = error.rdkafka_error_code();
        let mut reported = error.to_string();
        if let (Some(Code::MessageTimedOut), Some(complaint)) = (code, &*self.complaint()) {
            reported = format!("{reported}: {complaint}");
        }
        let result = if code.is_some_and(is_set_up) {
            Err(format!("kafka: topic {}: {reported}", self.topic))
        } else {
            // Keep the first error: it is the cause, and later ones only follow from it.
            let last_error = self.tally.last_error().or(Some(reported));
            Ok(Outcome { undelivered: 1, last_error, ..Outcome::default() })
        };
        self.tally.done(1, Some(result));
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

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        let mut complaint = self.complaint();
        // "All brokers down" adds nothing to the errors of the single brokers.
        if error.rdkafka_error_code() != Some(Code::AllBrokersDown) || complaint.is_none() {
            *complaint = Some(reason.to_owned());
            self.tally.set_stalled(reason.to_owned());
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.tally.clear_stalled();
                self.tally.done(1, Some(Ok(Outcome::default())));
            }
            Err((error, _)) => self.failed(error),
        }
    }
}

impl KafkaTarget {
    /// Opens the topic at `address`, which the cluster creates if it is allowed to.
    ///
    /// # Errors
    ///
    /// Fails if no broker answers or the topic does not exist.
    pub(crate) fn open(address: &Address) -> Result<Self> {
        let topic = address.topic.clone();
        let tally = Arc::new(Tally::of_confirmed());
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
            .create_with_context(Reports {
                topic: topic.clone(),
                tally,
                complaint: Mutex::default(),
            })?;
        let target = Self { producer, topic };
        target.find_topic(address)?;
        Ok(target)
    }

    fn reports(&self) -> &Reports {
        self.producer.context()
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
                    topic => topic
                        .and_then(MetadataTopic::error)
                        .map_or(Code::UnknownTopicOrPartition, Code::from)
                        .to_string(),
                },
                Err(error) => {
                    self.reports().complaint().clone().unwrap_or_else(|| error.to_string())
                }
            };
            time_limit = CONNECT.saturating_sub(started.elapsed());
            if time_limit.is_zero() {
                bail!("kafka:{address}: {wrong}");
            }
            std::thread::sleep(Duration::from_millis(50));
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
        let tally = self.tally();
        let mut record = BaseRecord::<str, [u8]>::to(&self.topic).payload(item.payload);
        if !key.is_empty() {
            record = record.key(key);
        }
        tally.begin();
        loop {
            let before = tally.outstanding();
            let Err((error, again)) = self.producer.send(record) else { break };
            if error.rdkafka_error_code() != Some(Code::QueueFull) {
                self.reports().failed(&error);
                tally.check()?;
                return Ok(SendResult::Failed);
            }
            record = again;
            tally.wait_until(|outstanding| outstanding < before);
        }
        tally.check()?;
        Ok(SendResult::Accepted)
    }

    /// Does nothing: no record is buffered longer than [`LINGER_MS`].
    fn flush_if_idle(&mut self, _: Duration) -> Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.tally().wait_until(|outstanding| outstanding == 0);
        self.tally().check()
    }

    fn tally(&self) -> &Arc<Tally> {
        &self.reports().tally
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::target::Origin;

    #[test]
    fn unqueued_record_fails_and_counts_undelivered() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("feed", 1, 1).unwrap();
        let address = Address::parse(&format!("{}/feed", cluster.bootstrap_servers())).unwrap();
        let mut target = KafkaTarget::open(&address).unwrap();
        let origin = || Origin::Simulation { seed: 1, number: 1 };
        let item = Item { dataset: "flood", key: "s-1", payload: b"{}", origin: origin() };
        assert_eq!(target.send(&item).unwrap(), SendResult::Accepted);

        // librdkafka refuses such a name at once, without a delivery report.
        "fe\0ed".clone_into(&mut target.topic);
        assert_eq!(target.send(&item).unwrap(), SendResult::Failed);

        target.flush().unwrap();
        let health = target.tally().health();
        assert_eq!((health.completed, health.undelivered), (Some(1), 1));
        assert!(target.tally().last_error().is_some());
    }
}
