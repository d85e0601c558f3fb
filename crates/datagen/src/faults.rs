//! Sensors that fail for an hour or so, and the labels that say which, when and how.
//!
//! Whether a device's sensor fails is a function of seed, device and time, like the weather: these
//! faults take no chance from the other ones, and turned off they change no byte.

use crate::random::{hash, signed, unit};
use crate::settings::Settings;
use crate::weather::in_units;
use crate::{DAY_MS, HOUR_MS};

/// A device has at most one fault in each slot, which is over before the slot is.
const SLOT_MS: i64 = 6 * HOUR_MS;

/// The most faults a device can have in a day.
pub(crate) const MAX_PER_DAY: f64 = 4.0;

/// What is wrong with the values of a sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// One reading jumps away.
    Spike,
    /// For a while all readings are off by as much.
    LevelShift,
    /// Readings run away from the truth by some of their unit an hour, and are then right again.
    Drift,
    /// The sensor shows what it showed when it got stuck.
    Stuck,
    /// Readings move away from the truth by some of their unit a month.
    SlowDrift,
}

impl FaultKind {
    /// The name in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spike => "spike",
            Self::LevelShift => "level_shift",
            Self::Drift => "drift",
            Self::Stuck => "stuck",
            Self::SlowDrift => "slow_drift",
        }
    }
}

/// A fault of a sensor: what a detector should find.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// The device, as its records name it.
    pub device: String,
    /// What is wrong.
    pub kind: FaultKind,
    /// The first instant of it, in milliseconds since 1970.
    pub from_ms: i64,
    /// The first instant after it; `None` where it does not end.
    pub to_ms: Option<i64>,
    /// How far readings are off: in all for a spike and a level shift, an hour for a drift, a month
    /// for a slow one; 0 for a stuck sensor. In the sensor's unit.
    pub size: f64,
}

/// A fault that lasts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Episode {
    pub(crate) kind: FaultKind,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) size: f64,
}

impl Episode {
    /// By how much a reading is off. A stuck sensor's is not: it shows another time.
    pub(crate) fn offset(&self, time_ms: i64) -> f64 {
        match self.kind {
            FaultKind::LevelShift => self.size,
            FaultKind::Drift => self.size * in_units(time_ms - self.from_ms, HOUR_MS),
            _ => 0.0,
        }
    }
}

/// The faults of all devices.
#[derive(Debug)]
pub(crate) struct Faults {
    seed: u64,
    /// How likely each kind is in a slot.
    shares: [(FaultKind, f64); 3],
    /// The slot that each device is in, with its fault; empty where there are no faults.
    slots: Vec<(i64, Option<Episode>)>,
}

impl Faults {
    pub(crate) fn new(settings: &Settings) -> Self {
        let rates = &settings.rates;
        let share = |a_day: f64| a_day * in_units(SLOT_MS, DAY_MS);
        let shares = [
            (FaultKind::LevelShift, share(rates.shift)),
            (FaultKind::Drift, share(rates.fast_drift)),
            (FaultKind::Stuck, share(rates.stuck)),
        ];
        let is_off = shares.iter().all(|&(_, share)| share <= 0.0);
        let devices = if is_off { 0 } else { settings.devices as usize };
        Self { seed: settings.seed, shares, slots: vec![(i64::MIN, None); devices] }
    }

    /// The fault that a device has at a time.
    pub(crate) fn at(&mut self, device: usize, time_ms: i64) -> Option<Episode> {
        let number = time_ms.div_euclid(SLOT_MS);
        let slot = self.slots.get(device)?;
        if slot.0 != number {
            self.slots[device] = (number, self.episode(device, number));
        }
        self.slots[device].1.filter(|episode| (episode.from_ms..episode.to_ms).contains(&time_ms))
    }

    fn episode(&self, device: usize, slot: i64) -> Option<Episode> {
        let bits = |what: u64| hash([self.seed, 30 + what, device as u64, slot.cast_unsigned()]);
        let mut chance = unit(bits(0));
        let kind = self.shares.iter().find_map(|&(kind, share)| {
            chance -= share;
            (chance < 0.0).then_some(kind)
        })?;
        let (shortest_h, longest_h) = match kind {
            FaultKind::Drift => (0.5, 1.5),
            FaultKind::Stuck => (0.5, 2.5),
            _ => (1.0, 3.0),
        };
        let hour = in_units(HOUR_MS, 1);
        let starts = (hour * (0.25 + 2.0 * unit(bits(1)))) as i64;
        let lasts = (hour * (shortest_h + (longest_h - shortest_h) * unit(bits(2)))) as i64;
        let size = signed(bits(3));
        // In °C, or °C an hour.
        let size = match kind {
            FaultKind::LevelShift => size.signum() + 3.0 * size,
            FaultKind::Drift => 4.0 * size.signum() + 8.0 * size,
            _ => 0.0,
        };
        let from_ms = slot.saturating_mul(SLOT_MS).saturating_add(starts);
        Some(Episode { kind, from_ms, to_ms: from_ms.saturating_add(lasts), size })
    }
}
