//! The oracle: checks what must hold at the end of a simulation, whatever faults were injected.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tributary_aws::producer::Order;
use tributary_kpl as kpl;
use tributary_model::config_error::ConfigError;
use tributary_model::event::{Event, Kind};
use tributary_model::raw::RawRecord;

use super::alerts::{self, Due};
use super::input::{Expected, expected, is_refused_reading, is_tagged_rightly, without_receipt};
use super::lateness::LateRecord;
use super::world::{World, configuration};
use super::{metrics, windows};

/// Findings of the oracle.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Records or alerts that are missing.
    pub losses: Vec<String>,
    /// Records with two results, and alerts sent more often than a failure can explain.
    pub doubles: Vec<String>,
    /// Any other fault.
    pub faults: Vec<String>,
    /// Number of revisions of windows emitted after the first emission, which is no fault.
    pub revisions: u64,
    /// Number of late readings, which is no fault.
    pub late: u64,
    /// Number of windows that they missed because their shard was idle or blocked.
    pub late_by_absence: u64,
}

/// Output of a simulation, by id.
pub(super) struct Found {
    raw: BTreeSet<String>,
    pub(super) events: BTreeMap<String, Value>,
    /// Window events by id.
    pub(super) windows: BTreeMap<String, Value>,
    /// Late records, by the id of the event.
    pub(super) late: BTreeMap<String, Vec<LateRecord>>,
    /// Bytes of bad rows by record id.
    bad: BTreeMap<String, Vec<u8>>,
    bad_bytes: BTreeSet<Vec<u8>>,
    missing: BTreeSet<String>,
}

