//! Batches of `windows` with an in-memory store: stored windows, emitted events, failures.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fn_windows::handler::Windows;
use serde_json::{Value, json};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::BatchResponse;
use tributary_aws::producer::Producer;
use tributary_aws::retry::Retry;
use tributary_aws::takeover::KnownDatasets;
use tributary_aws::windows::{Item, OPERATION, WindowStore};
use tributary_aws::{firehose, kinesis};
use tributary_config::Configuration;
use tributary_model::event::Event;
use tributary_testkit::service::{SimShards, SimStream, SimWindows};
use tributary_testkit::{Answer, Faults, MemorySink, clock};
use tributary_windows::Window;

pub(crate) type Function =
    Windows<SimWindows, SimShards, MemorySink<StreamRecord>, MemorySink<Vec<u8>>>;

pub(crate) const MINUTE: Duration = Duration::from_mins(1);

/// Returns the function over a stream of two shards.
pub(crate) fn windows(events: impl IntoIterator<Item = Answer>) -> Function {
    clock::begin();
    let stream = Arc::new(SimStream::new(2, 1 << 20));
    Windows {
        store: SimWindows::new(Faults::none(1)),
        shards: SimShards::new(stream, Faults::none(1)),
        events: Producer::new(MemorySink::scripted(kinesis_limits(), StreamRecord::size, events))
            .with_jitter_seed(1),
        quarantine: Producer::new(MemorySink::new(firehose::LIMITS, Vec::len)),
        specs: Configuration::shipped().unwrap().window_specs().unwrap(),
        known: KnownDatasets::default(),
        metrics_log: MetricsLog::new("windows", "Tributary/test".into()),
        clock: clock::now,
        retry: Retry::new(OPERATION).with_jitter_seed(1),
    }
}

fn kinesis_limits() -> tributary_aws::put::Limits {
    tributary_aws::put::Limits {
        entries: kinesis::MAX_ENTRIES,
        bytes: kinesis::MAX_BYTES,
        entry_bytes: 1 << 20,
    }
}

