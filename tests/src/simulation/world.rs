//! The deployment in memory: the handlers that `main.rs` runs, the services around them, the mappings
//! between them.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alerts::handler::Alerts;
use ingest_http::handler::IngestHttp;
use ingest_kafka::config::Topics;
use ingest_kafka::handler::IngestKafka;
use ingest_s3::handler::IngestS3;
use metrics::handler::Metrics;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::sleep;
use transform::handler::Transform;
use tributary_aws::aggregating::Aggregating;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::log::Journal;
use tributary_aws::producer::Producer;
use tributary_aws::put::Verdict;
use tributary_core::config::{ALERTS, AlertsConfig, ConfigError, PIPELINE, PipelineConfig};
use tributary_core::id::Id;
use tributary_core::ingest::SourceName;
use tributary_core::rows::{Limits, Position};
use tributary_core::rule::Rules;
use tributary_core::transform::Transformer;
use tributary_sim::lambda::{Answer, Lambda};
use tributary_sim::mapping::kafka::{KafkaEntry, KafkaMapping};
use tributary_sim::mapping::kinesis::KinesisMapping;
use tributary_sim::mapping::sqs::SqsMapping;
use tributary_sim::service::{
    SimBucket, SimDelivery, SimMetrics, SimObjects, SimQueue, SimSink, SimStream, SimTopic, Store,
};
use tributary_sim::{Fault, Faults, clock};

use super::input::{Row, Rows, json_lines};
use super::plan::Plan;

const BUCKET: &str = "source";
const MAX_RECORD_BYTES: usize = 1024 * 1024;
const SECOND: Duration = Duration::from_secs(1);

/// The longest that a simulation may take on its own clock until nothing is left to do.
const PATIENCE: Duration = Duration::from_hours(12);

/// Everything there is.
pub(super) struct World {
    pub plan: Plan,
    pub faults: Faults,
    pub source: Arc<SimBucket>,
    pub parked: Arc<SimBucket>,
    pub raw: Arc<SimStream>,
    pub events: Arc<SimStream>,
    pub quarantine: Arc<SimDelivery>,
    pub topic: Arc<SimTopic>,
    pub metrics: Arc<SimMetrics>,
    pub queue: SimQueue,
    pub functions: Functions,
    pub streams: Vec<Rc<KinesisMapping>>,
    pub messages: Rc<SqsMapping>,
    pub topics: Rc<KafkaMapping>,
    pub books: Arc<Mutex<Vec<Value>>>,
    pub accepted: Mutex<Accepted>,
}

/// What has been taken in and must not be lost.
#[derive(Default)]
pub(super) struct Accepted {
    /// Rows by record id.
    pub rows: BTreeMap<String, Row>,
    /// For rows of an object that was deleted, the name of that object.
    pub deleted: BTreeMap<String, String>,
    /// Records that nobody can read, by their bytes.
    pub poison: BTreeSet<Vec<u8>>,
    /// Requests that are still to be answered.
    pub unanswered: usize,
}

pub(super) struct Functions {
    pub ingest_s3: Lambda,
    pub ingest_http: Lambda,
    pub ingest_kafka: Lambda,
    pub transform: Lambda,
    pub metrics: Lambda,
    pub alerts: Lambda,
}

impl Functions {
    pub(super) fn all(&self) -> [&Lambda; 6] {
        let Self { ingest_s3, ingest_http, ingest_kafka, transform, metrics, alerts } = self;
        [ingest_s3, ingest_http, ingest_kafka, transform, metrics, alerts]
    }
}

/// The configuration that is compiled into the functions.
pub(super) fn pipeline() -> Result<PipelineConfig, ConfigError> {
    PipelineConfig::from_toml(PIPELINE)
}

/// An answer as Lambda's runtime returns it.
fn json_of<T: Serialize>(answer: Result<T, InvocationError>) -> Answer {
    let answer = answer.map_err(|error| error.to_string())?;
    serde_json::to_string(&answer).map_err(|error| error.to_string())
}

