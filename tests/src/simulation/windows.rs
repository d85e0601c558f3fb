//! Reference for windows: computes each one from every event that was not late for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tributary_aws::windows::{Item, ItemKey};
use tributary_config::Configuration;
use tributary_model::config_error::ConfigError;
use tributary_model::event::Event;
use tributary_testkit::clock;
use tributary_testkit::service::SimWindows;
use tributary_windows::aggregate::Sample;
use tributary_windows::{Phase, Spec, TimeBasis, Window};

use super::lateness;
use super::oracle::{Found, Verdict};
use super::world::{World, configuration};

/// Windows that overlap and close early, so that many readings are late and many windows are
/// revised.
const OVERLAPPING: &str = r#"
[[windows]]
id = "overlapping"
dataset = "telemetry"
key = ["entity", "status"]
size = "20s"
slide = "5s"
allowed_lateness = "10s"
retention = "20m"
measures = ["temperature_c", "humidity_pct"]
count_by = ["status"]
"#;

/// Maximum time that a window may stay open after its end when no shard brings records: the idle
/// timeout, one run of the schedule, and a margin.
const TIMEOUT: SignedDuration = SignedDuration::from_mins(5);

/// Returns the shipped window specs and the one above.
pub(super) fn specs() -> Result<Vec<Spec>, ConfigError> {
    static SPECS: LazyLock<Result<Vec<Spec>, ConfigError>> = LazyLock::new(|| {
        let mut configuration = configuration()?;
        let more = Configuration::with_pipeline(OVERLAPPING)?;
        configuration.pipeline.windows.extend(more.pipeline.windows);
        configuration.window_specs()
    });
    SPECS.clone()
}

/// Returns true when no window is overdue to be closed, emitted or marked as emitted.
pub(super) fn are_emitted(store: &SimWindows) -> bool {
    let limit = clock::now() - TIMEOUT;
    store.items().iter().all(|item| item.due.is_none_or(|due| due > limit))
}

/// Reference for one window: its number of events and the values of each measure.
#[derive(Debug, Default)]
struct Reference {
    count: usize,
    values: BTreeMap<String, Vec<(Timestamp, f64)>>,
}

/// Checks the windows of a simulation that has ended.
pub(super) fn evaluate(
    verdict: &mut Verdict,
    world: &World,
    found: &Found,
) -> Result<(), ConfigError> {
    let specs = specs()?;
    let mut stored = BTreeMap::new();
    // Windows of clocks that are far ahead are removed before they end, and may be opened again.
    let is_ahead = |key: &&ItemKey| clock::now() < key.start;
    let restarted = world.windows.restarted();
    for key in restarted.iter().filter(|key| !is_ahead(key)) {
        verdict.faults.push(format!("{key:?} was removed, and restarted"));
    }
    for Item { key, body, .. } in world.windows.removed().into_iter().chain(world.windows.items()) {
        match Window::from_json(&body) {
            Ok(window) => {
                stored.insert(key, window);
            }
            Err(error) => verdict.faults.push(format!("unreadable window: {error}")),
        }
    }
    let removed: BTreeSet<_> = world.windows.removed().into_iter().map(|item| item.key).collect();
    let was_in_time = |event: &Event<'_>, spec: &Spec, key: &ItemKey| {
        let window = stored.get(key).filter(|_| removed.contains(key));
        window.is_some_and(|window| window.contains(Sample::of(event, spec).id, None))
    };
    let wanted = reference(world, found, &specs, was_in_time);
    lateness::evaluate(verdict, world, &found.late, &specs, was_in_time);
    verdict.late = found.late.len() as u64;
    let mut reported = BTreeMap::new();
    for event in found.windows.values() {
        let id = |window: &Value| {
            let text = |name: &str| window[name].as_str().unwrap_or_default().to_owned();
            let group = event["entity"].as_str().unwrap_or_default().to_owned();
            let start = text("start").parse().unwrap_or(Timestamp::MIN);
            let key = ItemKey { spec: text("spec"), group, start };
            (key, window["revision"].as_u64().unwrap_or(u64::MAX))
        };
        let ((key, revision), event) = (id(&event["window"]), event);
        match stored.get(&key) {
            Some(window) if revision <= u64::from(window.revision()) => {}
            Some(_) => verdict.faults.push(format!("{key:?}: revision {revision} is unexpected")),
            None => verdict.faults.push(format!("window event without a stored window: {key:?}")),
        }
        verdict.revisions += u64::from(revision > 0);
        reported.insert((key, revision), event);
    }
    for (key, reference) in wanted.iter().filter(|(key, _)| !restarted.contains(key)) {
        let Some(window) = stored.get(key) else {
            verdict.losses.push(format!("window {key:?} is missing"));
            continue;
        };
        let Some(spec) = specs.iter().find(|spec| spec.id == key.spec) else { continue };
        let event = window.event(spec, &key.group);
        let count = event.measures.get("count").copied();
        if let Some(wrong) = differs(reference, &event) {
            let text = format!("{key:?} has {count:?} of {} events: {wrong}", reference.count);
            let is_more = count.is_some_and(|count| count > exact(reference.count));
            if is_more { &mut verdict.doubles } else { &mut verdict.losses }.push(text);
        }
        let is_over = key_end(spec, key) < clock::now() - TIMEOUT;
        match window.phase() {
            Phase::Pending => verdict.faults.push(format!("{key:?} stays pending")),
            Phase::Open if is_over => verdict.faults.push(format!("{key:?} was never closed")),
            Phase::Open => {}
            Phase::Closed => {
                for revision in 0..=u64::from(window.revision()) {
                    if !reported.contains_key(&(key.clone(), revision)) {
                        verdict
                            .losses
                            .push(format!("{key:?}: revision {revision} was never emitted"));
                    }
                }
                let last = reported.get(&(key.clone(), u64::from(window.revision())));
                let said = last.map(|event| event["measures"].clone());
                if said.is_some_and(|said| said != serde_json::json!(event.measures)) {
                    verdict
                        .faults
                        .push(format!("{key:?}: emitted values differ from the stored ones"));
                }
            }
        }
    }
    let strange = stored.keys().filter(|key| !wanted.contains_key(*key));
    verdict.faults.extend(strange.map(|key| format!("window {key:?} is unexpected")));
    Ok(())
}

