//! Functions of the deployment: the handlers that `main.rs` runs, over services in memory.

use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fn_alerts::handler::Alerts;
use fn_alerts::rule_state::RuleState;
use fn_ingest_http::handler::IngestHttp;
use fn_ingest_kafka::config::Topics;
use fn_ingest_kafka::handler::IngestKafka;
use fn_ingest_s3::handler::IngestS3;
use fn_metrics::handler::Metrics;
use fn_transform::handler::Transform;
use fn_windows::handler::Windows;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;
use tributary_aws::aggregating::Aggregating;
use tributary_aws::cardinality::Cardinality;
use tributary_aws::claims::RetryingClaims;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::lambda::Invocation;
use tributary_aws::log::MetricsLog;
use tributary_aws::producer::Producer;
use tributary_aws::retry::Retry;
use tributary_aws::sns;
use tributary_aws::takeover::{ConfigSource, InUse, Reloading};
use tributary_aws::windows::OPERATION;
use tributary_model::config_error::ConfigError;
use tributary_pipeline::sender::Senders;
use tributary_rows::Limits;
use tributary_testkit::lambda::{Answer, Lambda};
use tributary_testkit::service::{
    SimAlertState, SimBucket, SimCardinality, SimClaims, SimDelivery, SimMetrics, SimObjects,
    SimQueue, SimShards, SimSink, SimStream, SimTopic, SimWindows, Store,
};
use tributary_testkit::{Faults, clock};

use super::alerts::{Invocations, rules};
use super::feed::senders;
use super::metrics;
use super::plan::Plan;
use super::windows::specs;

type BadRows = SimSink<SimDelivery>;

type IngestS3InMemory = IngestS3<SimObjects, Aggregating<SimSink<SimStream>>, BadRows, SimQueue>;

type IngestKafkaInMemory = IngestKafka<SimSink<SimStream>, BadRows>;

type TransformInMemory = Transform<SimSink<SimStream>, BadRows>;

type MetricsInMemory = Metrics<SimSink<SimMetrics>, BadRows, SimCardinality>;

type WindowsInMemory = Windows<SimWindows, SimShards, SimSink<SimStream>, BadRows>;

type AlertsInMemory = Alerts<SimClaims, SimAlertState, SimSink<SimTopic>, BadRows>;

pub(super) struct Functions {
    pub ingest_s3: Lambda,
    pub ingest_http: Lambda,
    pub ingest_kafka: Lambda,
    pub transform: Lambda,
    pub metrics: Lambda,
    pub alerts: Lambda,
    pub windows: Lambda,
}

impl Functions {
    pub(super) fn all(&self) -> [&Lambda; 7] {
        let Self { ingest_s3, ingest_http, ingest_kafka, transform, metrics, alerts, windows } =
            self;
        [ingest_s3, ingest_http, ingest_kafka, transform, metrics, alerts, windows]
    }
}

/// Returns an answer as Lambda's runtime does.
fn json_of<T: Serialize>(answer: Result<T, InvocationError>) -> Answer {
    let answer = answer.map_err(|error| error.to_string())?;
    serde_json::to_string(&answer).map_err(|error| error.to_string())
}

/// Services and settings that the functions are built from.
#[derive(Clone)]
pub(super) struct Parts {
    pub plan: Plan,
    /// Clock of the process.
    pub clock: fn() -> Timestamp,
    pub faults: Faults,
    pub log_lines: Arc<Mutex<Vec<Value>>>,
    pub config: Arc<SimBucket>,
    pub source: Arc<SimBucket>,
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
}

impl Parts {
    fn sink<S: Store>(&self, store: &Arc<S>) -> SimSink<S> {
        SimSink::new(store.clone(), self.faults.clone())
    }

    fn producer<S: Store>(&self, store: &Arc<S>) -> Producer<SimSink<S>> {
        let producer = Producer::new(self.sink(store)).with_jitter_seed(self.plan.seed);
        producer.with_order(self.plan.order)
    }

    fn metrics_log(&self, name: &'static str) -> MetricsLog {
        let log_lines = self.log_lines.clone();
        MetricsLog::new(name, "Tributary/simulated".into()).with_writer(move |line| {
            log_lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
        })
    }

