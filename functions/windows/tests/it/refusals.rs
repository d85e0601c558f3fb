//! Windows that a service refuses, that cannot be closed, or that are far ahead: each costs itself.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tributary_aws::deadline::Deadline;
use tributary_aws::payload::BatchResponse;
use tributary_aws::windows::{Range, WindowStore};
use tributary_testkit::Answer;

use crate::batches::{MINUTE, batch, begin, case, emitted, handle, pass, windows};

#[tokio::test(start_paused = true)]
async fn refused_key_costs_only_its_readings() {
    let windows = windows([]);
    begin(&windows, 0).await;
    windows.store.refuse_group("b");
    let readings = [("a", 1, 20.0), ("b", 2, 20.0), ("c", 3, 20.0), ("b", 4, 20.0)];

    let response = handle(&windows, &batch(0, 2, &readings)).await;

    assert_eq!(response, BatchResponse::default());
    let rows = windows.quarantine.target().stored();
    let rows: Vec<Value> = rows.iter().map(|row| serde_json::from_slice(row).unwrap()).collect();
    assert!(rows.iter().all(|row| row["code"] == "refused"), "{rows:?}");
    assert_eq!(rows.len(), 2);
    let groups: BTreeSet<_> = windows.store.items().into_iter().map(|it| it.key.group).collect();
    assert_eq!(groups, ["a", "begin", "c"].map(str::to_owned).into());
}

#[tokio::test(start_paused = true)]
async fn refused_window_event_is_quarantined_once() {
    let windows = windows([Answer::Reject(vec![0]), Answer::Take]);
    begin(&windows, 0).await;
    pass(10 * MINUTE).await;

    handle(&windows, &case("scheduled")).await;
    pass(MINUTE).await;
    handle(&windows, &case("scheduled")).await;

    let rows = windows.quarantine.target().stored();
    let row: Value = serde_json::from_slice(&rows[0]).unwrap();
    assert_eq!((rows.len(), &row["code"]), (1, &json!("refused")));
    assert!(row["source"].as_str().unwrap().starts_with("window:telemetry-"), "{row}");
}

#[tokio::test(start_paused = true)]
async fn refused_window_does_not_end_the_round() {
    let windows = windows([]);
    begin(&windows, 0).await;
    handle(&windows, &batch(0, 2, &[("a", 1, 20.0), ("b", 2, 20.0), ("c", 3, 20.0)])).await;
    windows.store.refuse_group("a");
    pass(10 * MINUTE).await;

    let round = windows.handle(&case("scheduled"), Deadline::after(MINUTE)).await;

    assert!(round.is_err(), "the refused windows must fail the run");
    let groups: Vec<_> =
        emitted(&windows).into_iter().filter(|it| it.starts_with("telemetry-1m")).collect();
    let minute = |group: &str, count| format!("telemetry-1m {group} 09:58 r0 {count} ");
    for (found, expected) in groups.iter().zip([minute("b", 1), minute("begin", 2), minute("c", 1)])
    {
        assert!(found.starts_with(&expected), "{groups:?}");
    }
    assert_eq!(groups.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn error_of_one_dataset_ends_no_other() {
    let windows = windows([]);
    begin(&windows, 0).await;
    for clock in ["accidents/received", "covid/event", "flood/event"] {
        windows.store.break_clock(clock);
    }
    pass(10 * MINUTE).await;

    let round = windows.handle(&case("scheduled"), Deadline::after(MINUTE)).await;

    let error = round.unwrap_err().to_string();
    assert!(error.contains("the clock "), "{error}");
    assert!(!emitted(&windows).is_empty());
}

/// A device whose clock is more than a year ahead opens windows that no watermark may ever close.
#[tokio::test(start_paused = true)]
async fn window_far_ahead_expires() {
    let windows = windows([]);
    begin(&windows, 0).await;
    let ahead = 500 * 24 * 3_600;

    handle(&windows, &batch(0, 2, &[("a", ahead, 20.0), ("b", 1, 20.0)])).await;

    let expires = |group: &str| {
        let items = windows.store.items().into_iter().filter(|item| item.key.group == group);
        items.map(|item| item.expires_at.is_some()).collect::<BTreeSet<_>>()
    };
    assert_eq!((expires("a"), expires("b")), ([true].into(), [false].into()));
    pass(Duration::from_hours(200 * 24)).await;
    let left = windows.store.range("telemetry-1m", "a", everything()).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

fn everything() -> Range {
    Range { from: Timestamp::MIN, until: Timestamp::MAX, limit: 10 }
}
