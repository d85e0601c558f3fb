//! Batch of the RAW stream, read by `transform`. Lines of two hyphens separate the records of an
//! input; some may be KPL aggregates.

use fn_transform::handler::Transform;
use tributary_aws::payload::BatchResponse;
use tributary_aws::producer::Producer;
use tributary_aws::takeover::KnownDatasets;
use tributary_kpl as kpl;
use tributary_model::bad_row::Code;
use tributary_model::event::Event;

use super::judged::outcome_of;
use crate::bench::{
    CapturedLog, Lines, Records, bad_lines, delivery_stream, failing, invoke, kinesis, now, picked,
    records, stream, transformer,
};
use crate::{Target, seeds};

pub(super) const TARGET: Target = Target { name: "raw-records", check, seeds: seeds::raw_records };

/// A record that becomes an event, whatever the other records are.
pub(super) const GOOD: &str = r#"{"dataset":"flood","record_id":"good","source":"good","received_at":"2026-11-20T10:00:00.000Z","payload":{"sensor_id":"good","water_level":"1.5","timestamp":"2026-11-20T10:00:00Z","location":"Weir"}}"#;

type Step = Transform<Records, Lines>;

thread_local! {
    static LOG: CapturedLog = CapturedLog::default();
    static TRANSFORM: Step = Transform {
        events: Producer::new(stream()).with_jitter_seed(0),
        quarantine: Producer::new(delivery_stream()).with_jitter_seed(0),
        transformer: transformer(),
        known: KnownDatasets::default(),
        metrics_log: LOG.with(|log| log.metrics_log("transform")),
        clock: now,
    };
}

/// Expected result of a user record: the event, or the code of its fault with its bytes.
type Expected = Result<String, (Code, Vec<u8>)>;

fn check(input: &[u8]) {
    let mut records = records(input);
    records.insert(0, GOOD.into());
    records.push(GOOD.into());
    let payload = kinesis(records.iter().map(Vec::as_slice));
    let expected: Vec<_> = records.iter().map(|record| user_records_of(record)).collect();
    TRANSFORM.with(|step| {
        all_have_their_end(step, &payload, &expected.concat());
        what_fails_is_reported(step, &payload, &expected, input);
    });
}

fn user_records_of(record: &[u8]) -> Vec<Expected> {
    let bad = |code| Err((code, record.to_vec()));
    match kpl::user_records(record) {
        None => vec![expected_of(record)],
        Some(Ok(user_records)) => user_records.iter().map(|it| expected_of(it.data)).collect(),
        Some(Err(_)) => vec![bad(Code::BrokenAggregate)],
    }
}

fn expected_of(record: &[u8]) -> Expected {
    outcome_of(record).map_err(|rejection| (rejection.code, record.to_vec()))
}

fn all_have_their_end(step: &Step, payload: &str, expected: &[Expected]) {
    let (answer, events, lines) = run(step, payload, None);

    assert_eq!(answer, BatchResponse::default());
    let good = expected.iter().filter_map(|it| it.as_ref().ok());
    assert!(good.eq(&events), "each good record is its event, in order");
    let bad: Vec<_> = expected.iter().filter_map(|it| it.as_ref().err()).collect();
    let lines = bad_lines(lines);
    assert_eq!(lines.len(), bad.len(), "each bad record is one line");
    for (line, (code, bytes)) in lines.iter().zip(bad) {
        assert_eq!(line.code, code.as_str());
        // Beyond Firehose's limit, the source says where the bytes are.
        assert!(line.payload.as_ref().is_none_or(|it| it == bytes), "the payload is exact");
        assert!(line.payload.is_some() || bytes.len() > 512 * 1024, "and they are there");
        assert!(!line.source.is_empty() || bytes.len() > 512 * 1024 || line.payload.is_some());
    }
    let counts = LOG.with(CapturedLog::counts);
    assert_eq!(counts.received, expected.len() as u64);
    assert_eq!((counts.delivered, counts.undelivered), (events.len() as u64, 0));
}

/// Asserts the response when some entries of each call fail repeatedly: everything before the
/// reported record is stored.
fn what_fails_is_reported(step: &Step, payload: &str, expected: &[Vec<Expected>], input: &[u8]) {
    let is_quarantine = picked(input, 4) == 0;
    let (answer, events, lines) = run(step, payload, Some((is_quarantine, picked(input, 3))));

    let counts = LOG.with(CapturedLog::counts);
    let Some(failure) = answer.batch_item_failures.first() else {
        assert_eq!(counts.undelivered, 0);
        return;
    };
    assert_eq!(answer.batch_item_failures.len(), 1, "only the lowest sequence number");
    let first = failure.item_identifier.parse::<usize>().unwrap() - 1;
    let done = expected[..first].concat();
    let count = |is_event: bool| done.iter().filter(|it| it.is_ok() == is_event).count();
    assert_eq!((counts.delivered, counts.quarantined), (count(true) as u64, count(false) as u64));
    for event in done.iter().flatten() {
        assert!(events.contains(event), "what is behind the checkpoint is stored");
    }
    assert!(lines.len() >= count(false), "and quarantined");
}

/// Runs the function and returns the response, the events and the lines of quarantine; `fault`
/// names the sink that fails and its entry.
fn run(
    step: &Step,
    payload: &str,
    fault: Option<(bool, usize)>,
) -> (BatchResponse, Vec<String>, Vec<Vec<u8>>) {
    step.events.target().restart([]);
    step.quarantine.target().restart([]);
    match fault {
        Some((true, index)) => drop(step.quarantine.target().restart(failing(index))),
        Some((false, index)) => drop(step.events.target().restart(failing(index))),
        None => {}
    }
    let answer = invoke(|deadline| step.handle(payload, deadline)).unwrap();
    let event = |record: tributary_aws::kinesis::StreamRecord| {
        assert!(Event::from_json(&record.data).is_ok());
        String::from_utf8(record.data).unwrap()
    };
    let events = step.events.target().restart([]).into_iter().map(event).collect();
    (answer, events, step.quarantine.target().restart([]))
}