    fn lambda<F: Future<Output = Answer> + 'static>(
        &self,
        name: &'static str,
        seconds: u64,
        handler: impl Fn(String, Deadline) -> F + 'static,
    ) -> Lambda {
        let template = Duration::from_secs(seconds);
        let timeout = match self.plan.timeout {
            // With less time it would only enqueue the rest of each object.
            Some(timeout) if name == "ingest-s3" => timeout.max(Duration::from_secs(20)),
            // It closes the windows of each dataset in a part of its time.
            Some(timeout) if name == "windows" => timeout.max(Duration::from_secs(5)),
            // An aggregate is one record, so what is refused of it is isolated in one invocation.
            Some(timeout) if name == "transform" && self.plan.aggregates => {
                timeout.max(Duration::from_secs(10))
            }
            Some(timeout) => timeout,
            None => template,
        };
        let lambda = Lambda::new(name, timeout, self.faults.clone(), handler)
            .with_max_concurrency(self.plan.max_concurrency);
        if let Some((_, invocation, awaits)) = self.plan.kill.filter(|kill| kill.0 == name) {
            lambda.kill_at(invocation, awaits);
        }
        lambda
    }

    /// Returns a function of several processes, each with a state and a clock of its own, that are
    /// built of the configuration in use and called as `main` does.
    fn serve<F: 'static, A: Serialize + 'static>(
        self: &Rc<Self>,
        name: &'static str,
        seconds: u64,
        build: impl Fn(&Self, &InUse) -> Result<F, ConfigError> + 'static,
        handler: impl AsyncFn(&F, &str, Invocation) -> Result<A, InvocationError> + 'static,
    ) -> Lambda {
        let build = Rc::new(build);
        let process = |clock: fn() -> Timestamp| {
            let (parts, build) = (Self { clock, ..Self::clone(self) }, build.clone());
            let bucket = if self.plan.takeover { "config" } else { "" };
            let refresh = SignedDuration::from_mins(1);
            let source = ConfigSource { bucket: bucket.into(), refresh };
            let store = SimObjects::new(self.config.clone(), self.faults.clone());
            let log = self.metrics_log(name);
            Reloading::new(source, store, log, clock, move |in_use: &InUse| build(&parts, in_use))
        };
        let function = Rc::new((clock::OF_PROCESS.map(process), handler));
        let (invocations, faults) = (self.invocations.clone(), self.faults.clone());
        let processes = self.plan.processes;
        self.lambda(name, seconds, move |payload, deadline| {
            let (function, invocations) = (Rc::clone(&function), invocations.clone());
            let process = faults.below(processes);
            async move {
                let number = invocations.begin();
                let invocation = Invocation { request_id: Invocations::id_of(number), deadline };
                let (processes, handler) = &*function;
                let answer = processes[process].answer(&payload, invocation, handler).await;
                let answer = json_of(answer);
                invocations.end(number);
                answer
            }
        })
    }

    fn ingest_s3(&self, in_use: &InUse) -> IngestS3InMemory {
        IngestS3 {
            objects: SimObjects::new(self.source.clone(), self.faults.clone()),
            raw: Producer::new(Aggregating::new(self.sink(&self.raw), self.plan.aggregates))
                .with_jitter_seed(self.plan.seed)
                .with_order(self.plan.order),
            quarantine: self.producer(&self.quarantine),
            queue: self.queue.clone(),
            datasets: in_use.configuration.datasets.clone(),
            limits: Limits::default(),
            segment_bytes: self.plan.segment_bytes,
            known: in_use.known.clone(),
            metrics_log: self.metrics_log("ingest-s3"),
            clock: self.clock,
        }
    }

    fn ingest_http(&self, in_use: &InUse) -> Result<IngestHttp<SimSink<SimStream>>, ConfigError> {
        Ok(IngestHttp {
            raw: self.producer(&self.raw),
            transformer: in_use.configuration.transformer()?,
            senders: if self.plan.strangers { senders()? } else { Senders::default() },
            known: in_use.known.clone(),
            metrics_log: self.metrics_log("ingest-http"),
            clock: self.clock,
        })
    }

    fn ingest_kafka(&self, in_use: &InUse) -> IngestKafkaInMemory {
        IngestKafka {
            raw: self.producer(&self.raw),
            quarantine: self.producer(&self.quarantine),
            datasets: in_use.configuration.datasets.clone(),
            known: in_use.known.clone(),
            topics: Topics::default(),
            metrics_log: self.metrics_log("ingest-kafka"),
            clock: self.clock,
        }
    }

    fn transform(&self, in_use: &InUse) -> Result<TransformInMemory, ConfigError> {
        Ok(Transform {
            events: self.producer(&self.events),
            quarantine: self.producer(&self.quarantine),
            transformer: in_use.configuration.transformer()?,
            known: in_use.known.clone(),
            metrics_log: self.metrics_log("transform"),
            clock: self.clock,
        })
    }

    fn cardinality(&self) -> Cardinality {
        let mut cardinality = Cardinality::default();
        cardinality.retry = cardinality.retry.with_jitter_seed(self.plan.seed);
        cardinality
    }

    fn metrics(&self, in_use: &InUse) -> Result<MetricsInMemory, ConfigError> {
        Ok(Metrics {
            metrics: self.producer(&self.metrics),
            quarantine: self.producer(&self.quarantine),
            store: self.alert_state.cardinality(),
            cardinality: self.cardinality(),
            specs: metrics::specs(&in_use.configuration)?,
            known: in_use.known.clone(),
            metrics_log: self.metrics_log("metrics"),
            clock: self.clock,
        })
    }

    fn alerts(&self, in_use: &InUse) -> Result<AlertsInMemory, ConfigError> {
        let mut state = RuleState::new(self.alert_state.clone(), &specs()?);
        state.retry = state.retry.with_jitter_seed(self.plan.seed);
        state.cardinality = self.cardinality();
        Ok(Alerts {
            claims: RetryingClaims::new(self.claims.clone()).with_jitter_seed(self.plan.seed),
            topic: self.producer(&self.topic),
            quarantine: self.producer(&self.quarantine),
            rules: rules()?.with_max_message_bytes(sns::MAX_MESSAGE_BYTES),
            routes: BTreeMap::new(),
            state,
            retention: SignedDuration::from_hours(31 * 24),
            known: in_use.known.clone(),
            metrics_log: self.metrics_log("alerts"),
            clock: self.clock,
        })
    }

    fn windows(&self, in_use: &InUse) -> Result<WindowsInMemory, ConfigError> {
        Ok(Windows {
            store: self.windows.clone(),
            shards: SimShards::new(self.events.clone(), self.faults.clone()),
            events: self.producer(&self.events),
            quarantine: self.producer(&self.quarantine),
            specs: specs()?,
            known: in_use.known.clone(),
            metrics_log: self.metrics_log("windows"),
            clock: self.clock,
            retry: Retry::new(OPERATION).with_jitter_seed(self.plan.seed),
        })
    }

    /// Returns the functions. The timeouts are those of the template.
    pub(super) fn functions(self: &Rc<Self>) -> Functions {
        Functions {
            ingest_s3: self.serve(
                "ingest-s3",
                300,
                |parts, in_use| Ok(parts.ingest_s3(in_use)),
                async |it: &IngestS3InMemory, payload: &str, invocation: Invocation| {
                    it.handle(serde_json::from_str(payload)?, invocation.deadline).await
                },
            ),
            ingest_http: self.serve(
                "ingest-http",
                30,
                Self::ingest_http,
                async |it: &IngestHttp<_>, payload: &str, invocation: Invocation| {
                    it.handle(payload, invocation.deadline).await
                },
            ),
            ingest_kafka: self.serve(
                "ingest-kafka",
                120,
                |parts, in_use| Ok(parts.ingest_kafka(in_use)),
                async |it: &IngestKafkaInMemory, payload: &str, invocation: Invocation| {
                    it.handle(payload, invocation.deadline).await
                },
            ),
            transform: self.serve(
                "transform",
                120,
                Self::transform,
                async |it: &TransformInMemory, payload: &str, invocation: Invocation| {
                    it.handle(payload, invocation.deadline).await
                },
            ),
            metrics: self.serve(
                "metrics",
                60,
                Self::metrics,
                async |it: &MetricsInMemory, payload: &str, invocation: Invocation| {
                    it.handle(payload, invocation.deadline).await
                },
            ),
            alerts: self.serve(
                "alerts",
                60,
                Self::alerts,
                async |it: &AlertsInMemory, payload: &str, invocation: Invocation| {
                    it.handle(payload, &invocation.request_id, invocation.deadline).await
                },
            ),
            windows: self.serve(
                "windows",
                60,
                Self::windows,
                async |it: &WindowsInMemory, payload: &str, invocation: Invocation| {
                    it.handle(payload, invocation.deadline).await
                },
            ),
        }
    }
}
