//! Body of a message in the queue of `ingest-s3`: an S3 notification, or the rest of an object.

use fn_ingest_s3::message::{Task, continuation, tasks};
use serde_json::{Value, json};
use tributary_model::bad_row::Code;
use tributary_rows::Position;

use super::judged::check_rejection;
use crate::bench::{CONFIGURATION, picked};
use crate::{Target, seeds};

pub(super) const TARGET: Target =
    Target { name: "queue-messages", check, seeds: seeds::queue_messages };

fn check(input: &[u8]) {
    let Ok(body) = str::from_utf8(input) else { return };
    let asked = tasks(body, &CONFIGURATION.datasets);
    if let [Err(rejection)] = &asked[..]
        && rejection.code == Code::InvalidJson
    {
        check_rejection(rejection);
        return;
    }
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    let records = value["Records"].as_array().map_or(usize::from(!value.is_null()), Vec::len);
    assert!(value.is_null() || asked.len() <= records, "a record names one object at most");
    for task in asked.iter().flatten() {
        let position = Position { offset: 1 + picked(input, 9_999) as u64, row: 7 };
        the_rest_is_read_back(task, position);
        the_rest_is_read_back(task, Position { offset: 0, row: 1 });
    }
    for rejection in asked.iter().filter_map(|it| it.as_ref().err()) {
        check_rejection(rejection);
        let is_known = matches!(rejection.code, Code::NotUtf8 | Code::UnknownEvent);
        assert!(is_known, "a key that is not text, or an event of another kind");
    }

    // The message reads the same when rewritten, and one more object is one more.
    let Some(records) = value["Records"].as_array() else { return };
    let again: Vec<_> =
        tasks(&value.to_string(), &CONFIGURATION.datasets).into_iter().map(known).collect();
    let asked: Vec<_> = asked.into_iter().map(known).collect();
    assert_eq!(again, asked);
    if value["tributary"].is_string() || value["Event"].is_string() {
        return;
    }
    let good = json!({"eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "b"}, "object": {"key": "flood/good.csv"}}});
    let records: Vec<_> = records.iter().chain([&good]).collect();
    let more = tasks(&json!({ "Records": records }).to_string(), &CONFIGURATION.datasets);
    let more: Vec<_> = more.into_iter().map(known).collect();
    assert_eq!(more[..more.len() - 1], asked);
    assert!(more.last().unwrap().as_ref().is_ok_and(|it| it.contains("flood/good.csv")));
}

fn known(task: Result<Task, tributary_model::bad_row::Rejection>) -> Result<String, Code> {
    let task = task.map_err(|rejection| rejection.code)?;
    let dataset = task.dataset.as_ref().map(|dataset| dataset.name());
    Ok(format!("{:?} {dataset:?} {:?}", task.object, task.start))
}

fn the_rest_is_read_back(task: &Task, position: Position) {
    let body = continuation(task, position);
    let mut read = tasks(&body, &CONFIGURATION.datasets);
    assert_eq!(read.len(), 1);
    let start = (position.offset > 0).then_some(position);
    let expected = Task { start, ..task.clone() };
    assert_eq!(known(read.remove(0)), known(Ok(expected)));
}
