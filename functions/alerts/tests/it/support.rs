//! Function under test with an in-memory table, store and topic, and its payloads.

use std::collections::BTreeMap;

use fn_alerts::handler::Alerts;
use fn_alerts::rule_state::RuleState;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tributary_aws::claims::RetryingClaims;
use tributary_aws::firehose;
use tributary_aws::log::MetricsLog;
use tributary_aws::producer::Producer;
use tributary_aws::sns::{self, Notification};
use tributary_aws::takeover::KnownDatasets;
use tributary_config::{ALERTS, AlertsConfig, Configuration};
use tributary_testkit::service::{SimAlertState, SimClaims};
use tributary_testkit::{MemorySink, clock};

pub(crate) type Function =
    Alerts<SimClaims, SimAlertState, MemorySink<Notification>, MemorySink<Vec<u8>>>;

/// Returns the function with the rules of the TOML text `rule`.
pub(crate) fn function_of(rule: &str, claims: SimClaims, store: SimAlertState) -> Function {
    let size = |entry: &Notification| entry.message.len();
    Alerts {
        claims: RetryingClaims::new(claims).with_jitter_seed(1),
        topic: Producer::new(MemorySink::new(sns::LIMITS, size)),
        quarantine: Producer::new(MemorySink::new(firehose::LIMITS, Vec::len)),
        rules: Configuration::shipped()
            .unwrap()
            .rules_of(&AlertsConfig::from_toml(rule).unwrap())
            .unwrap()
            .with_max_message_bytes(sns::MAX_MESSAGE_BYTES),
        routes: BTreeMap::new(),
        state: RuleState::new(store, &[]),
        retention: SignedDuration::from_hours(24),
        known: KnownDatasets::default(),
        metrics_log: MetricsLog::new("alerts", "Tributary/test".into()),
        clock: clock::now,
    }
}

/// Returns the shipped rules, with a digest limit that the batches of these tests never reach.
pub(crate) fn roomy() -> String {
    ALERTS.replace("cooldown = \"0s\"", "cooldown = \"0s\"\ndigest = 50")
}

/// Returns the payload `name` from `events/alerts`.
pub(crate) fn case(name: &str) -> String {
    let path = format!("{}/../../events/alerts/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// Returns a batch of these events.
pub(crate) fn batch_of(events: impl IntoIterator<Item = Value>) -> String {
    let template = include_str!("../../../../events/alerts/severe-accident.json");
    let template: Value = serde_json::from_str(template).unwrap();
    let records = events.into_iter().enumerate().map(|(number, event)| {
        let mut record = template["Records"][0].clone();
        let data = base64_simd::STANDARD.encode_to_string(event.to_string());
        record["kinesis"]["data"] = json!(data);
        record["kinesis"]["sequenceNumber"] = json!(format!("{number:056}"));
        record
    });
    json!({"Records": records.collect::<Vec<_>>()}).to_string()
}

pub(crate) fn sequence_number(payload: &str, position: usize) -> String {
    let payload: Value = serde_json::from_str(payload).unwrap();
    payload["Records"][position]["kinesis"]["sequenceNumber"].as_str().unwrap().to_owned()
}
