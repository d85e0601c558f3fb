//! Batches of `alerts` with an in-memory topic: published messages and reported failures.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fn_alerts::handler::Alerts;
use fn_alerts::rule_state::RuleState;
use jiff::SignedDuration;
use serde_json::Value;
use tributary_aws::claims::RetryingClaims;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::firehose;
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::BatchResponse;
use tributary_aws::producer::Producer;
use tributary_aws::sns::{self, Notification};
use tributary_aws::takeover::KnownDatasets;
use tributary_config::{AlertsConfig, Configuration};
use tributary_rules::Severity;
use tributary_testkit::service::{SimAlertState, SimClaims};
use tributary_testkit::{Answer, Faults, MemorySink, aggregated, clock};

use crate::support::{case, roomy, sequence_number};

type Topic = MemorySink<Notification>;
type Quarantine = MemorySink<Vec<u8>>;

fn alerts(
    script: impl IntoIterator<Item = Answer>,
) -> Alerts<SimClaims, SimAlertState, Topic, Quarantine> {
    let size = |entry: &Notification| entry.message.len();
    Alerts {
        claims: RetryingClaims::new(SimClaims::new(Faults::none(1))),
        topic: Producer::new(MemorySink::scripted(sns::LIMITS, size, script)),
        quarantine: Producer::new(MemorySink::new(firehose::LIMITS, Vec::len)),
        rules: Configuration::shipped()
            .unwrap()
            .rules_of(&AlertsConfig::from_toml(&roomy()).unwrap())
            .unwrap()
            .with_max_message_bytes(sns::MAX_MESSAGE_BYTES),
        routes: BTreeMap::new(),
        state: RuleState::new(SimAlertState::new(Faults::none(1)), &[]),
        retention: SignedDuration::from_hours(24),
        known: KnownDatasets::default(),
        metrics_log: MetricsLog::new("alerts", "Tributary/test".into()),
        clock: clock::now,
    }
}

async fn handle(
    alerts: &Alerts<SimClaims, SimAlertState, Topic, Quarantine>,
    payload: &str,
) -> BatchResponse {
    alerts.handle(payload, "one", Deadline::after(Duration::from_secs(5))).await.unwrap()
}

fn alert_ids(notifications: &[Notification]) -> BTreeSet<String> {
    let id = |n: &Notification| {
        let message: Value = serde_json::from_str(&n.message).unwrap();
        message["alert_id"].as_str().unwrap().to_owned()
    };
    notifications.iter().map(id).collect()
}

#[tokio::test(start_paused = true)]
async fn severe_accident_is_published_with_filter_attributes() {
    let alerts = alerts([]);

    assert_eq!(handle(&alerts, &case("severe-accident")).await, BatchResponse::default());

    let published = alerts.topic.target().stored();
    assert_eq!(published.len(), 1);
    let attributes = &published[0].attributes;
    let expected = [
        ("severity", "critical"),
        ("dataset", "accidents"),
        ("rule", "severe-accident"),
        ("form", "alert"),
    ];
    assert_eq!(*attributes, expected.map(|(name, value)| (name, value.to_owned())));
    let message: Value = serde_json::from_str(&published[0].message).unwrap();
    assert_eq!(message["event"]["measures"]["severity"], 4.0);
    assert!(published[0].subject.is_ascii() && published[0].subject.len() <= 100);
}

#[tokio::test(start_paused = true)]
async fn event_without_matching_rule_is_not_published() {
    let alerts = alerts([]);

    assert_eq!(handle(&alerts, &case("no-match")).await, BatchResponse::default());

    assert!(alerts.topic.target().calls().is_empty());
    assert_eq!(alerts.claims.target().calls(), 0, "no alert should make no call");
}

#[tokio::test(start_paused = true)]
async fn unsent_alert_holds_checkpoint_at_its_aggregate() {
    let payload = aggregated(&case("twelve-severe"), 5).unwrap();
    let alerts = alerts([Answer::Fail(vec![7]), Answer::Throttle]);

    let response = handle(&alerts, &payload).await;

    assert_eq!(response, BatchResponse::failed([sequence_number(&payload, 1)]));
    assert_eq!(
        alert_ids(&alerts.topic.target().stored()).len(),
        9,
        "the first call accepts nine alerts"
    );
}

