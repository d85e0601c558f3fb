//! Sensor faults that last about an hour, and labels with their device, time and kind.
//!
//! A sensor fault is a function of seed, device and time, like the weather. These faults draw
//! nothing from the sequences of the others, so turning them off changes no other byte.

use crate::random::{hash, signed, unit};
use crate::settings::Settings;
use crate::weather::in_units;
use crate::{DAY_MS, HOUR_MS};

/// Length of a slot. A device has at most one fault in each slot, which ends within the slot.
const SLOT_MS: i64 = 6 * HOUR_MS;

/// Maximum number of faults of a device in a day.
pub(crate) const MAX_PER_DAY: f64 = 4.0;

/// Kind of sensor fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// One reading jumps away.
    Spike,
    /// All readings of a period are off by the same amount.
    LevelShift,
    /// Readings drift from the truth by a constant amount per hour, and are then right again.
    Drift,
    /// The sensor repeats the value at which it got stuck.
    Stuck,
    /// Readings drift from the truth by a constant amount per month.
    SlowDrift,
}

impl FaultKind {
    /// Returns the name in labels.
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

/// Label of a sensor fault: what a detector should find.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// Device, as its records name it.
    pub device: String,
    /// Kind of fault.
    pub kind: FaultKind,
    /// Start of the fault, inclusive, in milliseconds since 1970.
    pub from_ms: i64,
    /// End of the fault, exclusive; `None` if it does not end.
    pub to_ms: Option<i64>,
    /// Size of the deviation in the sensor's unit: the total for a spike and a level shift, per
    /// hour for a drift, per month for a slow drift, and 0 for a stuck sensor.
    pub size: f64,
}

/// Fault with a duration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Episode {
    pub(crate) kind: FaultKind,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) size: f64,
}

impl Episode {
    /// Returns the offset of a reading. It is 0 for a stuck sensor, which shows an earlier reading
    /// instead.
    pub(crate) fn offset(&self, time_ms: i64) -> f64 {
        match self.kind {
            FaultKind::LevelShift => self.size,
            FaultKind::Drift => self.size * in_units(time_ms - self.from_ms, HOUR_MS),
            _ => 0.0,
        }
    }
}

/// Faults of all devices.
#[derive(Debug)]
pub(crate) struct Faults {
    seed: u64,
    /// Probability of each kind in a slot.
    shares: [(FaultKind, f64); 3],
    /// Current slot of each device, with its fault; empty if there are no faults.
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

    /// Returns the fault of a device at a time.
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
        let size = signed(bits(3));
        // Shortest and longest duration in hours, and the size in °C, or °C per hour.
        let (shortest_h, longest_h, size) = match kind {
            FaultKind::Drift => (0.5, 1.5, 4.0 * size.signum() + 8.0 * size),
            FaultKind::Stuck => (0.5, 2.5, 0.0),
            _ => (1.0, 3.0, size.signum() + 3.0 * size),
        };
        let hour = in_units(HOUR_MS, 1);
        let starts = (hour * (0.25 + 2.0 * unit(bits(1)))) as i64;
        let lasts = (hour * (shortest_h + (longest_h - shortest_h) * unit(bits(2)))) as i64;
        let from_ms = slot.saturating_mul(SLOT_MS).saturating_add(starts);
        Some(Episode { kind, from_ms, to_ms: from_ms.saturating_add(lasts), size })
    }
}