impl World {
    pub(super) fn build(plan: Plan) -> Result<Rc<Self>, ConfigError> {
        clock::begin();
        let faults = Faults::new(plan.seed, plan.rates.clone());
        let books = Arc::new(Mutex::new(Vec::new()));
        let parked = Arc::new(SimBucket::default());
        let lake = Arc::new(SimBucket::default());
        let raw = Arc::new(SimStream::new(plan.shards, MAX_RECORD_BYTES));
        let events = Arc::new(SimStream::new(plan.shards, MAX_RECORD_BYTES));
        let quarantine = Arc::new(SimDelivery::new(lake, "quarantine/"));
        let queue = SimQueue::new(faults.clone(), 1_800 * SECOND, 5);
        let parts = Parts {
            plan: &plan,
            faults: &faults,
            books: &books,
            source: Arc::new(SimBucket::default()),
            raw: raw.clone(),
            events: events.clone(),
            quarantine: quarantine.clone(),
            topic: Arc::default(),
            metrics: Arc::default(),
            queue: queue.clone(),
        };
        let functions = parts.functions()?;
        let mapping = |uuid, stream: &Arc<SimStream>, lambda: &Lambda| {
            let settings = plan.mapping.clone();
            KinesisMapping::new(uuid, stream.clone(), lambda.clone(), settings, parked.clone())
        };
        let streams = vec![
            mapping("transform", &raw, &functions.transform),
            mapping("metrics", &events, &functions.metrics),
            mapping("alerts", &events, &functions.alerts),
        ];
        let messages = SqsMapping::new(queue.clone(), functions.ingest_s3.clone(), 1);
        let batch_size = plan.mapping.batch_size;
        let topics = KafkaMapping::new(functions.ingest_kafka.clone(), batch_size);
        let (source, topic, metrics) = (parts.source, parts.topic, parts.metrics);
        Ok(Rc::new(Self {
            faults,
            source,
            parked,
            raw,
            events,
            quarantine,
            topic,
            metrics,
            queue,
            functions,
            streams,
            messages,
            topics,
            books,
            accepted: Mutex::default(),
            plan,
        }))
    }

    /// Runs it to its end: input and faults at once, then calm, then whatever was set aside is brought
    /// back. Whether there was an end.
    pub(super) async fn run(self: &Rc<Self>) -> bool {
        for mapping in &self.streams {
            spawn_local(mapping.clone().run());
        }
        self.messages.run(2);
        spawn_local(self.topics.clone().run());
        spawn_local(self.clone().reshard());
        self.clone().feed().await;
        // Faults go on for a while after the last input.
        sleep(120 * SECOND).await;
        self.faults.calm_down();
        let is_done = self.settle().await;
        let is_fresh = is_done && self.takes_a_fresh_record().await;
        self.streams.iter().for_each(|mapping| mapping.stop());
        self.messages.stop();
        self.topics.stop();
        is_done && is_fresh
    }

    /// Waits until nothing is left to do, and brings back what was given up.
    async fn settle(&self) -> bool {
        let until = clock::elapsed() + PATIENCE;
        while clock::elapsed() < until {
            sleep(5 * SECOND).await;
            if !self.is_quiet() {
                continue;
            }
            // A batch that comes late does so within two minutes.
            sleep(150 * SECOND).await;
            if self.is_quiet() && !self.bring_back().await {
                return true;
            }
        }
        false
    }

    fn is_quiet(&self) -> bool {
        self.lock().unanswered == 0
            && self.messages.is_drained()
            && self.topics.is_drained()
            && self.streams.iter().all(|mapping| mapping.is_drained())
    }

    /// What an operator does: the invocations that were given up are made again, dead letters go back
    /// to their queue. Whether there was any.
    async fn bring_back(&self) -> bool {
        let mut any = false;
        for (key, object) in self.parked.list("aws/lambda/") {
            any = true;
            let parked: Value = serde_json::from_slice(&object).unwrap_or_default();
            let payload = parked["payload"].as_str().unwrap_or_default().to_owned();
            let uuid = key.split('/').nth(2).unwrap_or_default();
            let function = self.functions.all().into_iter().find(|it| it.name() == uuid);
            if let Some(function) = function {
                let answer = function.invoke(payload).await.unwrap_or_else(|_| "-".to_owned());
                if tributary_sim::mapping::Reported::by(&answer)
                    == tributary_sim::mapping::Reported::Nothing
                {
                    self.parked.delete(&key, 0);
                }
            }
        }
        for message in self.queue.take_dead_letters() {
            any = true;
            self.queue.push(message.body, Duration::ZERO);
        }
        any
    }

