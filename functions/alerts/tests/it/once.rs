//! Each alert once: over a table and a topic in memory, whatever comes twice, at once, or ends early.

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
use tributary_config::{AlertsConfig, PipelineConfig};
use tributary_testkit::service::{SimAlertState, SimClaims};
use tributary_testkit::{Answer, Fault, Faults, MemorySink, clock};

use crate::support::{case, roomy, sequence_number};

/// A topic that several functions publish to.
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

/// What functions share.
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
            rules: PipelineConfig::default()
                .rules(&AlertsConfig::from_toml(rules).unwrap())
                .unwrap()
                .into(),
            routes: BTreeMap::new(),
            state: RuleState::new(SimAlertState::new(Faults::none(1)), &[]),
            retention: SignedDuration::from_hours(24),
            metrics_log: metrics_log
                .with_writer(move |line| lines.lock().unwrap().push(line.clone())),
            clock: clock::now,
        }
    }

    /// The table, as somebody reaches it whose every call has this fault.
    fn table_with(&self, fault: Fault) -> SimClaims {
        self.table.reached_with(Faults::new(1, BTreeMap::from([(fault, 1.0)])))
    }

    /// How many messages there are, and of how many alerts.
    fn messages(&self) -> (usize, usize) {
        let messages = self.topic.0.stored();
        let id = |message: &Notification| {
            let message: Value = serde_json::from_str(&message.message).unwrap();
            message["alert_id"].as_str().unwrap().to_owned()
        };
        (messages.len(), messages.iter().map(id).collect::<BTreeSet<_>>().len())
    }

    /// A count of the last batch line, or of the last line of the books of alerts.
    fn count(&self, name: &str) -> u64 {
        let lines = self.lines.lock().unwrap();
        lines.iter().rev().find_map(|line| line[name].as_u64()).unwrap()
    }
}

/// The time-out of the template, less what the deadline keeps back.
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

/// Cut off after so long, as Lambda does it; whether it was.
async fn is_killed(function: &Function, payload: &str, owner: &str, after: Duration) -> bool {
    timeout(after, handle(function, payload, owner)).await.is_err()
}

fn nothing() -> BatchResponse {
    BatchResponse::default()
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_sends_nothing_again() {
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
async fn two_functions_at_the_same_time_send_each_alert_once_and_both_are_done() {
    let world = World::new([]);
    let payload = case("twelve-severe");
    let (one, two) = (world.function(), world.function());

    let answers = tokio::join!(handle(&one, &payload, "one"), handle(&two, &payload, "two"));

    assert_eq!(answers, (nothing(), nothing()));
    assert_eq!(world.messages(), (12, 12));
}

#[tokio::test(start_paused = true)]
async fn events_of_one_alert_in_one_batch_are_one_message() {
    let world = World::new([]);
    let rules = roomy().replace("{event_id}", "everywhere");
    let payload = case("twelve-severe");

    let function = world.function_with(&rules, world.table.clone());
    assert_eq!(handle(&function, &payload, "one").await, nothing());

    assert_eq!(world.messages(), (1, 1));
    assert_eq!((world.count("alerts_sent"), world.count("alerts_cooled")), (1, 11));
}

#[tokio::test(start_paused = true)]
async fn what_was_claimed_by_one_who_was_killed_is_sent_when_its_lease_ends() {
    let world = World::new([Answer::After(Duration::from_hours(1))]);
    let payload = case("severe-accident");
    assert!(is_killed(&world.function(), &payload, "one", Duration::from_secs(1)).await);
    let begun = Instant::now();
    let next = World { topic: World::new([]).topic, table: world.table.clone(), ..world };

    // The local AWS knows no partial answer: one delivery has to do.
    assert_eq!(handle(&next.function(), &payload, "two").await, nothing());

    assert_eq!(next.messages(), (1, 1));
    let waited = begun.elapsed();
    assert!((25..31).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_holds_to_the_end_is_reported_and_not_sent() {
    let world = World::new([Answer::After(Duration::from_hours(1))]);
    let payload = case("severe-accident");
    assert!(is_killed(&world.function(), &payload, "one", Duration::from_secs(1)).await);
    let next = World { topic: World::new([]).topic, table: world.table.clone(), ..world };
    let short = Deadline::after(Duration::from_secs(10));

    let answer = next.function().handle(&payload, "two", short).await.unwrap();

    assert_eq!(answer, BatchResponse::failed([sequence_number(&payload, 0)]));
    assert_eq!((next.count("held"), next.count("undelivered")), (1, 1));
    assert_eq!(next.messages(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_kill_between_claim_and_message_at_any_time_loses_nothing() {
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
        // Killed between the topic's answer and the table's, one call's worth may come again.
        assert!(messages <= 22, "killed after {after:?}: {messages}");
    }
    assert!(kills > 40, "{kills}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_outlives_who_holds_it() {
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
async fn alerts_that_the_topic_did_not_take_are_released_and_the_next_delivery_sends_them() {
    let world = World::new([Answer::Fail(vec![2, 5]), Answer::Throttle]);
    let payload = case("twelve-severe");

    let answer = handle(&world.function(), &payload, "one").await;

    assert_eq!(answer, BatchResponse::failed([sequence_number(&payload, 2)]));
    assert_eq!(world.messages(), (8, 8));
    let topic = World::new([]).topic;
    let next = World { topic, table: world.table.clone(), lines: Arc::default() };
    let begun = Instant::now();
    assert_eq!(handle(&next.function(), &payload, "two").await, nothing());
    assert_eq!(next.messages(), (4, 4), "two of the first call and the two of the second");
    assert!(begun.elapsed() < Duration::from_secs(1), "nobody waits for a lease");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_away_for_half_a_minute_costs_no_redelivery() {
    let world = World::new((0..9).map(|_| Answer::StoreAndTimeOut).chain([Answer::Take]));
    let away = world.function();
    let begun = Instant::now();

    assert_eq!(handle(&away, &case("severe-accident"), "one").await, nothing());

    assert!(begun.elapsed() > Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!((world.count("alerts_sent"), world.messages().1), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_the_topic_took_before_it_denied_access_is_not_sent_again() {
    let world = World::new([Answer::Fail(vec![4]), Answer::Deny, Answer::Take]);
    let payload = case("twelve-severe");

    let error = try_handle(&world.function(), &payload, "one").await.unwrap_err();
    assert_eq!(error.kind(), "SetUp");
    assert_eq!(world.messages(), (9, 9));
    assert_eq!(handle(&world.function(), &payload, "two").await, nothing());

    assert_eq!(world.messages(), (12, 12));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_that_is_not_claimed() {
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
async fn a_table_that_cannot_be_used_fails_the_invocation_and_is_named() {
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
async fn a_message_that_cannot_be_noted_as_sent_is_done_and_told() {
    let world = World::new([Answer::After(Duration::from_secs(1))]);
    let faults = Faults::new(1, BTreeMap::from([(Fault::ServerError, 1.0)]));
    faults.pause();
    let function = world.function_with(&roomy(), world.table.reached_with(faults.clone()));
    let payload = case("severe-accident");

    // The table goes away while the topic is being called.
    let goes_away = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        faults.resume();
    };
    let (answer, ()) = tokio::join!(handle(&function, &payload, "one"), goes_away);

    assert_eq!(answer, nothing());
    assert_eq!((world.count("alerts_sent"), world.count("unsettled")), (1, 1));
    assert_eq!(world.messages(), (1, 1));
}
