//! The deployment in memory: the handlers that `main.rs` runs, the services around them, and the
//! mappings between them.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::sleep;
use tributary_aws::parked::{failed_items, remaining};
use tributary_config::Configuration;
use tributary_model::config_error::ConfigError;
use tributary_testkit::lambda::Lambda;
use tributary_testkit::mapping::Reported;
use tributary_testkit::mapping::kafka::KafkaMapping;
use tributary_testkit::mapping::kinesis::{KinesisMapping, Settings};
use tributary_testkit::mapping::sqs::SqsMapping;
use tributary_testkit::service::{
    SimAlertState, SimBucket, SimClaims, SimDelivery, SimMetrics, SimQueue, SimStream, SimTopic,
    SimWindows,
};
use tributary_testkit::{Fault, Faults, clock};

use super::alerts::{self, Invocations};
use super::functions::{Functions, Parts};
use super::input::{Row, is_refused};
use super::plan::Plan;
use super::{takeover, windows};

const MAX_RECORD_BYTES: usize = 1024 * 1024;
const SECOND: Duration = Duration::from_secs(1);

/// Maximum duration of a simulation, on its own clock, until all work is done.
const TIMEOUT: Duration = Duration::from_hours(12);

/// All parts of the deployment.
pub(super) struct World {
    pub plan: Plan,
    pub faults: Faults,
    /// Faults on calls to the alert state, paused later than the others: see [`World::run`].
    pub faults_of_state: Faults,
    /// Bucket of the configurations.
    pub config: Arc<SimBucket>,
    pub source: Arc<SimBucket>,
    pub parked: Arc<SimBucket>,
    pub raw: Arc<SimStream>,
    pub events: Arc<SimStream>,
    pub quarantine: Arc<SimDelivery>,
    pub topic: Arc<SimTopic>,
    pub claims: SimClaims,
    pub alert_state: SimAlertState,
    pub invocations: Invocations,
    pub metrics: Arc<SimMetrics>,
    pub queue: SimQueue,
    pub windows: SimWindows,
    pub functions: Functions,
    pub streams: Vec<Rc<KinesisMapping>>,
    pub messages: Rc<SqsMapping>,
    pub topics: Rc<KafkaMapping>,
    pub log_lines: Arc<Mutex<Vec<Value>>>,
    pub accepted: Mutex<Accepted>,
    /// True once the simulation has ended.
    pub is_over: Cell<bool>,
}

/// Input that was accepted and must not be lost.
#[derive(Default)]
pub(super) struct Accepted {
    /// Rows by record id.
    pub rows: BTreeMap<String, Row>,
    /// Name of the deleted object, by the record id of each of its rows.
    pub deleted: BTreeMap<String, String>,
    /// Foreign records that cannot be decoded, by their bytes.
    pub poison: BTreeSet<Vec<u8>>,
    /// Record ids in the order of their source: an object, a request, a partition of a topic.
    pub sequences: BTreeMap<String, Vec<String>>,
    /// Number of requests without an answer.
    pub unanswered: usize,
}

/// Returns the configuration that is compiled into the functions.
pub(super) fn configuration() -> Result<Configuration, ConfigError> {
    Configuration::shipped()
}

impl World {
    pub(super) fn build(plan: Plan) -> Rc<Self> {
        clock::begin();
        clock::set_skews(plan.skews);
        let faults = Faults::new(plan.seed, plan.rates.clone());
        let faults_of_state = Faults::new(plan.seed, alerts::rates(&plan.rates));
        let log_lines = Arc::new(Mutex::new(Vec::new()));
        let parked = Arc::new(SimBucket::default());
        let lake = Arc::new(SimBucket::default());
        let raw = Arc::new(SimStream::new(plan.shards, MAX_RECORD_BYTES));
        let events = SimStream::new(plan.shards, MAX_RECORD_BYTES);
        let events = Arc::new(if plan.refusals { events.refusing(is_refused) } else { events });
        let quarantine = Arc::new(SimDelivery::new(lake, "quarantine/"));
        let queue = SimQueue::new(faults.clone(), 1_800 * SECOND, 5);
        let config = Arc::new(SimBucket::default());
        if plan.takeover {
            takeover::push(&config, &takeover::without_late_dataset());
        }
        let parts = Rc::new(Parts {
            plan: plan.clone(),
            clock: clock::now,
            faults: faults.clone(),
            log_lines: log_lines.clone(),
            config: config.clone(),
            source: Arc::new(SimBucket::default()),
            raw: raw.clone(),
            events: events.clone(),
            quarantine: quarantine.clone(),
            topic: Arc::default(),
            claims: SimClaims::new(faults.clone()),
            alert_state: SimAlertState::new(faults_of_state.clone()),
            invocations: Invocations::default(),
            metrics: Arc::default(),
            queue: queue.clone(),
            windows: SimWindows::new(faults.clone()),
        });
        let functions = parts.functions();
        let mapping = |uuid, stream: &Arc<SimStream>, lambda: &Lambda| {
            let settings = plan.mapping.clone();
            KinesisMapping::new(uuid, stream.clone(), lambda.clone(), settings, parked.clone())
        };
        // As in the template: readings only, and one concurrent batch for each shard.
        let windows = KinesisMapping::new(
            "windows",
            events.clone(),
            functions.windows.clone(),
            Settings {
                parallelization_factor: 1,
                filter: Some(json!({"kind": ["reading"]})),
                ..plan.mapping.clone()
            },
            parked.clone(),
        );
        let streams = vec![
            mapping("transform", &raw, &functions.transform),
            mapping("metrics", &events, &functions.metrics),
            mapping("alerts", &events, &functions.alerts),
            windows,
        ];
        let messages = SqsMapping::new(queue.clone(), functions.ingest_s3.clone(), 1);
        let batch_size = plan.mapping.batch_size;
        let topics = KafkaMapping::new(functions.ingest_kafka.clone(), batch_size);
        let Parts { source, topic, metrics, claims, alert_state, invocations, windows, .. } =
            Parts::clone(&parts);
        Rc::new(Self {
            faults,
            faults_of_state,
            config,
            source,
            parked,
            raw,
            events,
            quarantine,
            topic,
            claims,
            alert_state,
            invocations,
            metrics,
            queue,
            windows,
            functions,
            streams,
            messages,
            topics,
            log_lines,
            accepted: Mutex::default(),
            is_over: Cell::new(false),
            plan,
        })
    }

