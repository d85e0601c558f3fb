//! Sequence of records: turns of the devices, and faults on the way.

use std::ops::Range;
use std::sync::Arc;

use tributary_datasets::Dataset;

use crate::DAY_MS;
use crate::delayed::DelayedRecords;
use crate::faults::{Episode, FaultKind, Faults, Label};
use crate::model::schema::SchemaModel;
use crate::model::{self, Model, Reading};
use crate::random::{Sequence, hash, normal, signed, unit};
use crate::settings::{FeedKind, LAST_MS, Rates, Settings, SettingsError};
use crate::weather::in_units;

/// Mean number of consecutive readings that a device drops.
const MEAN_DROPOUT_READINGS: u32 = 8;

/// Maximum delay of a late record, in intervals.
const MAX_DELAY_INTERVALS: f64 = 60.0;

/// Record, as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// One JSON object on one line, without a line end.
    pub json: &'a [u8],
    /// Value of the dataset's partition column.
    pub key: &'a str,
    /// Sending time, in simulated milliseconds since 1970; never decreases.
    pub sent_ms: i64,
}

/// Counts of a simulation so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Returned records, including duplicates and late ones.
    pub records: u64,
    /// Readings that were never sent.
    pub dropped: u64,
    /// Records that were sent late.
    pub late: u64,
    /// Records that were sent a second time.
    pub duplicates: u64,
    /// Readings with a spike.
    pub spikes: u64,
}

/// Generator of a feed.
pub struct Simulation {
    model: Box<dyn Model>,
    settings: Settings,
    /// Number of readings taken or dropped so far.
    step: u64,
    /// Number of readings that each device still drops.
    silent: Vec<u32>,
    delayed: DelayedRecords,
    faults: Faults,
    /// Labels of the sensor faults, if enabled, and the start of the last labelled fault of each
    /// device.
    labels: Option<(Vec<Label>, Vec<Option<i64>>)>,
    /// Random sequences of noise, dropout, late records, duplicates and spikes: a change of one
    /// rate leaves the other draws unchanged.
    chances: [Sequence; 5],
    counts: Counts,
    /// Current record, with the range of its key.
    json: Vec<u8>,
    key: Range<usize>,
}

impl Simulation {
    /// Creates a feed of `kind`.
    ///
    /// # Errors
    ///
    /// Returns an error if the settings are invalid.
    pub fn new(kind: FeedKind, settings: &Settings) -> Result<Self, SettingsError> {
        settings.check(kind)?;
        Ok(Self::of_model(model::of(kind, settings)?, settings))
    }