#[tokio::test(start_paused = true)]
async fn alerts_over_batch_limit_take_several_calls() {
    let alerts = alerts([]);

    assert_eq!(handle(&alerts, &case("twelve-severe")).await, BatchResponse::default());

    assert_eq!(alerts.topic.target().calls(), [10, 2]);
    assert_eq!(alert_ids(&alerts.topic.target().stored()).len(), 12);
}

#[tokio::test(start_paused = true)]
async fn only_failed_entries_are_retried() {
    let alerts = alerts([Answer::Fail(vec![2, 5]), Answer::Take]);

    assert_eq!(handle(&alerts, &case("twelve-severe")).await, BatchResponse::default());

    assert_eq!(alerts.topic.target().calls(), [10, 2, 2]);
    assert_eq!(alerts.topic.target().stored().len(), 12);
}

#[tokio::test(start_paused = true)]
async fn refused_alert_is_quarantined_and_others_sent() {
    let payload = case("twelve-severe");
    let alerts = alerts([Answer::Reject(vec![3]), Answer::Take]);

    let response = handle(&alerts, &payload).await;

    assert_eq!(response, BatchResponse::default());
    assert_eq!(alert_ids(&alerts.topic.target().stored()).len(), 11);
    let bad_rows = alerts.quarantine.target().stored();
    let row: Value = serde_json::from_slice(&bad_rows[0]).unwrap();
    assert_eq!((bad_rows.len(), &row["code"]), (1, &"refused".into()));
    assert_eq!(row["sequence_number"], sequence_number(&payload, 3));
}

#[tokio::test(start_paused = true)]
async fn non_event_is_quarantined_and_others_published() {
    let alerts = alerts([]);

    assert_eq!(handle(&alerts, &case("broken-base64")).await, BatchResponse::default());

    let bad_rows = alerts.quarantine.target().stored();
    assert_eq!(bad_rows.len(), 1);
    assert!(!alerts.topic.target().stored().is_empty());
}

#[tokio::test(start_paused = true)]
async fn severity_topic_receives_alerts_and_reports_failures() {
    let one = MemorySink::scripted(
        sns::LIMITS,
        |entry: &Notification| entry.message.len(),
        [Answer::Fail(vec![3]), Answer::Throttle],
    );
    let mut alerts = alerts([]);
    alerts.routes.insert(Severity::Critical, Producer::new(one));
    let payload = case("twelve-severe");

    let response = handle(&alerts, &payload).await;

    assert!(alerts.topic.target().calls().is_empty());
    let critical = &alerts.routes[&Severity::Critical];
    assert_eq!(alert_ids(&critical.target().restart([])).len(), 9);
    assert_eq!(response, BatchResponse::failed([sequence_number(&payload, 3)]));
    assert_eq!(handle(&alerts, &payload).await, BatchResponse::default());
    assert_eq!(alert_ids(&alerts.routes[&Severity::Critical].target().stored()).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn severity_without_own_topic_uses_default_topic() {
    let mut alerts = alerts([]);
    let size = |entry: &Notification| entry.message.len();
    let other = Producer::new(MemorySink::scripted(sns::LIMITS, size, []));
    alerts.routes.insert(Severity::Warning, other);

    assert_eq!(handle(&alerts, &case("severe-accident")).await, BatchResponse::default());

    assert_eq!(alerts.topic.target().stored().len(), 1);
    assert!(alerts.routes[&Severity::Warning].target().calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn unknown_dataset_waits_for_later_configuration() {
    let mut alerts = alerts([]);
    alerts.known = KnownDatasets::new(BTreeSet::new(), Arc::default());

    let deadline = Deadline::after(Duration::from_secs(5));
    let error = alerts.handle(&case("severe-accident"), "me", deadline).await.unwrap_err();
    assert!(matches!(error, InvocationError::Stale(_)), "{error}");
    assert!(alerts.topic.target().calls().is_empty());
}
