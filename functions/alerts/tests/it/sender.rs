//! Single sending of alerts, with an in-memory table and topic: redelivery, concurrency and kills.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fn_alerts::handler::Alerts;
use fn_alerts::rule_state::RuleState;
use jiff::SignedDuration;
use serde_json::Value;
use tokio::time::{Instant, timeout};
use tributary_aws::claims::RetryingClaims;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::firehose;
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::BatchResponse;
use tributary_aws::producer::Producer;
use tributary_aws::put::{BatchPut, EntryResult, Limits};
use tributary_aws::sns::{self, Notification};
use tributary_aws::takeover::KnownDatasets;
use tributary_config::{AlertsConfig, Configuration};
use tributary_testkit::service::{SimAlertState, SimClaims};
use tributary_testkit::{Answer, Fault, Faults, MemorySink, clock};

use crate::support::{case, roomy, sequence_number};

/// Topic that several functions publish to.
#[derive(Clone)]
struct Topic(Arc<MemorySink<Notification>>);

impl BatchPut for Topic {
    type Entry = Notification;

    const OPERATION: &'static str = "memory:Put";

    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn size(&self, entry: &Notification) -> usize {
        self.0.size(entry)
    }

    async fn put(
        &self,
        entries: &[&Notification],
    ) -> Result<Vec<EntryResult>, tributary_aws::error::CallError> {
        self.0.put(entries).await
    }
}

/// Table, topic and metrics log that functions share.
struct World {
    table: SimClaims,
    topic: Topic,
    lines: Arc<Mutex<Vec<Value>>>,
}

type Function = Alerts<SimClaims, SimAlertState, Topic, MemorySink<Vec<u8>>>;

impl World {
    fn new(script: impl IntoIterator<Item = Answer>) -> Self {
        clock::begin();
        let size = |entry: &Notification| entry.message.len();
        Self {
            table: SimClaims::new(Faults::none(1)),
            topic: Topic(Arc::new(MemorySink::scripted(sns::LIMITS, size, script))),
            lines: Arc::default(),
        }
    }

    fn function(&self) -> Function {
        self.function_with(&roomy(), self.table.clone())
    }

    fn function_with(&self, rules: &str, table: SimClaims) -> Function {
        let lines = self.lines.clone();
        let metrics_log = MetricsLog::new("alerts", "Tributary/test".into());
        Alerts {
            claims: RetryingClaims::new(table).with_jitter_seed(1),
            topic: Producer::new(self.topic.clone()).with_jitter_seed(1),
            quarantine: Producer::new(MemorySink::new(firehose::LIMITS, Vec::len)),
            rules: Configuration::shipped()
                .unwrap()
                .rules_of(&AlertsConfig::from_toml(rules).unwrap())
                .unwrap()
                .with_max_message_bytes(sns::MAX_MESSAGE_BYTES),
            routes: BTreeMap::new(),
            state: RuleState::new(SimAlertState::new(Faults::none(1)), &[]),
            retention: SignedDuration::from_hours(24),
            known: KnownDatasets::default(),
            metrics_log: metrics_log
                .with_writer(move |line| lines.lock().unwrap().push(line.clone())),
            clock: clock::now,
        }
    }

    /// Returns the same table, reached through a client whose every call fails with `fault`.
    fn table_with(&self, fault: Fault) -> SimClaims {
        self.table.reached_with(Faults::new(1, BTreeMap::from([(fault, 1.0)])))
    }

    /// Returns the number of messages, and the number of distinct alerts in them.
    fn messages(&self) -> (usize, usize) {
        let messages = self.topic.0.stored();
        let id = |message: &Notification| {
            let message: Value = serde_json::from_str(&message.message).unwrap();
            message["alert_id"].as_str().unwrap().to_owned()
        };
        (messages.len(), messages.iter().map(id).collect::<BTreeSet<_>>().len())
    }

    /// Returns a count from the last line of the metrics log that has it.
    fn count(&self, name: &str) -> u64 {
        let lines = self.lines.lock().unwrap();
        lines.iter().rev().find_map(|line| line[name].as_u64()).unwrap()
    }
}

/// Timeout of the template minus the reserve that the deadline keeps for the response.
const MINUTE: Duration = Duration::from_secs(58);