    /// All input: objects, requests, and what a stranger puts into the streams.
    async fn feed(self: Rc<Self>) {
        let mut rows = Rows::new(self.plan.seed, self.plan.bad);
        self.queue
            .push(json!({"Service": "Amazon S3", "Event": "s3:TestEvent"}).to_string(), SECOND);
        let Plan { objects, requests, produced, .. } = self.plan;
        let steps = objects.max(requests).max(produced);
        for step in 0..steps {
            let size = 1 + rows.below(self.plan.rows);
            if step < objects {
                self.put_object(step, &rows.take(size), &mut rows);
            }
            if step < requests {
                let items = rows.take(size);
                self.lock().unanswered += 1;
                spawn_local(self.clone().send(items, rows.chance(0.5).then_some(step)));
            }
            if step < produced {
                self.produce(&rows.take(size), &mut rows);
            }
            for stream in [&self.raw, &self.events] {
                if self.faults.strikes(Fault::Poison) {
                    self.poison(stream, step, &mut rows);
                }
            }
            sleep(SECOND * rows.below(20) as u32).await;
        }
    }

    /// Puts an object, and has S3 tell of it. Keys are few: a later object is another version.
    fn put_object(self: &Rc<Self>, step: usize, rows: &[Row], chance: &mut Rows) {
        let Some(dataset) = rows.first().map(|row| row.dataset) else { return };
        let key = format!("{dataset}/file {}.jsonl", step % 2);
        let (bytes, offsets) = json_lines(rows);
        let version = self.source.put(&key, bytes);
        let (version_id, etag) = (format!("v{version}"), format!("etag-v{version}"));
        let name = SourceName::s3(BUCKET, &key, Some(&version_id), Some(&etag));
        let is_deleted = self.faults.strikes(Fault::ObjectDeleted);
        let mut accepted = self.lock();
        for (number, (offset, row)) in offsets.into_iter().enumerate() {
            let position = Position { offset, row: number as u64 + 1 };
            let id = name.record_id(position).to_string();
            if is_deleted {
                let object = format!("s3://{BUCKET}/{key}?versionId={version_id}");
                accepted.deleted.insert(id.clone(), object);
            }
            accepted.rows.insert(id, row);
        }
        drop(accepted);
        let notification = json!({"Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": BUCKET}, "object": {
            "key": key.replace(' ', "+"), "versionId": version_id, "eTag": etag,
            "sequencer": format!("{step:016}"),
        }}}]})
        .to_string();
        if is_deleted {
            let (world, wait) = (self.clone(), SECOND * chance.below(10) as u32);
            spawn_local(async move {
                sleep(wait).await;
                world.source.delete(&key, version);
            });
        }
        let late = self.faults.strikes(Fault::LateNotification);
        let delay = if late { SECOND * (30 + chance.below(600) as u32) } else { SECOND };
        if self.faults.strikes(Fault::DuplicateNotification) {
            self.queue.push(notification.clone(), delay + SECOND * chance.below(90) as u32);
        }
        self.queue.push(notification, delay);
    }

    /// Writes rows to the partitions of the topic of their dataset, and tombstones between them.
    fn produce(&self, rows: &[Row], chance: &mut Rows) {
        for row in rows {
            let partition = chance.below(3) as u32;
            let key = match chance.below(3) {
                0 => None,
                1 => Some(vec![0xff, 0xfe]),
                _ => Some(format!("device-{}", chance.below(5)).into_bytes()),
            };
            if chance.chance(0.05) {
                let tombstone = KafkaEntry { key: key.clone(), ..KafkaEntry::default() };
                self.topics.produce(row.dataset, partition, tombstone);
            }
            let value = Some(row.line.clone());
            let entry = KafkaEntry { key, value, ..KafkaEntry::default() };
            let offset = self.topics.produce(row.dataset, partition, entry).to_string();
            let place = ["kafka", row.dataset, &partition.to_string(), &offset];
            self.lock().rows.insert(Id::of_text(&place).to_string(), row.clone());
        }
    }

    /// A device: it sends until it is answered, and only then forgets.
    async fn send(self: Rc<Self>, items: Vec<Row>, key: Option<usize>) {
        let request = request(&items, key);
        let mut wait = SECOND;
        loop {
            let answer = self.functions.ingest_http.invoke(request.clone()).await;
            let answer: Value =
                answer.ok().and_then(|it| serde_json::from_str(&it).ok()).unwrap_or_default();
            let body = answer["body"].as_str().unwrap_or_default();
            let body: Value = serde_json::from_str(body).unwrap_or_default();
            self.note_accepted(&items, &body);
            if matches!(answer["statusCode"].as_u64(), Some(200..=299 | 400..=499)) {
                break;
            }
            sleep(wait).await;
            wait = (2 * wait).min(60 * SECOND);
        }
        self.lock().unanswered -= 1;
    }

    fn note_accepted(&self, items: &[Row], body: &Value) {
        let mut accepted = self.lock();
        for entry in body["items"].as_array().into_iter().flatten() {
            let item = entry["item"].as_u64().and_then(|n| items.get(n as usize));
            let id = entry["record_id"].as_str().filter(|_| entry["status"] == "accepted");
            if let (Some(row), Some(id)) = (item, id) {
                accepted.rows.insert(id.to_owned(), row.clone());
            }
        }
    }

    /// A record that is not ours.
    fn poison(&self, stream: &Arc<SimStream>, step: usize, chance: &mut Rows) {
        let name = if Arc::ptr_eq(stream, &self.raw) { "raw" } else { "events" };
        let data = match chance.below(4) {
            0 => format!("poison {name} {step}").into_bytes(),
            1 => format!("{{\"poison\":\"{name} {step}\"}}").into_bytes(),
            2 => vec![0, 159, 146, step as u8, name.len() as u8],
            // The magic number of an aggregate, and nothing that follows from it.
            _ => [&[0xf3, 0x89, 0x9a, 0xc2], name.as_bytes(), &step.to_be_bytes()].concat(),
        };
        if stream.take(&StreamRecord::new("poison", data.clone())) == Verdict::Stored {
            self.lock().poison.insert(data);
        }
    }

    /// Splits and merges shards now and then.
    async fn reshard(self: Rc<Self>) {
        while !self.faults.is_calm() {
            sleep(SECOND).await;
            for stream in [&self.raw, &self.events] {
                if self.faults.strikes(Fault::Reshard) {
                    let open = stream.open_shards();
                    let chosen = self.faults.below(open.len());
                    let next = (chosen + 1) % open.len();
                    if self.faults.below(2) == 0 || !stream.merge(open[chosen], open[next]) {
                        stream.split(open[chosen]);
                    }
                }
            }
        }
    }

    /// After all that, a new record goes through in the time that it usually takes.
    async fn takes_a_fresh_record(self: &Rc<Self>) -> bool {
        let line = br#"{"sensor_id":"fresh","timestamp":"2026-11-21T00:00:00Z","temperature":20.5,"humidity":40}"#;
        let row = Row { dataset: "telemetry", line: line.to_vec() };
        let before = self.events.all().len();
        self.lock().unanswered += 1;
        self.clone().send(vec![row], None).await;
        sleep(30 * SECOND).await;
        self.events.all().len() > before && self.is_quiet()
    }

    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, Accepted> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request as a function URL hands it on. Without a key, an item is known by its content.
