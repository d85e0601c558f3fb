//! Batch of the EVENTS stream, read by `metrics` and `alerts`. Lines of two hyphens separate the
//! records of an input.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use fn_alerts::handler::Alerts;
use fn_alerts::rule_state::RuleState;
use fn_metrics::handler::Metrics;
use jiff::SignedDuration;
use serde_json::Value;
use tributary_aws::cardinality::Cardinality;
use tributary_aws::claims::RetryingClaims;
use tributary_aws::cloudwatch::{MAX_DIMENSION_BYTES, MAX_VALUES};
use tributary_aws::payload::BatchResponse;
use tributary_aws::producer::Producer;
use tributary_aws::put::Limits;
use tributary_aws::sns::{self, Notification};
use tributary_aws::takeover::KnownDatasets;
use tributary_kpl as kpl;
use tributary_model::bad_row::Code;
use tributary_model::event::{Event, Kind};
use tributary_pipeline::metric::Datum;
use tributary_testkit::service::{SimAlertState, SimCardinality, SimClaims};
use tributary_testkit::{Faults, MemorySink};

use super::judged::{check_on_the_wire, rules};
use crate::bench::{
    CONFIGURATION, CapturedLog, Lines, bad_lines, delivery_stream, failing, invoke, kinesis, now,
    picked, records,
};
use crate::{Target, seeds};

pub(super) const TARGET: Target = Target { name: "events", check, seeds: seeds::event_records };

/// An event that causes an alert, whatever the other events are.
const GOOD: &str = r#"{"kind":"reading","dataset":"accidents","event_id":"00000000000000000000000000000000","entity":"OH/Good","event_time":"2026-11-20T09:00:00Z","received_at":"2026-11-20T10:00:00.000Z","measures":{"severity":4.0},"attributes":{"id":"A-1","state":"OH"},"tags":[]}"#;

/// Limits of a PutMetricData call, counted in data.
const CALL: Limits = Limits { entries: 1_000, bytes: 1_000, entry_bytes: 1 };

type Sender = Alerts<SimClaims, SimAlertState, MemorySink<Notification>, Lines>;

thread_local! {
    static LOG: CapturedLog = CapturedLog::default();
    static METRICS: Metrics<MemorySink<Datum>, Lines, SimCardinality> = Metrics {
        metrics: Producer::new(MemorySink::new(CALL, |_: &Datum| 1)).with_jitter_seed(0),
        quarantine: Producer::new(delivery_stream()).with_jitter_seed(0),
        store: SimCardinality::new(Faults::none(0)),
        cardinality: Cardinality::default(),
        specs: CONFIGURATION.pipeline.metrics.clone(),
        known: KnownDatasets::default(),
        metrics_log: LOG.with(|log| log.metrics_log("metrics")),
        clock: now,
    };
    static ALERTS: RefCell<Sender> = RefCell::new(Alerts {
        claims: RetryingClaims::new(SimClaims::new(Faults::none(0))).with_jitter_seed(0),
        topic: Producer::new(MemorySink::new(sns::LIMITS, |it: &Notification| it.message.len()))
            .with_jitter_seed(0),
        routes: BTreeMap::new(),
        quarantine: Producer::new(delivery_stream()).with_jitter_seed(0),
        rules: rules(),
        state: RuleState::new(SimAlertState::new(Faults::none(0)), &[]),
        retention: SignedDuration::from_hours(24),
        known: KnownDatasets::default(),
        metrics_log: LOG.with(|log| log.metrics_log("alerts")),
        clock: now,
    });
}

fn check(input: &[u8]) {
    let mut records = records(input);
    records.push(GOOD.into());
    let user_records: Vec<_> = records.iter().flat_map(|record| user_records_of(record)).collect();
    let read = |record: &&Result<&[u8], &[u8]>| record.is_ok_and(|it| Event::from_json(it).is_ok());
    let events: Vec<_> = user_records
        .iter()
        .filter(read)
        .filter_map(|record| Event::from_json(record.ok()?).ok())
        .collect();
    events.iter().for_each(check_on_the_wire);
    let bad: Vec<_> = user_records.iter().filter(|record| !read(record)).collect();
    let payload = kinesis(records.iter().map(Vec::as_slice));

    METRICS.with(|metrics| {
        metrics.metrics.target().restart([]);
        metrics.quarantine.target().restart([]);
        let answer = invoke(|deadline| metrics.handle(&payload, deadline)).unwrap();
        assert_eq!(answer, BatchResponse::default());
        events_add_up(&metrics.metrics.target().restart([]), &events);
        bad_records_are_quarantined(metrics.quarantine.target().restart([]), &bad);
        counts_match(events.len(), bad.len());
    });
    ALERTS.with_borrow_mut(|alerts| {
        alerts.topic.target().restart([]);
        alerts.quarantine.target().restart([]);
        alerts.claims = RetryingClaims::new(SimClaims::new(Faults::none(0))).with_jitter_seed(0);
        let first = all_are_sent(alerts, &payload, &events, &bad);
        assert!(
            first.iter().any(|it| it.message.contains("OH/Good")),
            "the good event has its alert"
        );
        let again = all_are_sent(alerts, &payload, &events, &bad);
        assert!(again.is_empty(), "a redelivery sends nothing again");

        // First some messages of each call fail repeatedly; then none does.
        alerts.claims = RetryingClaims::new(SimClaims::new(Faults::none(0))).with_jitter_seed(0);
        alerts.topic.target().restart(failing(picked(input, 3)));
        let answer = invoke(|deadline| alerts.handle(&payload, "one", deadline)).unwrap();
        assert!(answer.batch_item_failures.len() <= 1, "only the lowest sequence number");
        let is_done = LOG.with(CapturedLog::counts).undelivered == 0;
        assert_eq!(is_done, answer == BatchResponse::default());
        let mut reported = alerts.topic.target().restart([]);
        alerts.quarantine.target().restart([]);
        reported.extend(all_are_sent(alerts, &payload, &events, &bad));
        let ids =
            |reported: &[Notification]| reported.iter().map(alert_id).collect::<BTreeSet<_>>();
        assert_eq!(
            (reported.len(), ids(&reported)),
            (first.len(), ids(&first)),
            "in the end, each once"
        );
    });
}

