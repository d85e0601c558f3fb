//! Alert storms: more alerts of one rule in a batch than its `digest` limit of messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fn_alerts::handler::Alerts;
use fn_alerts::rule_state::RuleState;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tributary_aws::claims::RetryingClaims;
use tributary_aws::deadline::Deadline;
use tributary_aws::firehose;
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::BatchResponse;
use tributary_aws::producer::Producer;
use tributary_aws::sns::{self, Notification};
use tributary_aws::takeover::KnownDatasets;
use tributary_config::{AlertsConfig, Configuration};
use tributary_rules::alert::AlertCounts;
use tributary_testkit::service::{SimAlertState, SimClaims};
use tributary_testkit::{Answer, Faults, MemorySink, aggregated, clock};

use crate::support::Function;

/// Function with one rule, and the lines of its metrics log.
struct World {
    function: Function,
    lines: Arc<Mutex<Vec<Value>>>,
}

impl World {
    fn new(digest: &str, key: &str, script: impl IntoIterator<Item = Answer>) -> Self {
        clock::begin();
        Self::at(SimClaims::new(Faults::none(1)), digest, key, script)
    }

    fn at(
        table: SimClaims,
        digest: &str,
        key: &str,
        script: impl IntoIterator<Item = Answer>,
    ) -> Self {
        let rule = format!(
            "[[rules]]\nid = \"storm\"\ndataset = \"accidents\"\nseverity = \"critical\"\nwhen = \"true\"\n\
             title = \"{{entity}}\"\nkey = \"{key}\"\ncooldown = \"0s\"\n{digest}"
        );
        let size = |entry: &Notification| entry.message.len();
        let lines: Arc<Mutex<Vec<Value>>> = Arc::default();
        let written = lines.clone();
        let metrics_log = MetricsLog::new("alerts", "Tributary/test".into());
        let function = Alerts {
            claims: RetryingClaims::new(table).with_jitter_seed(1),
            topic: Producer::new(MemorySink::scripted(sns::LIMITS, size, script)),
            quarantine: Producer::new(MemorySink::new(firehose::LIMITS, Vec::len)),
            rules: Configuration::shipped()
                .unwrap()
                .rules_of(&AlertsConfig::from_toml(&rule).unwrap())
                .unwrap()
                .with_max_message_bytes(sns::MAX_MESSAGE_BYTES),
            routes: BTreeMap::new(),
            state: RuleState::new(SimAlertState::new(Faults::none(1)), &[]),
            retention: SignedDuration::from_hours(24),
            known: KnownDatasets::default(),
            metrics_log: metrics_log
                .with_writer(move |line| written.lock().unwrap().push(line.clone())),
            clock: clock::now,
        };
        Self { function, lines }
    }

    async fn handle(&self, payload: &str, owner: &str) -> BatchResponse {
        let minute = Deadline::after(Duration::from_secs(58));
        self.function.handle(payload, owner, minute).await.unwrap()
    }

    fn messages(&self) -> Vec<Notification> {
        self.function.topic.target().stored()
    }

    /// Returns the ids of sent alerts, once per message that contains them.
    fn sent_ids(&self) -> Vec<String> {
        self.messages().iter().flat_map(|message| ids_in(&message.message)).collect()
    }

    /// Returns the alert counts of the last batch, and asserts that they reconcile.
    fn counts(&self) -> AlertCounts {
        let lines = self.lines.lock().unwrap();
        let line = lines.iter().rfind(|line| line["message"] == "alerts").unwrap();
        assert_eq!(line["rule"], "storm");
        let counts = line.as_object().unwrap().iter();
        let counts = counts.filter(|(name, _)| name.starts_with("alerts_"));
        let counts: serde_json::Map<_, _> = counts.map(|(k, v)| (k.clone(), v.clone())).collect();
        let counts: AlertCounts = serde_json::from_value(Value::Object(counts)).unwrap();
        assert!(counts.is_balanced(), "{counts:?}");
        counts
    }
}

fn ids_in(message: &str) -> Vec<String> {
    let message: Value = serde_json::from_str(message).unwrap();
    let text = |id: &Value| id.as_str().unwrap().to_owned();
    match message["keys"].as_array() {
        None => vec![text(&message["alert_id"])],
        Some(keys) => keys
            .iter()
            .flat_map(|key| key["alert_ids"].as_array().unwrap().iter().map(text))
            .collect(),
    }
}

/// Returns a batch of `count` events with distinct ids, numbered from `from`, of 50 entities.
fn storm(from: usize, count: usize) -> String {
    let template = include_str!("../../../../events/alerts/severe-accident.json");
    let template: Value = serde_json::from_str(template).unwrap();
    let record = &template["Records"][0];
    let records = (from..from + count).map(|number| {
        let event = json!({"kind": "reading", "dataset": "accidents",
            "event_id": format!("{number:032x}"), "entity": format!("OH/{}", number % 50),
            "event_time": "2026-11-20T10:00:00Z", "received_at": "2026-11-20T10:00:01Z",
            "measures": {"severity": 4.0}, "attributes": {}, "tags": []});
        let mut record = record.clone();
        let data = base64_simd::STANDARD.encode_to_string(event.to_string());
        record["kinesis"]["data"] = json!(data);
        record["kinesis"]["sequenceNumber"] = json!(format!("{number:056}"));
        record
    });
    json!({"Records": records.collect::<Vec<_>>()}).to_string()
}

fn distinct(ids: &[String]) -> usize {
    ids.iter().collect::<BTreeSet<_>>().len()
}