fn request(items: &[Row], key: Option<usize>) -> String {
    let dataset = items.first().map_or("telemetry", |row| row.dataset);
    let lines: Vec<_> = items.iter().map(|row| row.line.clone()).collect();
    let mut headers = json!({"content-type": "application/x-ndjson"});
    if let Some(key) = key {
        headers["idempotency-key"] = json!(format!("request-{key}"));
    }
    let iam = json!({"userArn": "arn:aws:iam::111122223333:user/fleet"});
    json!({
        "version": "2.0",
        "rawPath": format!("/v1/{dataset}"),
        "headers": headers,
        "requestContext": {"http": {"method": "POST"}, "authorizer": {"iam": iam}},
        "body": base64_simd::STANDARD.encode_to_string(lines.join(&b'\n')),
        "isBase64Encoded": true,
    })
    .to_string()
}

/// What functions are made of.
struct Parts<'a> {
    plan: &'a Plan,
    faults: &'a Faults,
    books: &'a Arc<Mutex<Vec<Value>>>,
    source: Arc<SimBucket>,
    raw: Arc<SimStream>,
    events: Arc<SimStream>,
    quarantine: Arc<SimDelivery>,
    topic: Arc<SimTopic>,
    metrics: Arc<SimMetrics>,
    queue: SimQueue,
}

