//! Properties of every event, rejection and alert, whatever their source.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use serde_json::Value;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::sns;
use tributary_model::bad_row::Rejection;
use tributary_model::event::{Event, Kind};
use tributary_pipeline::transform::{Outcome, Transformer, read_raw};
use tributary_rules::Rules;

use crate::bench::{CONFIGURATION, transformer};

/// Maximum length of a message: a person reads it, with the bytes of the row beside it.
const MAX_MESSAGE_BYTES: usize = 1024;

thread_local! {
    static TRANSFORMER: &'static Transformer = Box::leak(Box::new(transformer()));
    static RULES: OnceCell<Rules> = const { OnceCell::new() };
}

/// Returns the deployed rules, with the limit of their sender.
pub(super) fn rules() -> Rules {
    CONFIGURATION.rules().unwrap().with_max_message_bytes(sns::MAX_MESSAGE_BYTES)
}

/// Runs a function with the deployed transformer.
pub(super) fn with_transformer<T>(run: impl FnOnce(&'static Transformer) -> T) -> T {
    TRANSFORMER.with(|transformer| run(transformer))
}

/// Transforms a raw record into the text of an event or a rejection, and asserts their properties.
pub(super) fn outcome_of(record: &[u8]) -> Result<String, Rejection> {
    let outcome = read_raw(record).and_then(|raw| {
        let outcome = with_transformer(|transformer| transformer.record(&raw))?;
        let Outcome::Event(event) = outcome else { unreachable!("no filter is shipped") };
        assert_eq!(event.received_at, raw.received_at);
        check_event(&event);
        Ok(serde_json::to_string(&event).unwrap())
    });
    outcome.inspect_err(check_rejection)
}

/// Asserts that a rejection is one short line.
pub(super) fn check_rejection(rejection: &Rejection) {
    let Rejection { code, field, message } = rejection;
    assert!(!message.is_empty() && message.len() <= MAX_MESSAGE_BYTES, "{code}: {message}");
    assert!(!message.contains('\n'), "{code}: {message}");
    assert!(!message.ends_with('.'), "{code}: {message}");
    assert_ne!(field.as_deref(), Some(""), "{code}: {message}");
}

/// Asserts that an event from `transform` meets the contract.
pub(super) fn check_event(event: &Event<'_>) {
    assert_eq!(event.kind, Kind::Reading);
    assert!(CONFIGURATION.datasets.by_name(&event.dataset).is_some(), "{}", event.dataset);
    let is_hex = |id: &str| id.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    assert!(event.event_id.len() == 32 && is_hex(&event.event_id), "{}", event.event_id);
    assert!(!event.entity.is_empty(), "the entity is not empty");
    assert_eq!(event.window, None);
    assert!(event.measures.iter().all(|(name, value)| !name.is_empty() && value.is_finite()));
    assert!(is_unique(event.measures.iter().map(|(name, _)| name)));
    assert!(!event.attributes.is_empty(), "the natural key is among the attributes");
    for (name, value) in event.attributes.iter() {
        assert!(!name.is_empty() && !value.is_empty(), "{name}: absent values are left out");
    }
    assert!(is_unique(event.attributes.iter().map(|(name, _)| name)));
    assert!(is_unique(event.tags.iter().map(AsRef::as_ref)));
    if let Some(place) = &event.location {
        assert!((-90.0..=90.0).contains(&place.lat) && (-180.0..=180.0).contains(&place.lon));
        assert!(place.cell.len() == 15 && is_hex(&place.cell), "{}", place.cell);
    }
    let dataset = CONFIGURATION.datasets.by_name(&event.dataset);
    let strange = dataset.and_then(|dataset| dataset.fields().mismatch(event));
    assert_eq!(strange, None, "an event has what its dataset declares");
    check_on_the_wire(event);
    check_alerts(event);
}

/// Asserts that an event is one line of JSON and stays the same when parsed and written again.
pub(super) fn check_on_the_wire(event: &Event<'_>) {
    let json = serde_json::to_vec(event).unwrap();
    assert!(!json.contains(&b'\n'));
    let read = Event::from_json(&json).unwrap();
    assert_eq!(
        serde_json::to_vec(&read).unwrap(),
        json,
        "parsed and written again, it is the same"
    );
    let record = StreamRecord::new(&event.entity, json);
    assert!(!record.partition_key.is_empty() && record.partition_key.chars().count() <= 256);
}

/// Asserts that each shipped rule evaluates without an error, and that its message fits SNS.
fn check_alerts(event: &Event<'_>) {
    let (alerts, errors) = RULES.with(|slot| slot.get_or_init(rules).alerts(event));
    assert_eq!(errors, [], "shipped rules evaluate");
    for alert in alerts {
        let bytes = alert.message.len();
        assert!(bytes <= sns::MAX_MESSAGE_BYTES, "{bytes} bytes");
        let message: Value = serde_json::from_str(&alert.message).unwrap();
        assert_eq!(message["alert_id"], alert.alert_id.to_string());
    }
}

fn is_unique<'n>(names: impl IntoIterator<Item = &'n str>) -> bool {
    let mut seen = BTreeSet::new();
    names.into_iter().all(|name| seen.insert(name))
}
