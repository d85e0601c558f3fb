//! Reference for lateness: a reading is late if its own shard had passed its window before it, or
//! if it came after the watermark. What else is late was behind an idle or a blocked shard.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tributary_aws::windows::ItemKey;
use tributary_model::event::{Event, Kind};
use tributary_testkit::mapping::kinesis::Settled;
use tributary_testkit::service::{Stored, WatermarkRise};
use tributary_windows::clock::clock_name;
use tributary_windows::{Spec, TimeBasis};

use super::oracle::Verdict;
use super::windows::keys;
use super::world::World;

/// A reading whose clock is further ahead of its arrival moves no watermark.
const MAX_AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// Tolerance for the clocks of the processes.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// Record that is in quarantine because it is late.
#[derive(Clone, Debug)]
pub(super) struct LateRecord {
    /// Message of the bad row, which names the windows.
    pub message: String,
    /// Index of the shard.
    pub shard: usize,
    /// Sequence number of the record.
    pub sequence_number: String,
    /// Time of the decision.
    pub rejected_at: Timestamp,
}

impl LateRecord {
    /// Returns true if the record is late for this window, for any reason.
    pub(super) fn is_late_for(&self, spec: &Spec, start: Timestamp) -> bool {
        self.message.contains(&format!(" {} from {start}", spec.id))
    }

    fn is_after_retention(&self, spec: &Spec, start: Timestamp) -> bool {
        let said = format!(" {} from {start} (whose retention is over)", spec.id);
        self.message.contains(&said)
    }
}

/// Reason why a reading is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// It came after a reading of its shard, or after a rise of the watermark, that passed it.
    Order,
    /// Its window may have been removed.
    Retention,
    /// Its shard was idle or blocked, or it was parked.
    Absence,
}

/// Reading on the stream.
struct Reading {
    dataset: String,
    sequence_number: String,
    event_time: Timestamp,
    received_at: Timestamp,
    stored: Arc<Stored>,
}

impl Reading {
    fn time(&self, spec: &Spec) -> Timestamp {
        match spec.time {
            TimeBasis::Event => self.event_time,
            TimeBasis::Received => self.received_at,
        }
    }
}

/// All that was on the stream, and what was read of it when.
struct Lateness<'w> {
    world: &'w World,
    specs: &'w [Spec],
    rises: Vec<WatermarkRise>,
    /// Readings of each shard, in order.
    shards: Vec<Vec<Reading>>,
    /// Records of each shard that were done or parked.
    settled: Vec<Vec<Settled>>,
}