fn key_end(spec: &Spec, key: &ItemKey) -> Timestamp {
    key.start.checked_add(spec.size.0).unwrap_or(Timestamp::MAX)
}

/// Returns the keys of the windows of an event.
pub(super) fn keys(event: &Event<'_>, spec: &Spec) -> impl Iterator<Item = ItemKey> {
    let time = match spec.time {
        TimeBasis::Event => event.event_time,
        TimeBasis::Received => event.received_at,
    };
    let part = |name: &String| match name.as_str() {
        "entity" => event.entity.clone().into_owned(),
        _ => event.attributes.get(name).map_or("unknown".into(), ToString::to_string),
    };
    let group = spec.key.iter().map(part).collect::<Vec<_>>().join("/");
    let (size, slide) = (spec.size.0.as_secs(), spec.slide.as_secs());
    let second = time.as_second();
    let last = second - second.rem_euclid(slide);
    let starts = (0..).map(move |n| last - n * slide).take_while(move |it| it + size > second);
    let spec = spec.id.clone();
    starts.map(move |start| ItemKey {
        spec: spec.clone(),
        group: group.clone(),
        start: Timestamp::from_second(start).unwrap_or(Timestamp::MIN),
    })
}

/// Computes the reference: each event of the stream once in each of its windows, unless it was
/// late. One that its window has, which was removed since, was late when it was delivered again.
fn reference(
    world: &World,
    found: &Found,
    specs: &[Spec],
    was_in_time: impl Fn(&Event<'_>, &Spec, &ItemKey) -> bool,
) -> BTreeMap<ItemKey, Reference> {
    let mut windows: BTreeMap<ItemKey, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    for record in world.events.all() {
        let Ok(event) = Event::from_json(&record.data) else { continue };
        if event.window.is_some() {
            continue;
        }
        for spec in specs.iter().filter(|spec| spec.dataset == event.dataset) {
            for key in keys(&event, spec) {
                let late = found.late.get(event.event_id.as_ref()).into_iter().flatten();
                let is_late = late.into_iter().any(|it| it.is_late_for(spec, key.start));
                if !is_late || was_in_time(&event, spec, &key) {
                    let events = windows.entry(key).or_default();
                    events.insert(event.event_id.to_string(), record.data.clone());
                }
            }
        }
    }
    let refer = |(key, events): (ItemKey, BTreeMap<String, Vec<u8>>)| {
        let mut reference = Reference { count: events.len(), ..Reference::default() };
        let spec = specs.iter().find(|spec| spec.id == key.spec)?;
        for data in events.values() {
            let event = Event::from_json(data).ok()?;
            for name in &spec.measures {
                if let Some(value) = event.measures.get(name) {
                    let values = reference.values.entry(name.clone()).or_default();
                    values.push((event.event_time, *value));
                }
            }
        }
        Some((key, reference))
    };
    windows.into_iter().filter_map(refer).collect()
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn exact(count: usize) -> f64 {
    count as f64
}

/// Returns the first measure in which a window event differs from the reference.
fn differs(reference: &Reference, event: &Event<'_>) -> Option<String> {
    let mut wanted = vec![("count".to_owned(), exact(reference.count))];
    for (name, values) in &reference.values {
        let n = exact(values.len());
        let sum: f64 = values.iter().map(|(_, value)| value).sum();
        let mean = sum / n;
        let square: f64 = values.iter().map(|(_, value)| (value - mean).powi(2)).sum();
        let by = |fold: fn(f64, f64) -> f64| values.iter().map(|it| it.1).reduce(fold);
        wanted.push((format!("{name}_sum"), sum));
        wanted.push((format!("{name}_mean"), mean));
        wanted.push((format!("{name}_std"), (square / n).sqrt()));
        wanted.push((format!("{name}_min"), by(f64::min)?));
        wanted.push((format!("{name}_max"), by(f64::max)?));
    }
    wanted.into_iter().find_map(|(name, wanted)| {
        let got = event.measures.get(&name).copied();
        let is_alike = got.is_some_and(|got| (got - wanted).abs() <= 1e-9 * wanted.abs().max(1.0));
        (!is_alike).then(|| format!("{name} is {got:?}, expected {wanted}"))
    })
}
