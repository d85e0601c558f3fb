//! `Cardinality` over stores in memory, and `CardinalityTable` against recorded SDK answers.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tributary_aws::cardinality::{Cardinality, CardinalityStore, CardinalityTable, DailySet};
use tributary_aws::clients;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::CallError;
use tributary_testkit::service::SimCardinality;
use tributary_testkit::{FakeHttp, Fault, Faults};

use crate::support::{request, sent};

fn table(http: &FakeHttp) -> CardinalityTable {
    CardinalityTable::new(clients::dynamodb(&http.sdk_config()), "state".into())
}

async fn added(http: &FakeHttp) -> Result<HashSet<u64>, CallError> {
    let expires_at = Timestamp::from_second(5_000).unwrap();
    table(http).add("series#2026-11-20#m", &BTreeSet::from([1, 256]), 3, expires_at).await
}

#[tokio::test]
async fn members_are_added_in_one_conditional_update() {
    let item = r#"{"Attributes":{"item":{"S":"i"},"known":{"BS":["AAAAAAAAAAE=","AAAAAAAAAQA=","AAAAAAAAAAc="]}}}"#;
    let http = FakeHttp::new([(200, item)]);

    assert_eq!(added(&http).await, Ok(HashSet::from([1, 256, 7])));

    let body = json!({
        "TableName": "state",
        "Key": {"item": {"S": "series#2026-11-20#m"}},
        "UpdateExpression": "ADD known :new SET expires_at = :expires_at",
        "ConditionExpression": "attribute_not_exists(known) OR size(known) <= :room",
        "ExpressionAttributeValues": {
            ":new": {"BS": ["AAAAAAAAAAE=", "AAAAAAAAAQA="]},
            ":room": {"N": "1"},
            ":expires_at": {"N": "5000"},
        },
        "ReturnValues": "ALL_NEW",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    });
    assert_eq!(sent(&http), [request("UpdateItem", body)]);
}

#[tokio::test]
async fn full_set_is_returned_unchanged() {
    let full = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message":"The conditional request failed","Item":{"known":{"BS":["AAAAAAAAAAc="]}}}"#;
    let unreadable = r#"{"Attributes":{"known":{"BS":["AAc="]}}}"#;
    let http = FakeHttp::new([(400, full), (200, unreadable)]);

    assert_eq!(added(&http).await, Ok(HashSet::from([7])));
    assert!(matches!(added(&http).await, Err(CallError::Setup(_))));
}

fn now() -> Timestamp {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

/// Returns those of `members` that a set of three takes.
async fn admit(process: &Cardinality, store: &SimCardinality, members: &[u64]) -> BTreeSet<u64> {
    let set = DailySet::of("series", now(), "m", 3);
    let deadline = Deadline::after(Duration::from_mins(10));
    process.admit(store, &set, members, now(), deadline).await.unwrap().into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn processes_share_one_limit() {
    let store = SimCardinality::new(Faults::none(1));
    let [one, other] = [Cardinality::default(), Cardinality::default()];

    assert_eq!(admit(&one, &store, &[1, 2]).await, [1, 2].into());
    assert_eq!(admit(&other, &store, &[3, 4, 1]).await, [1, 3].into());
    assert_eq!(admit(&one, &store, &[5, 6]).await, [].into());
    assert_eq!(admit(&one, &store, &[4, 3, 2, 1]).await, [1, 2, 3].into());
    assert_eq!(store.sizes(), BTreeMap::from([("series#2026-11-20#m".to_owned(), 3)]));
}

#[tokio::test(start_paused = true)]
async fn known_members_and_full_sets_need_no_call() {
    let store = SimCardinality::new(Faults::none(1));
    let process = Cardinality::default();
    admit(&process, &store, &[1, 2]).await;
    assert_eq!(store.calls(), 1);
    admit(&process, &store, &[2, 1]).await;
    assert_eq!(store.calls(), 1, "both are known");
    admit(&process, &store, &[3]).await;

    assert_eq!(admit(&process, &store, &[9, 8, 3]).await, [3].into());
    assert_eq!(store.calls(), 2, "the set is full");
}

#[tokio::test(start_paused = true)]
async fn lost_answers_admit_the_same_members() {
    let faults = BTreeMap::from([(Fault::TimeOutAfter, 0.5), (Fault::Throttle, 0.3)]);
    for seed in 0..50 {
        let store = SimCardinality::new(Faults::new(seed, faults.clone()));
        let process = Cardinality::default();

        assert_eq!(admit(&process, &store, &[1, 2, 3, 4]).await, [1, 2, 3].into(), "seed {seed}");
        let restarted = Cardinality::default();
        assert_eq!(admit(&restarted, &store, &[4, 3, 2]).await, [2, 3].into(), "seed {seed}");
    }
}

#[test]
fn set_is_named_by_kind_day_and_id() {
    let set = |time: &str| DailySet::of("series", time.parse().unwrap(), "m", 3).name;

    assert_eq!(set("2026-11-20T23:59:59.999Z"), "series#2026-11-20#m");
    assert_eq!(set("2026-11-21T00:00:00Z"), "series#2026-11-21#m");
}
