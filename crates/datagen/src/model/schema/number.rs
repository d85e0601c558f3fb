//! Numbers of a column: a daily curve with noise, inside the range of the schema.

use tributary_datasets::ColumnNumber;

use super::super::Reading;
use crate::DAY_MS;
use crate::random::{hash, normal, signed, unit};
use crate::weather::{in_units, wave};

/// Most decimals of a number.
const MAX_DECIMALS: usize = 9;

/// Usual values by unit of a measure.
const USUAL: [(&str, [f64; 2]); 18] = [
    ("c", [5.0, 30.0]),
    ("pct", [20.0, 90.0]),
    ("hpa", [990.0, 1030.0]),
    ("km", [0.0, 100.0]),
    ("m", [0.0, 10.0]),
    ("mm", [0.0, 10.0]),
    ("kph", [0.0, 60.0]),
    ("mps", [0.0, 15.0]),
    ("s", [0.0, 600.0]),
    ("min", [0.0, 120.0]),
    ("h", [0.0, 24.0]),
    ("kwh", [0.0, 10.0]),
    ("w", [0.0, 3_000.0]),
    ("v", [220.0, 240.0]),
    ("a", [0.0, 16.0]),
    ("ugm3", [5.0, 60.0]),
    ("ppm", [400.0, 1_200.0]),
    ("deg", [0.0, 90.0]),
];

/// Usual values of a measure without a known unit.
const USUAL_OTHERWISE: [f64; 2] = [0.0, 100.0];

/// Number of a column.
#[derive(Clone, Debug)]
pub(super) struct NumberColumn {
    /// Values by unit, for devices in turn.
    pub(super) variants: Vec<Variant>,
    /// Values that stand for none.
    pub(super) missing: Vec<f64>,
    pub(super) has_comma: bool,
    /// `true` if a device always has the same value, as for coordinates.
    pub(super) is_constant: bool,
    /// `true` if spikes show in this column.
    pub(super) has_spikes: bool,
}

/// Values of a column in one unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    /// Lowest and highest value.
    pub(super) bounds: [f64; 2],
    /// Lowest and highest value on a usual day.
    usual: [f64; 2],
    decimals: usize,
}

impl NumberColumn {
    /// Returns the number of a reading as text, with a decimal point.
    pub(super) fn text(&self, seed: u64, column: usize, reading: &Reading) -> String {
        let variant = &self.variants[reading.device % self.variants.len()];
        let [low, high] = variant.bounds;
        let value = self.value(variant, seed, column, reading).clamp(low, high);
        let mut value = variant.rounded(value);
        if self.missing.contains(&value) {
            let step = variant.step();
            value = variant.rounded(if value + step <= high { value + step } else { value - step });
        }
        variant.text(value)
    }

    fn value(&self, variant: &Variant, seed: u64, column: usize, reading: &Reading) -> f64 {
        let [low, high] = variant.usual;
        let bits = |what: u64| hash([seed, 52, what, column as u64, reading.device as u64]);
        if self.is_constant {
            return low + (high - low) * unit(bits(0));
        }
        let (middle, half) = (low.midpoint(high), 0.5 * (high - low));
        let days = in_units(reading.time_ms, DAY_MS);
        let day = wave(days - 8.0 / 24.0 + 0.05 * signed(bits(1)));
        let has_noise = reading.noise[0].abs() > 0.0;
        let noise = if has_noise { normal(bits(2 ^ reading.time_ms.cast_unsigned())) } else { 0.0 };
        let spike = if self.has_spikes { 3.0 * reading.spike } else { 0.0 };
        middle + half * (0.25 * signed(bits(0)) + 0.6 * day + 0.03 * noise + spike)
    }
}

impl Variant {
    /// Creates the values of the measure `name` in the unit that a row names; `None` if the numbers
    /// of the column have no value in common.
    pub(super) fn new(
        name: &str,
        numbers: &[ColumnNumber<'_>],
        unit: Option<&str>,
        limits: [f64; 2],
    ) -> Option<Self> {
        let first = numbers.first()?;
        let mut bounds = limits;
        for number in numbers {
            let [low, high] = number.bounds().map(|value| number.in_column(value, unit));
            bounds = [bounds[0].max(low), bounds[1].min(high)];
        }
        let known = name.rsplit_once('_').and_then(|(_, unit)| {
            USUAL.iter().find(|(known, _)| *known == unit).map(|(_, usual)| *usual)
        });
        let usual = known.unwrap_or(USUAL_OTHERWISE).map(|value| first.in_column(value, unit));
        let usual = usual_within(usual, bounds);
        let span = usual[1] - usual[0];
        let is_integer = numbers.iter().any(|it| it.is_integer());
        let decimals = if is_integer { 0 } else { decimals(span) };
        let mut variant = Self { bounds, usual, decimals };
        variant.bounds = [
            if bounds[0].is_finite() { bounds[0] } else { usual[0] - 10.0 * span.max(1.0) },
            if bounds[1].is_finite() { bounds[1] } else { usual[1] + 10.0 * span.max(1.0) },
        ];
        variant.narrow(|text| numbers.iter().all(|number| number.accepts(text, unit)))
    }

    /// Moves the bounds inwards to the next values that `accepts` takes.
    fn narrow(mut self, accepts: impl Fn(&str) -> bool) -> Option<Self> {
        let step = self.step();
        let near = |value: f64, sign: f64| {
            let steps = [0.0, 1.0, 2.0, 3.0, 4.0];
            let mut values = steps.iter().map(|steps| self.rounded(value + sign * steps * step));
            values.find(|value| {
                let text = self.text(*value);
                accepts(&text) || accepts(&text.replace('.', ","))
            })
        };
        self.bounds = [near(self.bounds[0], 1.0)?, near(self.bounds[1], -1.0)?];
        (self.bounds[0] <= self.bounds[1]).then_some(self)
    }

    fn step(&self) -> f64 {
        1.0 / self.scale()
    }

    fn scale(&self) -> f64 {
        (0..self.decimals).fold(1.0, |scale, _| scale * 10.0)
    }

    /// Rounds to the decimals of the column; never -0.
    fn rounded(&self, value: f64) -> f64 {
        let scaled = value * self.scale();
        if scaled.is_finite() { scaled.round() / self.scale() + 0.0 } else { value }
    }

    fn text(&self, value: f64) -> String {
        format!("{value:.decimals$}", decimals = self.decimals)
    }
}

/// Returns the usual values inside bounds, or others if there are too few.
fn usual_within([low, high]: [f64; 2], [min, max]: [f64; 2]) -> [f64; 2] {
    let inside = [low.max(min), high.min(max)];
    if inside[1] - inside[0] >= 0.2 * (high - low) {
        return inside;
    }
    match (min.is_finite(), max.is_finite()) {
        (true, true) => [min + 0.25 * (max - min), min + 0.75 * (max - min)],
        (true, false) => [min, min + (high - low)],
        (false, true) => [max - (high - low), max],
        (false, false) => [low, high],
    }
}

/// Returns the decimals that give a span some hundred values.
fn decimals(span: f64) -> usize {
    let mut scaled = span.abs();
    let mut decimals = 0;
    while decimals < 1 || (scaled < 500.0 && decimals < MAX_DECIMALS) {
        scaled *= 10.0;
        decimals += 1;
    }
    decimals
}
