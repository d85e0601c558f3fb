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
use jiff::SignedDuration;
use serde::Serialize;
use serde_json::Value;
use tributary_aws::aggregating::Aggregating;
use tributary_aws::claims::RetryingClaims;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::log::MetricsLog;
use tributary_aws::producer::Producer;
use tributary_aws::retry::Retry;
use tributary_aws::sns;
use tributary_aws::takeover::KnownDatasets;
use tributary_aws::windows::OPERATION;
use tributary_model::config_error::ConfigError;
use tributary_rows::Limits;
use tributary_testkit::lambda::{Answer, Lambda};
use tributary_testkit::service::{
    SimAlertState, SimBucket, SimClaims, SimDelivery, SimMetrics, SimObjects, SimQueue, SimShards,
    SimSink, SimStream, SimTopic, SimWindows, Store,
};
use tributary_testkit::{Faults, clock};

use super::alerts::{Invocations, rules};
use super::plan::Plan;
use super::windows::specs;
use super::world::configuration;

type WindowsInMemory = Windows<SimWindows, SimShards, SimSink<SimStream>, SimSink<SimDelivery>>;

type AlertsInMemory = Alerts<SimClaims, SimAlertState, SimSink<SimTopic>, SimSink<SimDelivery>>;

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
pub(super) struct Parts<'a> {
    pub plan: &'a Plan,
    pub faults: &'a Faults,
    pub log_lines: &'a Arc<Mutex<Vec<Value>>>,
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

impl Parts<'_> {
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
            Some(timeout) => timeout,
            None => template,
        };
        let lambda = Lambda::new(name, timeout, self.faults.clone(), handler);
        if let Some((_, invocation, awaits)) = self.plan.kill.filter(|kill| kill.0 == name) {
            lambda.kill_at(invocation, awaits);
        }
        lambda
    }

    fn alerts(&self) -> Result<AlertsInMemory, ConfigError> {
        let mut state = RuleState::new(self.alert_state.clone(), &specs()?);
        state.retry = state.retry.with_jitter_seed(self.plan.seed);
        Ok(Alerts {
            claims: RetryingClaims::new(self.claims.clone()).with_jitter_seed(self.plan.seed),
            topic: self.producer(&self.topic),
            quarantine: self.producer(&self.quarantine),
            rules: rules()?.with_max_message_bytes(sns::MAX_MESSAGE_BYTES),
            routes: BTreeMap::new(),
            state,
            retention: SignedDuration::from_hours(31 * 24),
            known: KnownDatasets::default(),
            metrics_log: self.metrics_log("alerts"),
            clock: clock::now,
        })
    }

    fn windows(&self) -> Result<WindowsInMemory, ConfigError> {
        Ok(Windows {
            store: self.windows.clone(),
            shards: SimShards::new(self.events.clone(), self.faults.clone()),
            events: self.producer(&self.events),
            quarantine: self.producer(&self.quarantine),
            specs: specs()?,
            known: KnownDatasets::default(),
            metrics_log: self.metrics_log("windows"),
            clock: clock::now,
            retry: Retry::new(OPERATION).with_jitter_seed(self.plan.seed),
        })
    }

    pub(super) fn functions(&self) -> Result<Functions, ConfigError> {
        let configuration = configuration()?;
        let ingest_s3 = Rc::new(IngestS3 {
            objects: SimObjects::new(self.source.clone(), self.faults.clone()),
            raw: Producer::new(Aggregating::new(self.sink(&self.raw), self.plan.aggregates))
                .with_jitter_seed(self.plan.seed)
                .with_order(self.plan.order),
            quarantine: self.producer(&self.quarantine),
            queue: self.queue.clone(),
            datasets: configuration.datasets.clone(),
            limits: Limits::default(),
            segment_bytes: self.plan.segment_bytes,
            known: KnownDatasets::default(),
            metrics_log: self.metrics_log("ingest-s3"),
            clock: clock::now,
        });
        let ingest_http = Rc::new(IngestHttp {
            raw: self.producer(&self.raw),
            transformer: configuration.transformer()?,
            known: KnownDatasets::default(),
            metrics_log: self.metrics_log("ingest-http"),
            clock: clock::now,
        });
        let ingest_kafka = Rc::new(IngestKafka {
            raw: self.producer(&self.raw),
            quarantine: self.producer(&self.quarantine),
            datasets: configuration.datasets.clone(),
            topics: Topics::default(),
            metrics_log: self.metrics_log("ingest-kafka"),
            clock: clock::now,
        });
        let transform = Rc::new(Transform {
            events: self.producer(&self.events),
            quarantine: self.producer(&self.quarantine),
            transformer: configuration.transformer()?,
            known: KnownDatasets::default(),
            metrics_log: self.metrics_log("transform"),
            clock: clock::now,
        });
        let metrics = Rc::new(Metrics {
            metrics: self.producer(&self.metrics),
            quarantine: self.producer(&self.quarantine),
            specs: configuration.metrics()?,
            known: KnownDatasets::default(),
            metrics_log: self.metrics_log("metrics"),
            clock: clock::now,
        });
        let invocations = self.invocations.clone();
        let alerts = Rc::new(self.alerts()?);
        let windows = Rc::new(self.windows()?);
        // The timeouts are those of the template.
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
                let (function, invocations) = (alerts.clone(), invocations.clone());
                async move {
                    let owner = invocations.begin();
                    let answer = json_of(function.handle(&payload, &owner, deadline).await);
                    invocations.end(owner);
                    answer
                }
            }),
            windows: self.lambda("windows", 60, move |payload, deadline| {
                let function = windows.clone();
                async move { json_of(function.handle(&payload, deadline).await) }
            }),
        })
    }
}
