//! Late readings that an operator gives to their windows, and readings with other values.

use std::sync::{Arc, Mutex};

use fn_windows::handler::Windows;
use jiff::Timestamp;
use serde_json::{Value, json};
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::{BatchResponse, revising, revising_with};

use crate::batches::{MINUTE, batch, begin, case, emitted, handle, late, pass, windows};

/// Two shards, of which one stands still for longer than idle timeout and lateness.
#[tokio::test(start_paused = true)]
async fn blocked_shard_readings_become_revisions_on_request() {
    let windows = windows([]);
    begin(&windows, 0).await;
    handle(&windows, &batch(0, 2, &[("a", 10, 20.0)])).await;
    pass(3 * MINUTE).await;
    handle(&windows, &batch(1, 2, &[("b", 2_000, 0.0)])).await;
    pass(3 * MINUTE).await;
    handle(&windows, &case("scheduled")).await;
    let blocked = batch(0, 3, &[("a", 20, 22.0), ("a", 130, 5.0)]);
    handle(&windows, &blocked).await;
    assert_eq!(late(&windows).len(), 2, "the walk-through in ARCHITECTURE.md");
    let before = emitted(&windows);

    let rows = windows.quarantine.target().stored();
    let rows: Vec<Value> = rows.iter().map(|row| serde_json::from_slice(row).unwrap()).collect();
    let events: Vec<_> = rows.iter().map(bytes).collect();
    let payload = revising_with(events.iter().map(Vec::as_slice), Timestamp::UNIX_EPOCH).unwrap();
    for _ in 0..2 {
        assert_eq!(handle(&windows, &payload).await, BatchResponse::default());
    }

    assert_eq!(late(&windows).len(), 2, "none is late again");
    let added: Vec<_> = emitted(&windows).into_iter().filter(|it| !before.contains(it)).collect();
    assert_eq!(
        added,
        [
            "telemetry-1m a 09:58 r1 2 21.00",
            "telemetry-1m a 10:00 r0 1 5.00",
            "telemetry-5m a 09:55 r1 2 21.00",
        ]
    );
    // The same readings from the parked batch add nothing.
    handle(&windows, &revising(&blocked).unwrap()).await;
    assert_eq!(emitted(&windows).len(), before.len() + 3);
}

/// A request for revisions of a window that the store has removed.
#[tokio::test(start_paused = true)]
async fn removed_window_is_not_revised() {
    let windows = windows([]);
    begin(&windows, 0).await;
    pass(10 * MINUTE).await;
    handle(&windows, &case("scheduled")).await;
    pass(31 * 24 * 60 * MINUTE).await;
    let before = emitted(&windows);

    let payload = revising(&batch(0, 2, &[("begin", 40, 5.0)])).unwrap();
    handle(&windows, &payload).await;

    assert_eq!(late(&windows).len(), 1);
    assert_eq!(emitted(&windows), before);
}

fn bytes(row: &Value) -> Vec<u8> {
    assert_eq!(row["code"], json!("late"));
    base64_simd::STANDARD.decode_to_vec(row["payload_base64"].as_str().unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn other_values_of_one_reading_are_counted() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let written = lines.clone();
    let log = MetricsLog::new("windows", "Tributary/test".into())
        .with_writer(move |line| written.lock().unwrap().push(line.clone()));
    let windows = Windows { metrics_log: log, ..windows([]) };

    handle(&windows, &batch(0, 1, &[("a", 1, 20.0), ("a", 1, 21.0)])).await;
    handle(&windows, &batch(0, 3, &[("a", 1, 20.0), ("a", 1, 22.0)])).await;

    let lines = lines.lock().unwrap();
    let batches: Vec<_> = lines.iter().filter(|line| line["in"] == 2).collect();
    let counts = |line: &&Value| (line["duplicates"].clone(), line["conflicting_readings"].clone());
    // Each reading is in a window of a minute and in one of five.
    let expected = [(json!(0), json!(2)), (json!(2), json!(2))];
    assert_eq!(batches.iter().map(counts).collect::<Vec<_>>(), expected);
}

/// The clock of the only device is 10 minutes ahead, so that processing time closes its window.
#[tokio::test(start_paused = true)]
async fn window_closed_by_time_never_restarts() {
    let windows = windows([]);
    handle(&windows, &batch(0, 1, &[("ahead", 2_520, 5.0)])).await;
    pass(60 * MINUTE).await;
    handle(&windows, &case("scheduled")).await;
    let before = emitted(&windows);
    assert!(before.contains(&"telemetry-1m ahead 10:40 r0 1 5.00".to_owned()), "{before:?}");

    pass(31 * 24 * 60 * MINUTE).await;
    handle(&windows, &batch(0, 2, &[("ahead", 2_530, 7.0)])).await;
    pass(10 * MINUTE).await;
    handle(&windows, &case("scheduled")).await;

    assert_eq!(emitted(&windows), before);
    assert!(late(&windows)[0].contains("(whose retention is over)"), "{:?}", late(&windows));
}