impl Verdict {
    /// Returns true if nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.losses.is_empty() && self.doubles.is_empty() && self.faults.is_empty()
    }

    /// Checks a simulation that has ended.
    ///
    /// # Errors
    ///
    /// When the compiled-in configuration is wrong.
    pub(super) fn of(world: &World) -> Result<Self, ConfigError> {
        let mut verdict = Self::default();
        let transformer = configuration()?.transformer()?;
        let found = verdict.found(world);
        let accepted = world.lock();

        let mut wanted = BTreeMap::new();
        for (id, row) in &accepted.rows {
            let is_excused = || {
                let object = accepted.deleted.get(id);
                object.is_some_and(|object| found.missing.contains(object))
            };
            let mut expected = expected(&transformer, row.dataset, &row.line);
            if let Expected::Event { event_id, event } = &expected
                && world.plan.refusals
                && is_refused_reading(event_id, event["entity"].as_str().unwrap_or_default())
            {
                expected = Expected::Bad;
            }
            match expected {
                Expected::Event { event_id, event } => {
                    match found.events.get(&event_id) {
                        Some(got) if *got == event => {}
                        Some(got) => verdict.faults.push(format!("{event} became {got}")),
                        None if is_excused() => {}
                        None => verdict.losses.push(format!("record {id}: no event {event_id}")),
                    }
                    if found.bad.contains_key(id) {
                        verdict.doubles.push(format!("record {id}: an event, and quarantined"));
                    }
                    wanted.insert(event_id, event);
                }
                Expected::Bad => match found.bad.get(id) {
                    Some(bytes) if holds(bytes, &row.line) => {}
                    Some(bytes) => verdict.faults.push(format!(
                        "record {id}: {} was quarantined as {}",
                        String::from_utf8_lossy(&row.line),
                        String::from_utf8_lossy(bytes)
                    )),
                    None if is_excused() => {}
                    None => verdict.losses.push(format!("record {id}: bad, not quarantined")),
                },
            }
        }
        for bytes in &accepted.poison {
            if !found.bad_bytes.contains(bytes) {
                verdict.losses.push(format!("poison {}", String::from_utf8_lossy(bytes)));
            }
        }
        verdict.nothing_invented(&found, &wanted, &accepted);
        verdict.alerts(world, &found)?;
        metrics::evaluate(&mut verdict, world, &found);
        windows::evaluate(&mut verdict, world, &found)?;
        verdict.check_counts(world);
        if world.plan.order == Order::PerKey {
            verdict.order(world, &accepted);
        }
        Ok(verdict)
    }

    fn found(&mut self, world: &World) -> Found {
        let mut raw = BTreeSet::new();
        for record in world.raw.all() {
            let records = match kpl::user_records(&record.data) {
                None => vec![record.data.as_slice()],
                Some(Ok(records)) => records.into_iter().map(|it| it.data).collect(),
                Some(Err(_)) => Vec::new(),
            };
            let records = records.into_iter().filter_map(|data| RawRecord::from_json(data).ok());
            raw.extend(records.map(|record| record.record_id.into_owned()));
        }
        let mut events: BTreeMap<String, Value> = BTreeMap::new();
        let mut windows: BTreeMap<String, Value> = BTreeMap::new();
        for record in world.events.all() {
            let Ok(event) = Event::from_json(&record.data) else { continue };
            let (kind, id) = (event.kind, event.event_id.into_owned());
            let event: Value = serde_json::from_slice(&record.data).unwrap_or_default();
            if kind == Kind::Window {
                // Compared with its arrival time: copies of one revision must be identical.
                if windows.insert(id.clone(), event.clone()).is_some_and(|other| other != event) {
                    self.doubles.push(format!("two different window events {id}"));
                }
                continue;
            }
            if !Event::from_json(&record.data).is_ok_and(|event| is_tagged_rightly(&event)) {
                self.faults.push(format!("event {id} has a wrong tag clock_ahead"));
            }
            let event = without_receipt(event);
            if events.insert(id.clone(), event.clone()).is_some_and(|other| other != event) {
                self.doubles.push(format!("two different events {id}"));
            }
        }
        let mut found = Found {
            raw,
            events,
            windows,
            late: BTreeMap::new(),
            bad: BTreeMap::new(),
            bad_bytes: BTreeSet::new(),
            missing: BTreeSet::new(),
        };
        for line in world.quarantine.lines() {
            let Ok(row) = serde_json::from_slice::<Value>(&line) else {
                self.faults.push(format!("quarantine: {}", String::from_utf8_lossy(&line)));
                continue;
            };
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            if text("code") == "object_missing" {
                let object = text("source").split('#').next().unwrap_or_default().to_owned();
                found.missing.insert(object);
                continue;
            }
            let bytes = base64_simd::STANDARD.decode_to_vec(text("payload_base64"));
            let bytes = bytes.unwrap_or_default();
            if text("code") == "late" {
                let event: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                let id = event["event_id"].as_str().unwrap_or_default().to_owned();
                let shard = text("shard_id").rsplit('-').next().and_then(|it| it.parse().ok());
                found.late.entry(id).or_default().push(LateRecord {
                    message: text("message"),
                    shard: shard.unwrap_or(usize::MAX),
                    sequence_number: text("sequence_number"),
                    rejected_at: text("rejected_at").parse().unwrap_or_default(),
                });
                continue;
            }
            found.bad_bytes.insert(bytes.clone());
            found.bad.insert(text("record_id"), bytes);
        }
        found
    }

    fn nothing_invented(
        &mut self,
        found: &Found,
        wanted: &BTreeMap<String, Value>,
        accepted: &super::world::Accepted,
    ) {
        let strange = found.raw.iter().filter(|id| !accepted.rows.contains_key(*id));
        self.faults.extend(strange.map(|id| format!("raw record {id} is unexpected")));
        let strange = found.events.keys().filter(|id| !wanted.contains_key(*id));
        self.faults.extend(strange.map(|id| format!("event {id} is unexpected")));
        let is_known = |(id, bytes): &(&String, &Vec<u8>)| {
            accepted.rows.contains_key(*id) || accepted.poison.contains(*bytes)
        };
        let strange = found.bad.iter().filter(|row| !is_known(row));
        self.faults.extend(strange.map(|(id, _)| format!("bad row {id} is unexpected")));
    }

    /// Checks that each due alert was sent at least once; [`alerts::evaluate`] checks the
    /// repetitions.
    fn alerts(&mut self, world: &World, found: &Found) -> Result<(), ConfigError> {
        let rules = alerts::rules()?;
        let records = world.events.all();
        let mut due = Due::of(records.iter().map(|record| &record.data[..]), &windows::specs()?)?;
        due.of_no_data_alerts(records.iter().map(|record| &record.data[..]), &rules);
        let sent = alerts::evaluate(self, &world.claims, &world.topic, &world.invocations, &rules);
        for id in &due.must {
            if !sent.contains_key(id) {
                self.losses.push(format!("alert {id} was never sent"));
            }
        }
        for ids in &due.one_of {
            if ids.iter().all(|id| !sent.contains_key(id)) {
                self.losses.push(format!("none of these alerts was sent: {ids:?}"));
            }
        }
        let devices = found.events.values().filter(|event| event["dataset"] == "telemetry");
        let devices: BTreeSet<_> = devices.filter_map(|event| event["entity"].as_str()).collect();
        for id in alerts::of_hours_to_come(&devices) {
            if sent.contains_key(&id) {
                self.faults.push(format!("alert {id} of an hour to come was used up"));
            }
        }
        let strange = sent.keys().filter(|id| !due.may.contains(*id));
        self.faults.extend(strange.map(|id| format!("alert {id} is unexpected")));
        Ok(())
    }

    /// Checks that no record of a key is stored before an earlier one of the same key and source.
    fn order(&mut self, world: &World, accepted: &super::world::Accepted) {
        // Position and key of the first copy of each record.
        let mut first: BTreeMap<String, (String, String)> = BTreeMap::new();
        for stored in world.raw.all() {
            let Ok(record) = RawRecord::from_json(&stored.data) else { continue };
            let place = (stored.sequence_number.clone(), stored.partition_key.clone());
            let slot = first.entry(record.record_id.into_owned()).or_insert_with(|| place.clone());
            if place.0 < slot.0 {
                *slot = place;
            }
        }
        for (source, ids) in &accepted.sequences {
            let mut last: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
            for id in ids {
                let Some((number, key)) = first.get(id) else { continue };
                if let Some((before, earlier)) = last.insert(key, (number, id))
                    && before > number.as_str()
                {
                    let text = format!("{source}: record {id} of key {key} overtook {earlier}");
                    self.faults.push(text);
                }
            }
        }
    }

    /// Checks `in = out + quarantined + filtered + late + undelivered` for each batch and `matched
    /// = sent + cooled + digested + refused + undelivered` for the alerts of each rule.
    fn check_counts(&mut self, world: &World) {
        let log_lines = world.log_lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let of_records = ["in", "out", "quarantined", "filtered", "late", "undelivered"];
        let of_alerts = ["matched", "sent", "cooled", "digested", "refused", "undelivered"];
        let of_alerts = of_alerts.map(|name| format!("alerts_{name}"));
        let of_alerts = of_alerts.each_ref().map(String::as_str);
        for line in log_lines.iter() {
            let names = match line["message"].as_str() {
                Some("batch") => of_records.as_slice(),
                Some("alerts") => of_alerts.as_slice(),
                _ => continue,
            };
            let count = |name: &&str| line[*name].as_u64().unwrap_or(u64::MAX / 8);
            if count(&names[0]) != names[1..].iter().map(count).sum::<u64>() {
                self.faults.push(format!("counts do not balance: {line}"));
            }
        }
    }
}

/// Returns true if the bytes of a bad row are the line, or a raw record with the line as its
/// payload.
fn holds(bytes: &[u8], line: &[u8]) -> bool {
    let of_record = || RawRecord::from_json(bytes).ok().map(|it| it.payload.get().as_bytes());
    bytes == line || of_record().is_some_and(|payload| payload == line)
}