/// Checks each late record, and counts the windows that it missed behind an idle or blocked shard.
pub(super) fn evaluate(
    verdict: &mut Verdict,
    world: &World,
    late: &BTreeMap<String, Vec<LateRecord>>,
    specs: &[Spec],
    was_in_time: impl Fn(&Event<'_>, &Spec, &ItemKey) -> bool,
) {
    if late.is_empty() {
        return;
    }
    let lateness = Lateness::of(world, specs);
    for record in late.values().flatten() {
        let shard = lateness.shards.get(record.shard);
        let is_meant = |reading: &&Reading| reading.sequence_number == record.sequence_number;
        let Some(reading) = shard.and_then(|it| it.iter().find(is_meant)) else {
            verdict.faults.push(format!("no late reading is on the stream: {record:?}"));
            continue;
        };
        let Ok(event) = Event::from_json(&reading.stored.data) else { continue };
        for spec in specs.iter().filter(|spec| spec.dataset == event.dataset) {
            let windows = keys(&event, spec).filter(|key| record.is_late_for(spec, key.start));
            for key in windows.filter(|key| !was_in_time(&event, spec, key)) {
                match lateness.cause(record, reading, spec, key.start) {
                    Some(Cause::Absence) => verdict.late_by_absence += 1,
                    Some(Cause::Order | Cause::Retention) => {}
                    None => verdict.faults.push(format!("not late: {record:?}")),
                }
            }
        }
    }
}

impl<'w> Lateness<'w> {
    fn of(world: &'w World, specs: &'w [Spec]) -> Self {
        let count = world.events.shard_count();
        let mut settled = vec![Vec::new(); count];
        for it in world.reader_of_windows().settled.borrow().iter() {
            settled[it.shard].push(it.clone());
        }
        let shards = (0..count).map(|shard| readings(world, shard)).collect();
        Self { world, specs, rises: world.windows.rises(), shards, settled }
    }

    /// Returns why a record is late for a window, or `None` if nothing explains it.
    fn cause(
        &self,
        record: &LateRecord,
        reading: &Reading,
        spec: &Spec,
        start: Timestamp,
    ) -> Option<Cause> {
        if record.is_after_retention(spec, start) {
            let removed = start + spec.retention.0 - MAX_AHEAD - TOLERANCE;
            return (removed <= record.rejected_at).then_some(Cause::Retention);
        }
        let limit = start + spec.size.0 + spec.delay.0 + spec.allowed_lateness.0;
        let clock = clock_name(spec);
        let rise = self.rises.iter().find(|rise| rise.clock == clock && limit <= rise.to)?;
        let before = self.before(record, spec);
        if rise.at < reading.stored.arrived_at
            || before.iter().any(|(_, it)| limit <= it.time(spec))
        {
            return Some(Cause::Order);
        }
        let is_absent = self.was_passed_over(record, rise) || !self.was_active(&before, spec, rise);
        is_absent.then_some(Cause::Absence)
    }

    /// Returns the readings before a record, with their shards, that moved the watermark of its
    /// shard: those of the shard itself and of all shards that it came from.
    fn before(&self, record: &LateRecord, spec: &Spec) -> Vec<(usize, &Reading)> {
        let mut shards = vec![record.shard];
        let mut next = 0;
        while let Some(&shard) = shards.get(next) {
            let parents = self.world.events.parents(shard);
            shards
                .extend(parents.into_iter().filter(|it| !shards.contains(it)).collect::<Vec<_>>());
            next += 1;
        }
        let is_before = |reading: &&Reading| {
            reading.sequence_number < record.sequence_number && reading.dataset == spec.dataset
        };
        let of_shard = |&shard: &usize| {
            let readings = self.shards[shard].iter().filter(is_before);
            readings.map(move |reading| (shard, reading))
        };
        let mut before: Vec<_> = shards.iter().flat_map(of_shard).collect();
        before.sort_by_key(|(_, reading)| &reading.sequence_number);
        let mut highest = None;
        before.retain(|(_, reading)| {
            let time = reading.time(spec);
            let is_moving = time <= reading.received_at + MAX_AHEAD && Some(time) > highest;
            highest = if is_moving { Some(time) } else { highest };
            is_moving
        });
        before
    }

    /// Returns true if the record was parked before the rise, or a later one of its shard was
    /// settled: then its batch had been parked.
    fn was_passed_over(&self, record: &LateRecord, rise: &WatermarkRise) -> bool {
        self.settled[record.shard].iter().any(|it| {
            let is_over = it.ended <= rise.at && record.sequence_number <= it.last;
            is_over && (it.is_parked || record.sequence_number < it.first)
        })
    }

    /// Returns true if one of the readings `before` was done so recently that its shard had to hold
    /// the watermark at the rise.
    ///
    /// A shard is noted as alive once in a third of its idle timeout. An invocation decides by what
    /// it read when it began.
    fn was_active(&self, before: &[(usize, &Reading)], spec: &Spec, rise: &WatermarkRise) -> bool {
        let of_clock =
            || self.specs.iter().filter(|it| it.dataset == spec.dataset && it.time == spec.time);
        let idle = of_clock().map(|it| it.idle_timeout.0).max().unwrap_or_default();
        let horizon = of_clock().map(|it| it.size.0 + it.delay.0 + it.allowed_lateness.0).max();
        let oldest = rise.to - horizon.unwrap_or_default();
        let since = rise.at - idle * 2 / 3 + TOLERANCE;
        let until = self.world.functions.windows.began_before(rise.at);
        before.iter().filter(|(_, reading)| oldest <= reading.time(spec)).any(|(shard, reading)| {
            let number = &reading.sequence_number;
            self.settled[*shard].iter().any(|it| {
                let is_it = !it.is_parked && (&it.first..=&it.last).contains(&number);
                is_it && since < it.begun && it.ended < until
            })
        })
    }
}

/// Returns the readings of a shard.
fn readings(world: &World, shard: usize) -> Vec<Reading> {
    let records = world.events.records(shard);
    let reading = |record: &Arc<Stored>| {
        let event = Event::from_json(&record.data).ok()?;
        (event.kind == Kind::Reading).then(|| Reading {
            dataset: event.dataset.clone().into_owned(),
            sequence_number: record.sequence_number.clone(),
            event_time: event.event_time,
            received_at: event.received_at,
            stored: record.clone(),
        })
    };
    records.iter().filter_map(reading).collect()
}