impl Parts<'_> {
    fn sink<S: Store>(&self, store: &Arc<S>) -> SimSink<S> {
        SimSink::new(store.clone(), self.faults.clone())
    }

    fn producer<S: Store>(&self, store: &Arc<S>) -> Producer<SimSink<S>> {
        Producer::new(self.sink(store)).with_jitter_seed(self.plan.seed)
    }

    fn journal(&self, name: &'static str) -> Journal {
        let books = self.books.clone();
        Journal::new(name, "Tributary/simulated".into()).written_to(move |line| {
            books.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
        })
    }

    fn lambda<F: Future<Output = Answer> + 'static>(
        &self,
        name: &'static str,
        seconds: u64,
        handler: impl Fn(String, Deadline) -> F + 'static,
    ) -> Lambda {
        let lambda = Lambda::new(name, Duration::from_secs(seconds), self.faults.clone(), handler);
        if let Some((_, invocation, awaits)) = self.plan.kill.filter(|kill| kill.0 == name) {
            lambda.kill_at(invocation, awaits);
        }
        lambda
    }

    fn functions(&self) -> Result<Functions, ConfigError> {
        let pipeline = pipeline()?;
        let ingest_s3 = Rc::new(IngestS3 {
            objects: SimObjects::new(self.source.clone(), self.faults.clone()),
            raw: Producer::new(Aggregating::new(self.sink(&self.raw), self.plan.aggregates))
                .with_jitter_seed(self.plan.seed),
            quarantine: self.producer(&self.quarantine),
            queue: self.queue.clone(),
            limits: Limits::default(),
            segment_bytes: self.plan.segment_bytes,
            journal: self.journal("ingest-s3"),
            clock: clock::now,
        });
        let ingest_http = Rc::new(IngestHttp {
            raw: self.producer(&self.raw),
            transformer: Transformer::compile(&pipeline)?,
            journal: self.journal("ingest-http"),
            clock: clock::now,
        });
        let ingest_kafka = Rc::new(IngestKafka {
            raw: self.producer(&self.raw),
            quarantine: self.producer(&self.quarantine),
            topics: Topics::default(),
            journal: self.journal("ingest-kafka"),
            clock: clock::now,
        });
        let transform = Rc::new(Transform {
            events: self.producer(&self.events),
            quarantine: self.producer(&self.quarantine),
            transformer: Transformer::compile(&pipeline)?,
            journal: self.journal("transform"),
            clock: clock::now,
        });
        let metrics = Rc::new(Metrics {
            metrics: self.producer(&self.metrics),
            quarantine: self.producer(&self.quarantine),
            specs: pipeline.metrics,
            journal: self.journal("metrics"),
            clock: clock::now,
        });
        let alerts = Rc::new(Alerts {
            topic: self.producer(&self.topic),
            quarantine: self.producer(&self.quarantine),
            rules: Rules::compile(&AlertsConfig::from_toml(ALERTS)?)?,
            journal: self.journal("alerts"),
            clock: clock::now,
        });
        // The time-outs are those of the template.
        Ok(Functions {
            ingest_s3: self.lambda("ingest-s3", 300, move |payload, deadline| {
                let function = ingest_s3.clone();
                async move {
                    let event = serde_json::from_str(&payload).map_err(|it| it.to_string())?;
                    json_of(function.handle(event, deadline).await)
                }
            }),
            ingest_http: self.lambda("ingest-http", 30, move |payload, deadline| {
                let function = ingest_http.clone();
                async move { json_of(function.handle(&payload, deadline).await) }
            }),
            ingest_kafka: self.lambda("ingest-kafka", 120, move |payload, deadline| {
                let function = ingest_kafka.clone();
                async move { json_of(function.handle(&payload, deadline).await) }
            }),
            transform: self.lambda("transform", 120, move |payload, deadline| {
                let function = transform.clone();
                async move { json_of(function.handle(&payload, deadline).await) }
            }),
            metrics: self.lambda("metrics", 60, move |payload, deadline| {
                let function = metrics.clone();
                async move { json_of(function.handle(&payload, deadline).await) }
            }),
            alerts: self.lambda("alerts", 60, move |payload, deadline| {
                let function = alerts.clone();
                async move { json_of(function.handle(&payload, deadline).await) }
            }),
        })
    }
}