#[tokio::test(start_paused = true)]
async fn storm_of_10_000_alerts_makes_ten_messages() {
    let world = World::new("", "{event_id}", []);
    let begun = Instant::now();

    assert_eq!(world.handle(&storm(0, 10_000), "one").await, BatchResponse::default());

    assert_eq!(world.messages().len(), 10);
    let sent_ids = world.sent_ids();
    assert_eq!((sent_ids.len(), distinct(&sent_ids)), (10_000, 10_000));
    assert!(world.messages().iter().all(|it| it.message.len() <= 256 * 1024 - 512));
    let counts = world.counts();
    assert_eq!((counts.matched, counts.sent, counts.digested), (10_000, 5, 9_995));
    // Each alert is claimed and marked as sent: two writes per alert, made concurrently.
    assert_eq!(world.function.claims.target().calls(), 20_000);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(6), "{took:?} at 2 to 30 ms a call");
}

#[tokio::test(start_paused = true)]
async fn storm_of_few_keys_is_one_digest() {
    let world = World::new("digest = 1", "{entity}", []);

    assert_eq!(world.handle(&storm(0, 10_000), "one").await, BatchResponse::default());

    let messages = world.messages();
    assert_eq!(messages.len(), 1);
    let message: Value = serde_json::from_str(&messages[0].message).unwrap();
    assert_eq!((&message["alerts"], &message["events"]), (&json!(50), &json!(10_000)));
    assert!(message["keys"].as_array().unwrap().iter().all(|key| key["events"] == 200));
    let status = messages[0].attributes.iter().find(|(name, _)| *name == "form").unwrap();
    assert_eq!(status.1, "digest");
    let counts = world.counts();
    assert_eq!((counts.digested, counts.cooled, counts.sent), (50, 9_950, 0));
}

#[tokio::test(start_paused = true)]
async fn alerts_over_message_size_wait_for_redelivery() {
    let world = World::new("digest = 1", "{event_id}", []);
    let (mut begin, mut batches) = (0, 0);

    while begin < 10_000 {
        let before = world.messages().len();
        let answer = world.handle(&storm(begin, 10_000 - begin), &format!("{batches}")).await;
        assert_eq!(world.messages().len(), before + 1, "each batch must send one message");
        let first = answer.batch_item_failures.first();
        begin = first.map_or(10_000, |it| it.item_identifier.parse().unwrap());
        assert_eq!(world.counts().undelivered, (10_000 - begin) as u64);
        batches += 1;
    }

    let sent_ids = world.sent_ids();
    assert_eq!((sent_ids.len(), distinct(&sent_ids)), (10_000, 10_000));
    assert!((2..8).contains(&batches), "{batches}");
}

#[tokio::test(start_paused = true)]
async fn redelivered_storm_sends_no_second_digest() {
    let world = World::new("digest = 3", "{event_id}", []);
    let payload = storm(0, 500);

    world.handle(&payload, "one").await;
    assert_eq!(world.handle(&payload, "two").await, BatchResponse::default());

    assert_eq!(world.messages().len(), 3);
    assert_eq!((world.counts().matched, world.counts().cooled), (500, 500));
}

#[tokio::test(start_paused = true)]
async fn rejected_digest_is_sent_by_next_delivery() {
    let world = World::new("digest = 3", "{event_id}", [Answer::Reject(vec![2]), Answer::Take]);
    let payload = aggregated(&storm(0, 500), 100).unwrap();

    let answer = world.handle(&payload, "one").await;

    assert_eq!(answer.batch_item_failures.len(), 1);
    assert_eq!(world.sent_ids().len(), 2, "only the two alerts with messages of their own");
    assert_eq!((world.counts().sent, world.counts().undelivered), (2, 498));
    assert_eq!(world.handle(&payload, "two").await, BatchResponse::default());
    assert_eq!((world.sent_ids().len(), distinct(&world.sent_ids())), (500, 500));
}

#[tokio::test(start_paused = true)]
async fn kill_during_storm_loses_no_alert() {
    let payload = storm(0, 200);
    let mut kills = 0;
    for after in (0..200).step_by(5).map(Duration::from_millis) {
        let world = World::new("digest = 3", "{event_id}", []);
        let table = world.function.claims.target().clone();
        if timeout(after, world.handle(&payload, "one")).await.is_ok() {
            break;
        }
        kills += 1;
        let next = World::at(table, "digest = 3", "{event_id}", []);

        assert_eq!(next.handle(&payload, "two").await, BatchResponse::default(), "{after:?}");

        let mut sent_ids = world.sent_ids();
        sent_ids.extend(next.sent_ids());
        assert_eq!(distinct(&sent_ids), 200, "killed after {after:?}");
        assert!(next.messages().len() <= 3, "killed after {after:?}");
        assert!(next.counts().is_balanced());
    }
    assert!(kills > 10, "{kills}");
}

#[tokio::test(start_paused = true)]
async fn concurrent_functions_in_storm_send_alerts_once() {
    let world = World::new("digest = 4", "{event_id}", []);
    let table = world.function.claims.target().clone();
    let other = World::at(table, "digest = 4", "{event_id}", []);
    let payload = storm(0, 300);

    let answers = tokio::join!(world.handle(&payload, "one"), other.handle(&payload, "two"));

    assert_eq!(answers, (BatchResponse::default(), BatchResponse::default()));
    let mut sent_ids = world.sent_ids();
    sent_ids.extend(other.sent_ids());
    assert_eq!((sent_ids.len(), distinct(&sent_ids)), (300, 300));
    assert!(world.messages().len() <= 4 && other.messages().len() <= 4);
}