    /// Runs the simulation: input with faults, then no faults, then a redrive of what was parked.
    ///
    /// # Errors
    ///
    /// Says what did not come to an end.
    pub(super) async fn run(self: &Rc<Self>) -> Result<(), &'static str> {
        for mapping in &self.streams {
            spawn_local(mapping.clone().run());
        }
        self.messages.run(2);
        spawn_local(self.topics.clone().run());
        spawn_local(self.clone().reshard());
        for function in [&self.functions.windows, &self.functions.alerts] {
            spawn_local(self.clone().call_each_minute(function.clone()));
        }
        self.clone().feed().await;
        // Faults continue for 2 minutes after the last input.
        sleep(120 * SECOND).await;
        self.faults.pause();
        // Windows are emitted after that. Faults on the alert state continue, so that marks of
        // windows are lost while the rest of their batches succeeds.
        let faults_of_state = self.faults_of_state.clone();
        spawn_local(async move {
            sleep(300 * SECOND).await;
            faults_of_state.pause();
        });
        let ended = self.probe().await;
        self.streams.iter().for_each(|mapping| mapping.stop());
        self.is_over.set(true);
        self.messages.stop();
        self.topics.stop();
        ended
    }

    /// Waits until all work is done, and then checks that more of it is done in time.
    async fn probe(self: &Rc<Self>) -> Result<(), &'static str> {
        if !self.settle().await {
            return Err("did not come to an end");
        }
        // Hundreds of simulations kill at one await, which is over by now.
        if self.plan.kill.is_none() {
            if !self.passes_a_stuck_device().await {
                return Err("a stuck device stalls windows");
            }
            if !self.settle().await {
                return Err("windows after those of a stuck device did not come to an end");
            }
        }
        let is_fresh = self.takes_a_fresh_record().await;
        is_fresh.then_some(()).ok_or("does not process a new record")
    }

    /// Waits until all work is done, and redrives what was parked; returns false on timeout.
    async fn settle(&self) -> bool {
        let until = clock::elapsed() + TIMEOUT;
        while clock::elapsed() < until {
            sleep(5 * SECOND).await;
            if !self.is_quiet() {
                continue;
            }
            // A delayed batch arrives within 2 minutes.
            sleep(150 * SECOND).await;
            if self.is_quiet() && !self.redrive_parked().await {
                return true;
            }
        }
        false
    }

    /// Returns the mapping that reads the events for windows.
    pub(super) fn reader_of_windows(&self) -> &KinesisMapping {
        &self.streams[self.streams.len() - 1]
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.lock().unanswered == 0
            && self.messages.is_drained()
            && self.topics.is_drained()
            && self.streams.iter().all(|mapping| mapping.is_drained())
            && windows::are_emitted(&self.windows)
            && alerts::no_data_alerts_are_sent(&self.alert_state)
    }

    /// Invokes a function once a minute, whether the last call succeeded or not.
    async fn call_each_minute(self: Rc<Self>, function: Lambda) {
        let scheduled = json!({"source": "aws.events", "detail-type": "Scheduled Event"});
        while !self.is_over.get() {
            sleep(60 * SECOND).await;
            let _ = function.invoke(scheduled.to_string()).await;
        }
    }

    /// Redrives as an operator does: repeats parked invocations and moves dead letters back to
    /// their queue. Returns true if there were any.
    async fn redrive_parked(&self) -> bool {
        let mut any = false;
        for (key, object) in self.parked.list("aws/lambda/") {
            any = true;
            let parked: Value = serde_json::from_slice(&object).unwrap_or_default();
            let mut payload = parked["payload"].as_str().map(str::to_owned);
            let uuid = key.split('/').nth(2).unwrap_or_default();
            let Some(function) = self.functions.all().into_iter().find(|it| it.name == uuid) else {
                continue;
            };
            while let Some(next) = payload {
                let answer = function.invoke(next.clone()).await.unwrap_or_else(|_| "-".to_owned());
                if Reported::by(&answer) == Reported::Nothing {
                    self.parked.delete(&key, 0);
                }
                payload = failed_items(&answer).ok().and_then(|failed| remaining(&next, &failed));
            }
        }
        for message in self.queue.take_dead_letters() {
            any = true;
            self.queue.push(message.body, Duration::ZERO);
        }
        any
    }

    /// Splits and merges shards from time to time.
    async fn reshard(self: Rc<Self>) {
        while !self.faults.is_paused() {
            sleep(SECOND).await;
            for stream in [&self.raw, &self.events] {
                if self.faults.occurs(Fault::Reshard) {
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

    pub(super) fn lock(&self) -> MutexGuard<'_, Accepted> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