/// Asserts the messages of one invocation without failures.
fn all_are_sent(
    alerts: &Sender,
    payload: &str,
    events: &[Event<'_>],
    bad: &[&Result<&[u8], &[u8]>],
) -> Vec<Notification> {
    let answer = invoke(|deadline| alerts.handle(payload, "two", deadline)).unwrap();
    assert_eq!(answer, BatchResponse::default());
    let reported = alerts.topic.target().restart([]);
    alerts_fit(&reported);
    bad_records_are_quarantined(alerts.quarantine.target().restart([]), bad);
    counts_match(events.len(), bad.len());
    reported
}

fn alert_id(notification: &Notification) -> String {
    let message: Value = serde_json::from_str(&notification.message).unwrap();
    message["alert_id"].as_str().unwrap().to_owned()
}

/// Returns the user records of a record, or its bytes if it is a broken aggregate.
fn user_records_of(record: &[u8]) -> Vec<Result<&[u8], &[u8]>> {
    match kpl::user_records(record) {
        None => vec![Ok(record)],
        Some(Ok(user_records)) => user_records.into_iter().map(|it| Ok(it.data)).collect(),
        Some(Err(_)) => vec![Err(record)],
    }
}

fn counts_match(events: usize, bad: usize) {
    let counts = LOG.with(CapturedLog::counts);
    assert_eq!((counts.delivered, counts.quarantined), (events as u64, bad as u64));
}

/// Asserts that each reading is counted once in each metric of its dataset.
fn events_add_up(data: &[Datum], events: &[Event<'_>]) {
    for spec in &CONFIGURATION.pipeline.metrics {
        let counted = |event: &&Event<'_>| {
            event.kind == Kind::Reading
                && event.dataset == spec.dataset
                && spec.measure.as_ref().is_none_or(|name| event.measures.get(name).is_some())
        };
        let expected = events.iter().filter(counted).count();
        let data = data.iter().filter(|it| it.name == spec.name);
        let same = CONFIGURATION.pipeline.metrics.iter().filter(|it| it.name == spec.name).count();
        let counts: f64 = data.flat_map(|datum| &datum.counts).sum();
        if same == 1 {
            // The sum of no values is -0.
            assert_eq!((counts + 0.0).to_string(), expected.to_string(), "{}", spec.name);
        }
    }
    for datum in data {
        assert!((1..=MAX_VALUES).contains(&datum.values.len()));
        assert_eq!(datum.values.len(), datum.counts.len());
        assert!(datum.values.iter().all(|value| value.is_finite()));
        assert!(datum.values.is_sorted() && datum.time <= now());
        for (_, value) in &datum.dimensions {
            assert!((1..=MAX_DIMENSION_BYTES).contains(&value.len()), "{value:?}");
            assert!(!value.trim().is_empty(), "{value:?}");
            assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{value:?}");
        }
    }
}

fn alerts_fit(notifications: &[Notification]) {
    for Notification { subject, message, attributes } in notifications {
        assert!((1..=100).contains(&subject.len()), "{subject:?}");
        assert!(subject.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{subject:?}");
        assert!(!subject.starts_with(' '), "{subject:?}");
        assert!(message.len() + 512 <= sns::LIMITS.entry_bytes, "{} bytes", message.len());
        assert!(attributes.iter().all(|(_, value)| !value.is_empty()));
        let message: Value = serde_json::from_str(message).unwrap();
        assert!(message["event"]["event_id"].is_string());
    }
    let ids: BTreeSet<_> = notifications.iter().map(alert_id).collect();
    assert_eq!(ids.len(), notifications.len(), "each alert once");
}

fn bad_records_are_quarantined(lines: Vec<Vec<u8>>, bad: &[&Result<&[u8], &[u8]>]) {
    let lines = bad_lines(lines);
    assert_eq!(lines.len(), bad.len(), "each bad record is one line");
    for (line, record) in lines.iter().zip(bad) {
        let (code, bytes) = match record {
            Ok(bytes) => (Code::NotAnEvent, bytes),
            Err(bytes) => (Code::BrokenAggregate, bytes),
        };
        assert_eq!(line.code, code.as_str());
        assert!(line.payload.as_ref().is_none_or(|it| it == bytes), "the payload is exact");
    }
}