    /// Creates a feed of any dataset, from its schema alone. Its rows are of that dataset, without
    /// faults.
    ///
    /// Storms and sensor faults other than spikes are of the built-in feeds only.
    ///
    /// # Errors
    ///
    /// Returns an error if the settings are invalid, or if the parts of the schema contradict each
    /// other, so that no row has a good value for each.
    pub fn of_dataset(dataset: &Arc<Dataset>, settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self::of_model(Box::new(SchemaModel::checked(dataset, settings)?), settings))
    }

    fn of_model(model: Box<dyn Model>, settings: &Settings) -> Self {
        Self {
            model,
            step: 0,
            silent: vec![0; settings.devices as usize],
            delayed: DelayedRecords::default(),
            faults: Faults::new(settings),
            labels: None,
            chances: [1, 2, 3, 4, 5].map(|purpose| Sequence::new(settings.seed, purpose)),
            counts: Counts::default(),
            json: Vec::with_capacity(2048),
            key: 0..0,
            settings: settings.clone(),
        }
    }

    /// Returns the counts so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Enables labels of sensor faults. Returns true if this feed has sensors that can fail.
    ///
    /// The caller takes the labels regularly; until then they stay in memory.
    pub fn enable_labels(&mut self) -> bool {
        let has_sensors = self.model.units().is_some();
        if has_sensors {
            self.labels = Some((Vec::new(), vec![None; self.settings.devices as usize]));
        }
        has_sensors
    }

    /// Returns the labels of faults that readings have shown since the last call, in the order of
    /// the first reading that shows each.
    pub fn take_labels(&mut self) -> Vec<Label> {
        self.labels.as_mut().map(|(labels, _)| std::mem::take(labels)).unwrap_or_default()
    }

    /// Returns the next record; `None` once the duration is over and all late records are returned.
    #[expect(clippy::should_implement_trait, reason = "a record borrows from the simulation")]
    #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "models write text")]
    pub fn next(&mut self) -> Option<Record<'_>> {
        let sent_ms = loop {
            let (device, time_ms) = self.place();
            let over = self
                .settings
                .duration_ms
                .is_some_and(|length| time_ms.saturating_sub(self.settings.start_ms) >= length)
                || time_ms > LAST_MS;
            if let Some((due_ms, mut late)) = self.delayed.pop((!over).then_some(time_ms)) {
                self.key = late.key;
                std::mem::swap(&mut self.json, &mut late.json);
                self.delayed.free.push(late.json);
                if late.is_duplicate {
                    self.counts.duplicates += 1;
                } else {
                    self.counts.late += 1;
                }
                break due_ms;
            }
            if over {
                return None;
            }
            self.step += 1;
            if self.take(device, time_ms) {
                break time_ms;
            }
        };
        self.counts.records += 1;
        let key = str::from_utf8(&self.json[self.key.clone()]).expect("models write text");
        Some(Record { json: &self.json, key, sent_ms })
    }

    /// Returns the device that comes next, and the time of its reading. The devices take turns
    /// within each interval.
    fn place(&self) -> (usize, i64) {
        let devices = u64::from(self.settings.devices);
        let (round, device) = (self.step / devices, self.step % devices);
        let interval = self.settings.interval_ms;
        let within = interval.saturating_mul(device.cast_signed()) / devices.cast_signed();
        let time_ms = round
            .cast_signed()
            .saturating_mul(interval)
            .saturating_add(within)
            .saturating_add(self.settings.start_ms);
        (device as usize, time_ms)
    }

    /// Takes one reading. Returns true if there is a record to send now.
    fn take(&mut self, device: usize, time_ms: i64) -> bool {
        let rates = &self.settings.rates;
        let [noises, dropouts, lates, duplicates, spikes] = &mut self.chances;
        let noise = [(); 3].map(|()| normal(noises.bits()));
        let has_noise = noises.chance(rates.noise);
        let (is_late, late_by) = (lates.chance(rates.late), unit(lates.bits()));
        let (again, again_after) = (duplicates.chance(rates.duplicate), unit(duplicates.bits()));
        let (spike, size) = (spikes.chance(rates.spike), signed(spikes.bits()));
        let (drops_out, spell) = drops_out(dropouts, rates);

        let silent = &mut self.silent[device];
        let was_silent = *silent > 0;
        if was_silent {
            *silent -= 1;
        } else if drops_out {
            *silent = spell - 1;
        }
        if was_silent || drops_out {
            self.counts.dropped += 1;
            return false;
        }

        let episode = self.faults.at(device, time_ms);
        let is_stuck = episode.is_some_and(|episode| episode.kind == FaultKind::Stuck);
        let spike = spike && !is_stuck;
        // Sensors drift for half a year at most.
        let months = in_units(time_ms - self.settings.start_ms, 30 * DAY_MS).min(6.0);
        let reading = Reading {
            device,
            time_ms,
            noise: if has_noise { noise } else { [0.0; 3] },
            drift: drift(&self.settings, device, months),
            spike: if spike { size.signum() * (0.5 + 0.5 * size.abs()) } else { 0.0 },
            offset: episode.map_or(0.0, |episode| episode.offset(time_ms)),
            is_stuck,
        };
        self.json.clear();
        let Some(key) = self.model.write(&reading, &mut self.json) else { return false };
        self.key = key;

        self.counts.spikes += u64::from(spike);
        self.label(&reading, episode);
        let interval = in_units(self.settings.interval_ms, 1);
        let mut sent_ms = time_ms;
        if is_late {
            // Most are a few intervals late, some are very late.
            let intervals = 1.0 + (MAX_DELAY_INTERVALS - 1.0) * late_by * late_by * late_by;
            sent_ms = time_ms.saturating_add((intervals * interval) as i64);
            self.delayed.push(sent_ms, false, &self.json, self.key.clone());
        }
        if again {
            let due_ms = sent_ms.saturating_add((again_after * interval) as i64);
            self.delayed.push(due_ms, true, &self.json, self.key.clone());
        }
        !is_late
    }

    /// Labels the fault of the reading that was just written.
    fn label(&mut self, reading: &Reading, episode: Option<Episode>) {
        let Some((labels, reported)) = &mut self.labels else { return };
        let Some((a_spike, a_month)) = self.model.units() else { return };
        let mut label = |kind, from_ms, to_ms, size| {
            let key = self.json.get(self.key.clone()).unwrap_or_default();
            let device = String::from_utf8_lossy(key).into_owned();
            labels.push(Label { device, kind, from_ms, to_ms, size });
        };
        let time_ms = reading.time_ms;
        let reported = &mut reported[reading.device];
        let slow = drift(&self.settings, reading.device, 1.0);
        if reported.is_none() && slow != 0.0 {
            label(FaultKind::SlowDrift, time_ms, None, slow * a_month);
        }
        let begun = reported.get_or_insert(i64::MIN);
        if let Some(Episode { kind, from_ms, to_ms, size }) = episode
            && from_ms > *begun
        {
            *begun = from_ms;
            label(kind, from_ms, Some(to_ms), size);
        }
        if reading.spike != 0.0 {
            let to_ms = time_ms.saturating_add(1);
            label(FaultKind::Spike, time_ms, Some(to_ms), reading.spike * a_spike);
        }
    }
}

/// Draws whether a device starts to drop readings now, and how many.
fn drops_out(chances: &mut Sequence, rates: &Rates) -> (bool, u32) {
    // Chosen so that the share `dropout` of all readings is dropped.
    let mean = f64::from(MEAN_DROPOUT_READINGS);
    let enters = rates.dropout / (mean * (1.0 - rates.dropout) + rates.dropout);
    let falls = chances.chance(enters);
    let spell = 1 + (chances.bits() % u64::from(2 * MEAN_DROPOUT_READINGS - 1)) as u32;
    (falls, spell)
}

/// Returns the drift of a device's sensor after `months`, as a share of the model's drift in one
/// month.
fn drift(settings: &Settings, device: usize, months: f64) -> f64 {
    let bits = |what| hash([settings.seed, 3, what, device as u64]);
    if unit(bits(0)) >= settings.rates.drift {
        return 0.0;
    }
    let speed = signed(bits(1));
    speed.signum() * (0.5 + 0.5 * speed.abs()) * months
}
