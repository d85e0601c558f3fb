//! Rules overridden by an S3 object: used if valid, and never blocking a batch.

use std::future::pending;
use std::ops::Range;
use std::time::Duration;

use fn_alerts::active_rules::{ActiveRules, Refresh, RulesOverride};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tributary_aws::deadline::Deadline;
use tributary_aws::s3::{ObjectName, ObjectStore, Piece, ReadError};
use tributary_config::{ALERTS, AlertsConfig, Configuration};
use tributary_rules::Rules;
use tributary_testkit::MemoryObjects;

const KEY: &str = "alerts.toml";

const DEAD: &str = include_str!("../../../../fixtures/rules/bad/dead-rule.toml");

fn rule(id: &str) -> String {
    format!(
        "[[rules]]\nid = \"{id}\"\ndataset = \"accidents\"\nseverity = \"info\"\n\
         when = \"event.measures.severity >= 2.0\"\ntitle = \"{{entity}}\"\nkey = \"{{event_id}}\"\n\
         cooldown = \"0s\"\n"
    )
}

fn shipped() -> Rules {
    Configuration::shipped().unwrap().rules_of(&AlertsConfig::from_toml(ALERTS).unwrap()).unwrap()
}

fn active_rules(store: impl ObjectStore + 'static) -> ActiveRules {
    let every = SignedDuration::from_mins(5);
    let by = RulesOverride { bucket: "rules".to_owned(), key: KEY.to_owned(), every };
    ActiveRules::from(shipped()).overridden(by, store).unwrap()
}

/// Returns the id of the first active rule after `minutes`, and the result of the refresh.
async fn at(active_rules: &ActiveRules, minutes: i64) -> (String, Refresh) {
    let now = Timestamp::from_second(1_800_000_000 + 60 * minutes).unwrap();
    let (rules, refresh) =
        active_rules.current(now, Deadline::after(Duration::from_secs(50))).await;
    (rules.iter().next().unwrap().spec.id.clone(), refresh)
}

#[tokio::test]
async fn compiled_in_rules_apply_without_object() {
    let active_rules = ActiveRules::from(shipped());

    assert_eq!(at(&active_rules, 0).await, ("severe-accident".to_owned(), Refresh::NotDue));
}

#[tokio::test]
async fn object_rules_refresh_at_the_interval() {
    let store =
        MemoryObjects::with(KEY, rule("one")).change_before(2, KEY, Some(rule("two").as_bytes()));
    let active_rules = active_rules(store);

    assert_eq!(at(&active_rules, 0).await, ("one".to_owned(), Refresh::Updated));
    assert_eq!(at(&active_rules, 4).await, ("one".to_owned(), Refresh::NotDue));
    assert_eq!(at(&active_rules, 5).await, ("one".to_owned(), Refresh::Unchanged));
    assert_eq!(at(&active_rules, 9).await, ("one".to_owned(), Refresh::NotDue));
    assert_eq!(at(&active_rules, 10).await, ("two".to_owned(), Refresh::Updated));
}

#[tokio::test]
async fn invalid_rules_are_rejected_and_old_ones_stay() {
    let dead = DEAD.as_bytes();
    let store = MemoryObjects::with(KEY, rule("one"))
        .change_before(1, KEY, Some(dead))
        .change_before(3, KEY, Some(b""))
        .change_before(4, KEY, Some(b"\xff"))
        .change_before(5, KEY, Some(rule("two").as_bytes()));
    let active_rules = active_rules(store);

    assert_eq!(at(&active_rules, 0).await, ("one".to_owned(), Refresh::Updated));
    for minutes in [5, 10, 15, 20] {
        assert_eq!(
            at(&active_rules, minutes).await,
            ("one".to_owned(), Refresh::Rejected),
            "{minutes}"
        );
    }
    assert_eq!(at(&active_rules, 25).await, ("two".to_owned(), Refresh::Updated));
}

#[tokio::test]
async fn store_failure_keeps_current_rules() {
    let large = vec![b'#'; 300 * 1024];
    let store = MemoryObjects::with(KEY, rule("one"))
        .failing(0..1)
        .change_before(2, KEY, None)
        .change_before(3, KEY, Some(&large))
        .change_before(4, KEY, Some(rule("two").as_bytes()));
    let active_rules = active_rules(store);

    assert_eq!(
        at(&active_rules, 0).await,
        ("severe-accident".to_owned(), Refresh::Unreadable),
        "store is down"
    );
    assert_eq!(at(&active_rules, 5).await, ("one".to_owned(), Refresh::Updated));
    assert_eq!(at(&active_rules, 10).await, ("one".to_owned(), Refresh::Unreadable), "deleted");
    assert_eq!(at(&active_rules, 15).await, ("one".to_owned(), Refresh::Unreadable), "too large");
    assert_eq!(at(&active_rules, 20).await, ("two".to_owned(), Refresh::Updated));
}

/// Object store that never answers.
struct Silent;

impl ObjectStore for Silent {
    async fn read(&self, _: &ObjectName, _: Range<u64>) -> Result<Piece, ReadError> {
        pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn unresponsive_store_delays_batch_by_two_seconds() {
    let active_rules = active_rules(Silent);
    let started = Instant::now();

    let (rule, refresh) = at(&active_rules, 0).await;

    assert_eq!((rule.as_str(), refresh), ("severe-accident", Refresh::Unreadable));
    assert!(started.elapsed() <= Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(at(&active_rules, 1).await.1, Refresh::NotDue, "the next batch must not wait");
}