async fn try_handle(
    function: &Function,
    payload: &str,
    owner: &str,
) -> Result<BatchResponse, InvocationError> {
    function.handle(payload, owner, Deadline::after(MINUTE)).await
}

async fn handle(function: &Function, payload: &str, owner: &str) -> BatchResponse {
    try_handle(function, payload, owner).await.unwrap()
}

/// Stops the invocation `after` a time, as Lambda does; returns false if it finished before.
async fn is_killed(function: &Function, payload: &str, owner: &str, after: Duration) -> bool {
    timeout(after, handle(function, payload, owner)).await.is_err()
}

fn nothing() -> BatchResponse {
    BatchResponse::default()
}

#[tokio::test(start_paused = true)]
async fn redelivery_sends_no_alert_twice() {
    let world = World::new([]);
    let payload = case("twelve-severe");

    assert_eq!(handle(&world.function(), &payload, "one").await, nothing());
    assert_eq!((world.count("alerts_sent"), world.count("alerts_cooled")), (12, 0));
    assert_eq!(handle(&world.function(), &payload, "two").await, nothing());

    assert_eq!(world.messages(), (12, 12));
    assert_eq!((world.count("alerts_sent"), world.count("alerts_cooled")), (0, 12));
    assert_eq!(world.count("undelivered"), 0);
}

#[tokio::test(start_paused = true)]
async fn concurrent_functions_send_each_alert_once() {
    let world = World::new([]);
    let payload = case("twelve-severe");
    let (one, two) = (world.function(), world.function());

    let answers = tokio::join!(handle(&one, &payload, "one"), handle(&two, &payload, "two"));

    assert_eq!(answers, (nothing(), nothing()));
    assert_eq!(world.messages(), (12, 12));
}

#[tokio::test(start_paused = true)]
async fn events_of_one_alert_share_one_message() {
    let world = World::new([]);
    let rules = roomy().replace("{event_id}", "everywhere");
    let payload = case("twelve-severe");

    let function = world.function_with(&rules, world.table.clone());
    assert_eq!(handle(&function, &payload, "one").await, nothing());

    assert_eq!(world.messages(), (1, 1));
    assert_eq!((world.count("alerts_sent"), world.count("alerts_cooled")), (1, 11));
}

