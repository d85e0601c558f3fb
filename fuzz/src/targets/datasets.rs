//! Payload of a raw record, read as a row of each dataset.

use std::borrow::Cow;

use serde_json::value::RawValue;
use tributary_datasets::Dataset;
use tributary_model::bad_row::Rejection;
use tributary_model::event::{CLOCK_AHEAD, Event, is_clock_ahead};
use tributary_model::pairs::Pairs;
use tributary_pipeline::transform::Outcome;

use super::judged::{check_event, check_rejection, with_transformer};
use crate::bench::{CONFIGURATION, now, swollen};
use crate::{Target, seeds};

pub(super) const TARGET: Target = Target { name: "datasets", check, seeds: seeds::payloads };

fn check(input: &[u8]) {
    let input = swollen(input);
    let Ok(payload) = str::from_utf8(&input) else { return };
    for dataset in CONFIGURATION.datasets.iter() {
        let received = judged(dataset, payload, Some(now()));
        let read = judged(dataset, payload, None);

        match (&received, &read) {
            (Ok(received), Ok(read)) => {
                assert_eq!(received.received_at, now());
                assert_eq!(read.received_at, read.event_time);
                let mut same = Event { received_at: now(), ..read.clone() };
                if is_clock_ahead(same.event_time, now()) {
                    same.tags.push(CLOCK_AHEAD.into());
                }
                assert_eq!(*received, same, "arrival time changes nothing else");
            }
            (received, read) => assert_eq!(received.as_ref().err(), read.as_ref().err()),
        }
        if let Some(payload) = rewritten(payload) {
            let same = judged(dataset, &payload, Some(now()));
            let code = |it: Rejection| (it.code, it.field);
            assert_eq!(received.map_err(code), same.map_err(code), "blanks and escapes of names");
        }
    }
}

fn judged<'p>(
    dataset: &'p Dataset,
    payload: &'p str,
    received_at: Option<jiff::Timestamp>,
) -> Result<Event<'p>, Rejection> {
    let outcome = with_transformer(|it| it.payload(dataset, payload, received_at));
    match outcome {
        Ok(Outcome::Event(event)) => {
            assert_eq!(event.dataset, dataset.name());
            check_event(&event);
            Ok(*event)
        }
        Ok(Outcome::Filtered) => unreachable!("no filter is shipped"),
        Err(rejection) => {
            check_rejection(&rejection);
            Err(rejection)
        }
    }
}

/// Rewrites an object: each value is kept verbatim, everything between them is written anew.
fn rewritten(payload: &str) -> Option<String> {
    let fields: Pairs<Cow<'_, str>, &RawValue> = serde_json::from_str(payload).ok()?;
    serde_json::to_string(&fields).ok()
}