pub(crate) fn case(name: &str) -> String {
    let path = format!("{}/../../events/windows/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// Returns a batch of shard `shard` with readings of (device, seconds after 09:58, temperature).
/// `first` is the number of the first record.
pub(crate) fn batch(shard: usize, first: usize, readings: &[(&str, i64, f64)]) -> String {
    let record = |(at, (device, second, celsius)): (usize, &(&str, i64, f64))| {
        let time = jiff::Timestamp::from_second(1_795_168_680 + second).unwrap().to_string();
        let event = json!({
            "kind": "reading", "dataset": "telemetry", "event_id": format!("{device} {second}"),
            "entity": device, "event_time": time, "received_at": "2026-11-20T10:30:00.123Z",
            "measures": {"temperature_c": celsius}, "attributes": {}, "tags": [],
        });
        json!({
            "eventID": format!("shardId-{shard:012}:{}", first + at),
            "kinesis": {
                "sequenceNumber": format!("{:056}", first + at).replacen('0', "4", 1),
                "data": base64_simd::STANDARD.encode_to_string(event.to_string()),
                "approximateArrivalTimestamp": 1_795_168_800.0,
            },
        })
    };
    json!({"Records": readings.iter().enumerate().map(record).collect::<Vec<_>>()}).to_string()
}

pub(crate) async fn handle(windows: &Function, payload: &str) -> BatchResponse {
    windows.handle(payload, Deadline::after(Duration::from_secs(50))).await.unwrap()
}

pub(crate) async fn pass(length: Duration) {
    tokio::time::advance(length).await;
}

/// Returns emitted windows as text: spec, group, start time, revision, count, mean temperature.
pub(crate) fn emitted(windows: &Function) -> Vec<String> {
    let show = |record: &StreamRecord| {
        let event = Event::from_json(&record.data).unwrap();
        assert_eq!(record.partition_key, event.entity);
        let window = event.window.unwrap();
        let measure = |name| event.measures.get(name).copied().unwrap();
        let time = window.start.strftime("%H:%M");
        let (count, mean) = (measure("count"), measure("temperature_c_mean"));
        format!("{} {} {time} r{} {count} {mean:.2}", window.spec, event.entity, window.revision)
    };
    let mut reported: Vec<_> = windows.events.target().stored().iter().map(show).collect();
    reported.sort();
    reported
}

pub(crate) fn late(windows: &Function) -> Vec<String> {
    let show = |line: &Vec<u8>| {
        let row: Value = serde_json::from_slice(line).unwrap();
        assert_eq!(row["code"], "late");
        row["message"].as_str().unwrap().to_owned()
    };
    windows.quarantine.target().stored().iter().map(show).collect()
}

/// Starts the clock: gives both shards a watermark, so that neither is waited for.
pub(crate) async fn begin(windows: &Function, second: i64) {
    handle(windows, &batch(0, 1, &[("begin", second, 0.0)])).await;
    handle(windows, &batch(1, 1, &[("begin", second + 1, 0.0)])).await;
}

#[tokio::test(start_paused = true)]
async fn duplicate_reading_counts_once_in_its_window() {
    let windows = windows([]);

    assert_eq!(handle(&windows, &case("two-minutes")).await, BatchResponse::default());
    assert_eq!(
        emitted(&windows),
        Vec::<String>::new(),
        "the other shard may still deliver earlier readings"
    );
    pass(5 * MINUTE).await;
    handle(&windows, &case("scheduled")).await;

    let minutes: Vec<_> = emitted(&windows).into_iter().filter(|it| it.contains("-1m")).collect();
    assert_eq!(
        minutes,
        [
            "telemetry-1m device-01 09:58 r0 3 21.33",
            "telemetry-1m device-01 09:59 r0 3 22.33",
            "telemetry-1m device-01 10:00 r0 1 23.00",
            "telemetry-1m device-02 09:58 r0 3 22.33",
            "telemetry-1m device-02 09:59 r0 3 23.33",
            "telemetry-1m device-02 10:00 r0 1 24.00",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn redelivery_changes_and_emits_nothing() {
    let windows = windows([]);
    handle(&windows, &case("two-minutes")).await;
    let before = windows.store.items();

    handle(&windows, &case("two-minutes")).await;

    assert_eq!(windows.store.items(), before);
    assert!(emitted(&windows).is_empty());
}

#[tokio::test(start_paused = true)]
async fn slowest_shard_holds_watermark_until_idle() {
    let windows = windows([]);
    begin(&windows, 0).await;

    handle(&windows, &batch(0, 2, &[("a", 1, 1.0), ("a", 70, 1.0)])).await;
    assert!(emitted(&windows).is_empty(), "shard 1 holds the watermark at 09:58:01");
    pass(MINUTE).await;
    handle(&windows, &batch(0, 4, &[("a", 71, 1.0)])).await;
    assert!(emitted(&windows).is_empty(), "shard 1 is not idle yet");
    pass(MINUTE).await;
    handle(&windows, &batch(0, 5, &[("a", 72, 1.0)])).await;

    assert_eq!(
        emitted(&windows),
        ["telemetry-1m a 09:58 r0 1 1.00", "telemetry-1m begin 09:58 r0 2 0.00"]
    );
}

#[tokio::test(start_paused = true)]
async fn late_reading_revises_window_until_allowed_lateness() {
    let windows = windows([]);
    handle(&windows, &batch(0, 1, &[("a", 0, 20.0)])).await;
    handle(&windows, &batch(1, 1, &[("b", 66, 0.0)])).await;
    handle(&windows, &batch(0, 2, &[("a", 66, 0.0)])).await;
    assert_eq!(emitted(&windows), ["telemetry-1m a 09:58 r0 1 20.00"]);

    handle(&windows, &batch(0, 3, &[("a", 30, 22.0)])).await;
    assert_eq!(emitted(&windows)[1], "telemetry-1m a 09:58 r1 2 21.00");

    // Past 09:59:00 by delay and allowed lateness of `telemetry-1m`, but not of `telemetry-5m`.
    handle(&windows, &batch(1, 2, &[("b", 670, 0.0)])).await;
    handle(&windows, &batch(0, 4, &[("a", 670, 0.0)])).await;
    // The index of due windows may lag.
    pass(Duration::from_secs(3)).await;
    handle(&windows, &case("scheduled")).await;
    handle(&windows, &batch(0, 5, &[("a", 31, 23.0), ("a", 30, 22.0)])).await;
    assert_eq!(
        late(&windows),
        [
            "too late: the watermark is at 2026-11-20T10:09:10Z, past the lateness of telemetry-1m from \
          2026-11-20T09:58:00Z"
        ],
        "a reading that its window already contains is not late"
    );
    assert!(emitted(&windows).contains(&"telemetry-5m a 09:55 r1 4 16.25".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn device_with_clock_ahead_makes_none_late() {
    let windows = windows([]);
    begin(&windows, 0).await;

    handle(&windows, &batch(0, 2, &[("ahead", 86_400 * 365, 1.0)])).await;
    handle(&windows, &batch(1, 2, &[("ahead", 86_400 * 365, 1.0)])).await;
    handle(&windows, &batch(0, 3, &[("a", 1, 1.0)])).await;

    assert!(late(&windows).is_empty() && emitted(&windows).is_empty());
}

/// One clock is a year ahead, the other was never set. Neither may advance or hold the watermark.
#[tokio::test(start_paused = true)]
async fn device_with_wrong_clock_does_not_hold_watermark() {
    for wrong in [86_400 * 365, -86_400 * 365 * 20] {
        let windows = windows([]);
        begin(&windows, 0).await;

        for minute in 1..=5 {
            pass(MINUTE).await;
            let number = usize::try_from(minute).unwrap() + 1;
            handle(&windows, &batch(1, number, &[("wrong", wrong + 60 * minute, 1.0)])).await;
            handle(&windows, &batch(0, number, &[("a", 60 * minute, 1.0)])).await;
        }

        let reported = emitted(&windows);
        assert!(reported.contains(&"telemetry-1m a 10:01 r0 1 1.00".to_owned()), "{reported:?}");
    }
}

/// One device, alone on its shard, sends one reading again and again.
#[tokio::test(start_paused = true)]
async fn stuck_device_does_not_hold_watermark() {
    let windows = windows([]);
    begin(&windows, 0).await;

    for minute in 1..=5 {
        pass(MINUTE).await;
        let number = usize::try_from(minute).unwrap() + 1;
        handle(&windows, &batch(1, number, &[("stuck", 1, 1.0)])).await;
        handle(&windows, &batch(0, number, &[("a", 60 * minute, 1.0)])).await;
    }

    let reported = emitted(&windows);
    assert!(reported.contains(&"telemetry-1m a 10:01 r0 1 1.00".to_owned()), "{reported:?}");
    assert!(late(&windows).is_empty());
}

#[tokio::test(start_paused = true)]
async fn batch_reports_watermark_age_and_emitted_windows() {
    let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
    let written = lines.clone();
    let log = MetricsLog::new("windows", "Tributary/test".into())
        .with_writer(move |line| written.lock().unwrap().push(line.clone()));
    let windows = Windows { metrics_log: log, ..windows([]) };
    let of_dataset = || {
        let lines = std::mem::take(&mut *lines.lock().unwrap());
        let is_ours = |line: &Value| line["message"] == "windows" && line["dataset"] == "telemetry";
        let line = lines.into_iter().find(is_ours).unwrap_or_default();
        (line["watermark_age_s"].clone(), line["windows_emitted"].clone())
    };
    begin(&windows, 0).await;
    of_dataset();

    // The watermark rises once more when both shards are idle.
    for age in [60, 0, 60, 120] {
        pass(MINUTE).await;
        handle(&windows, &batch(0, 2, &[("begin", 0, 0.0)])).await;
        assert_eq!(of_dataset(), (json!(age), json!(0)));
    }
    handle(&windows, &case("scheduled")).await;
    assert_eq!(of_dataset(), (Value::Null, json!(2)), "two specs");
}

/// A device sends a reading that it had kept for a month in which nothing else came.
#[tokio::test(start_paused = true)]
async fn window_after_its_retention_never_restarts() {
    let windows = windows([]);
    begin(&windows, 0).await;
    pass(10 * MINUTE).await;
    handle(&windows, &case("scheduled")).await;
    let before = emitted(&windows);
    assert!(before.contains(&"telemetry-1m begin 09:58 r0 2 0.00".to_owned()), "{before:?}");

    pass(31 * 24 * 60 * MINUTE).await;
    handle(&windows, &batch(0, 2, &[("begin", 40, 5.0)])).await;
    handle(&windows, &batch(0, 3, &[("begin", 50, 5.0), ("begin", 130, 5.0)])).await;
    pass(10 * MINUTE).await;
    handle(&windows, &case("scheduled")).await;

    let late = late(&windows);
    assert_eq!(late.len(), 2, "{late:?}");
    assert!(late[0].contains("telemetry-1m from 2026-11-20T09:58:00Z (whose retention is over)"));
    let added: Vec<_> = emitted(&windows).into_iter().filter(|it| !before.contains(it)).collect();
    assert_eq!(added, ["telemetry-1m begin 10:00 r0 1 5.00", "telemetry-5m begin 10:00 r0 1 5.00"]);
}

/// Both shards were registered the day before; one is now read faster than the other.
#[tokio::test(start_paused = true)]
async fn faster_shard_after_idle_day_makes_none_late() {
    let windows = windows([]);
    begin(&windows, -86_400).await;
    pass(24 * 60 * MINUTE).await;
    handle(&windows, &case("scheduled")).await;
    let half_a_day = (1..=720).map(|minute| ("a", 60 * minute - 86_400, 1.0));
    let half_a_day: Vec<_> = half_a_day.collect();

    handle(&windows, &batch(0, 2, &half_a_day)).await;
    let others: Vec<_> =
        half_a_day.iter().map(|(_, second, value)| ("b", *second, *value)).collect();
    handle(&windows, &batch(1, 2, &others)).await;

    assert_eq!(late(&windows), Vec::<String>::new());
    for _ in 0..4 {
        // The index of due windows may lag.
        pass(Duration::from_secs(3)).await;
        handle(&windows, &case("scheduled")).await;
    }
    let reported = emitted(&windows);
    for device in ["a", "b"] {
        let of_it = format!("telemetry-1m {device} ");
        assert_eq!(reported.iter().filter(|it| it.starts_with(&of_it)).count(), 718, "{device}");
    }
}

#[tokio::test(start_paused = true)]
async fn latest_reading_sets_watermark_when_all_idle() {
    let windows = windows([]);
    begin(&windows, 0).await;
    pass(MINUTE).await;
    handle(&windows, &batch(0, 2, &[("a", 1_800, 1.0)])).await;

    pass(3 * MINUTE).await;
    handle(&windows, &case("scheduled")).await;
    handle(&windows, &batch(1, 2, &[("b", 30, 1.0)])).await;

    let late = late(&windows);
    assert!(late[0].contains("the watermark is at 2026-11-20T10:28:00Z"), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn unreadable_window_fails_alone() {
    let windows = windows([]);
    begin(&windows, 0).await;
    handle(&windows, &batch(0, 2, &[("broken", 1, 1.0), ("a", 1, 1.0)])).await;
    for mut item in windows.store.items() {
        if item.key.group == "broken" {
            item.version += 1;
            item.body = "{}".to_owned();
            windows.store.write(&item).await.unwrap();
        }
    }

    handle(&windows, &batch(0, 3, &[("a", 70, 1.0)])).await;
    let closing = batch(1, 2, &[("b", 70, 0.0)]);
    assert_eq!(handle(&windows, &closing).await, BatchResponse::default());

    assert!(emitted(&windows).contains(&"telemetry-1m a 09:58 r0 1 1.00".to_owned()));
    let round = windows.handle(&case("scheduled"), Deadline::after(MINUTE)).await;
    assert!(round.is_err(), "an unreadable window must fail the scheduled run");
    let response = handle(&windows, &batch(0, 4, &[("a", 71, 1.0), ("broken", 2, 1.0)])).await;
    assert_eq!(
        response.batch_item_failures.len(),
        1,
        "the reading of the unreadable window is redelivered"
    );
}

/// Devices send buffered readings in one batch, minutes after their windows have ended.
#[tokio::test(start_paused = true)]
async fn windows_closed_together_are_evaluated_in_order() {
    let minutes: Vec<_> = (0..8).map(|minute| ("a", 60 * minute, 20.0)).collect();
    let baselines = async |apart: bool| {
        let windows = windows([]);
        begin(&windows, 0).await;
        handle(&windows, &batch(0, 2, &[("b", 500, 1.0)])).await;
        handle(&windows, &batch(1, 2, &[("c", 501, 1.0)])).await;
        if apart {
            for (at, minute) in minutes.iter().enumerate() {
                handle(&windows, &batch(0, 3 + at, std::slice::from_ref(minute))).await;
            }
        } else {
            handle(&windows, &batch(0, 3, &minutes)).await;
        }
        let items = windows.store.items();
        let of_it = |it: &&Item| it.key.spec == "telemetry-1m" && it.key.group == "a";
        let windows = items.iter().filter(of_it).map(|it| Window::from_json(&it.body).unwrap());
        windows.map(|it| it.baseline().clone()).collect::<Vec<_>>()
    };

    let together = baselines(false).await;

    assert_eq!(together.len(), 8);
    assert_eq!(together, baselines(true).await);
}

#[tokio::test(start_paused = true)]
async fn pending_window_is_emitted_by_next_run() {
    // The stream throttles thirty calls.
    let windows = windows((0..30).map(|_| Answer::Throttle).chain([Answer::Take]));
    begin(&windows, 0).await;
    let short = Deadline::after(Duration::from_secs(4));
    let closing = batch(1, 2, &[("b", 66, 0.0)]);
    handle(&windows, &batch(0, 2, &[("a", 66, 0.0)])).await;

    let response = windows.handle(&closing, short).await.unwrap();
    assert_eq!(response, BatchResponse::default(), "the readings are in the store");
    // The index of due windows may lag.
    pass(Duration::from_secs(3)).await;
    let mut rounds = 0;
    while windows.handle(&case("scheduled"), Deadline::after(MINUTE)).await.is_err() {
        rounds += 1;
        assert!(rounds < 10, "scheduled runs should emit all pending windows");
    }

    let first = emitted(&windows);
    assert!(first.contains(&"telemetry-1m begin 09:58 r0 2 0.00".to_owned()), "{first:?}");
    handle(&windows, &case("scheduled")).await;
    assert_eq!(emitted(&windows), first, "each window is emitted once");
}

#[tokio::test(start_paused = true)]
async fn unavailable_store_fails_the_batch() {
    let windows = windows([]);
    let faults = Faults::new(1, [(tributary_testkit::Fault::Throttle, 1.0)].into());
    let windows = Windows { store: SimWindows::new(faults), ..windows };

    let response = handle(&windows, &case("two-minutes")).await;

    let failed: Vec<_> =
        response.batch_item_failures.iter().map(|it| &it.item_identifier).collect();
    let payload: Value = serde_json::from_str(&case("two-minutes")).unwrap();
    assert_eq!(json!(failed), json!([payload["Records"][0]["kinesis"]["sequenceNumber"]]));
}

#[tokio::test(start_paused = true)]
async fn non_event_is_bad_row_and_others_stored() {
    let windows = windows([]);

    assert_eq!(handle(&windows, &case("broken-base64")).await, BatchResponse::default());

    assert_eq!(windows.quarantine.target().stored().len(), 1);
    assert_eq!(windows.store.items().len(), 4, "two devices in two specs");
}

#[tokio::test(start_paused = true)]
async fn windows_of_device_are_queried_newest_first() {
    let windows = windows([]);
    handle(&windows, &case("two-minutes")).await;

    let range = tributary_aws::windows::Range {
        from: "2026-11-20T09:58:00Z".parse().unwrap(),
        until: "2026-11-20T10:00:00Z".parse().unwrap(),
        limit: 10,
    };
    let items = windows.store.range("telemetry-1m", "device-01", range).await.unwrap();

    let starts: Vec<_> = items.iter().map(|item| item.key.start.to_string()).collect();
    assert_eq!(starts, ["2026-11-20T09:59:00Z", "2026-11-20T09:58:00Z"]);
}

#[tokio::test(start_paused = true)]
async fn unknown_dataset_waits_for_later_configuration() {
    let mut windows = windows([]);
    windows.known = KnownDatasets::new(BTreeSet::new(), Arc::default());
    let payload = batch(0, 0, &[("a", 0, 20.0)]);

    let error = windows.handle(&payload, Deadline::after(MINUTE)).await.unwrap_err();
    assert!(matches!(error, InvocationError::Stale(_)), "{error}");
    windows.known = KnownDatasets::default();
    assert_eq!(handle(&windows, &payload).await, BatchResponse::default());
}