#[tokio::test(start_paused = true)]
async fn claim_of_killed_function_expires_with_lease() {
    let world = World::new([Answer::After(Duration::from_hours(1))]);
    let payload = case("severe-accident");
    assert!(is_killed(&world.function(), &payload, "one", Duration::from_secs(1)).await);
    let begun = Instant::now();
    let next = World { topic: World::new([]).topic, table: world.table.clone(), ..world };

    // The local AWS has no partial batch responses, so one delivery has to send the alert.
    assert_eq!(handle(&next.function(), &payload, "two").await, nothing());

    assert_eq!(next.messages(), (1, 1));
    let waited = begun.elapsed();
    assert!((25..31).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn alert_held_by_another_sender_is_undelivered() {
    let payload = case("severe-accident");
    // Lambda may run one invocation twice: "one" again is another sender.
    for again in ["two", "one"] {
        let world = World::new([Answer::After(Duration::from_hours(1))]);
        assert!(is_killed(&world.function(), &payload, "one", Duration::from_secs(1)).await);
        let next = World { topic: World::new([]).topic, table: world.table.clone(), ..world };
        let short = Deadline::after(Duration::from_secs(10));

        let answer = next.function().handle(&payload, again, short).await.unwrap();

        assert_eq!(answer, BatchResponse::failed([sequence_number(&payload, 0)]));
        assert_eq!((next.count("held"), next.count("undelivered")), (1, 1));
        assert_eq!(next.messages(), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn kill_between_claim_and_publish_loses_nothing() {
    let payload = case("twelve-severe");
    let mut kills = 0;
    for after in (0..200).map(Duration::from_millis) {
        let world = World::new([]);
        if !is_killed(&world.function(), &payload, "one", after).await {
            break;
        }
        kills += 1;
        let answer = handle(&world.function(), &payload, "two").await;

        assert_eq!(answer, nothing(), "killed after {after:?}");
        let (messages, alerts) = world.messages();
        assert_eq!(alerts, 12, "killed after {after:?}");
        // After a kill between publish and mark, the alerts of one call may be sent again.
        assert!(messages <= 22, "killed after {after:?}: {messages}");
    }
    assert!(kills > 40, "{kills}");
}

#[tokio::test(start_paused = true)]
async fn lease_outlives_its_holder() {
    let world = World::new([Answer::After(Duration::from_secs(9))]);
    let payload = case("severe-accident");
    let (slow, other) = (world.function(), world.function());
    let begun = Instant::now();

    let late = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        handle(&other, &payload, "two").await
    };
    let answers = tokio::join!(handle(&slow, &payload, "one"), late);

    assert_eq!(answers, (nothing(), nothing()));
    assert_eq!(world.messages(), (1, 1));
    assert!(begun.elapsed() > Duration::from_secs(9));
}

#[tokio::test(start_paused = true)]
async fn unsent_alerts_are_released_for_next_delivery() {
    let world = World::new([Answer::Fail(vec![2, 5]), Answer::Throttle]);
    let payload = case("twelve-severe");

    let answer = handle(&world.function(), &payload, "one").await;

    assert_eq!(answer, BatchResponse::failed([sequence_number(&payload, 2)]));
    assert_eq!(world.messages(), (8, 8));
    let topic = World::new([]).topic;
    let next = World { topic, table: world.table.clone(), lines: Arc::default() };
    let begun = Instant::now();
    assert_eq!(handle(&next.function(), &payload, "two").await, nothing());
    assert_eq!(next.messages(), (4, 4), "two failed in the first call and two in the second");
    assert!(begun.elapsed() < Duration::from_secs(1), "released claims must not wait for a lease");
}

#[tokio::test(start_paused = true)]
async fn brief_topic_outage_causes_no_redelivery() {
    let world = World::new((0..9).map(|_| Answer::StoreAndTimeOut).chain([Answer::Take]));
    let away = world.function();
    let begun = Instant::now();

    assert_eq!(handle(&away, &case("severe-accident"), "one").await, nothing());

    assert!(begun.elapsed() > Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!((world.count("alerts_sent"), world.messages().1), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn alerts_sent_before_denied_access_stay_sent() {
    let world = World::new([Answer::Fail(vec![4]), Answer::Deny, Answer::Take]);
    let payload = case("twelve-severe");

    let error = try_handle(&world.function(), &payload, "one").await.unwrap_err();
    assert_eq!(error.kind(), "SetUp");
    assert_eq!(world.messages(), (9, 9));
    assert_eq!(handle(&world.function(), &payload, "two").await, nothing());

    assert_eq!(world.messages(), (12, 12));
}

#[tokio::test(start_paused = true)]
async fn unclaimed_alert_is_never_published() {
    for fault in [Fault::ServerError, Fault::Throttle, Fault::TimeOutBefore, Fault::TimeOutAfter] {
        let world = World::new([]);
        let payload = case("twelve-severe");
        let function = world.function_with(&roomy(), world.table_with(fault));

        let answer = handle(&function, &payload, "one").await;

        assert_eq!(answer, BatchResponse::failed([sequence_number(&payload, 0)]), "{fault}");
        assert!(world.topic.0.calls().is_empty(), "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn denied_claims_table_fails_the_invocation() {
    let world = World::new([]);
    let function = world.function_with(&roomy(), world.table_with(Fault::Denied));

    let error = try_handle(&function, &case("severe-accident"), "one").await.unwrap_err();

    assert_eq!(
        error.to_string(),
        "dynamodb:UpdateItem on simulated: AccessDeniedException: not authorized"
    );
    assert!(world.topic.0.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn failed_mark_as_sent_is_counted_unsettled() {
    let world = World::new([Answer::After(Duration::from_secs(1))]);
    let faults = Faults::new(1, BTreeMap::from([(Fault::ServerError, 1.0)]));
    faults.pause();
    let function = world.function_with(&roomy(), world.table.reached_with(faults.clone()));
    let payload = case("severe-accident");

    // The table becomes unavailable during the call to the topic.
    let goes_away = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        faults.resume();
    };
    let (answer, ()) = tokio::join!(handle(&function, &payload, "one"), goes_away);

    assert_eq!(answer, nothing());
    assert_eq!((world.count("alerts_sent"), world.count("unsettled")), (1, 1));
    assert_eq!(world.messages(), (1, 1));
}
