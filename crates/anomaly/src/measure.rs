//! State of one measure of one key, and the evaluation of its next value.

use serde::{Deserialize, Serialize};

use super::season::Season;
use super::{AnomalyKind, AnomalySpec, MAX_Z};

/// Maximum absolute value: larger ones are cut, so that arithmetic cannot overflow.
const MAX_VALUE: f64 = 1e15;

/// Maximum forecast error that enters variance and level, in usual errors.
const MAX_ERROR_SPREADS: f64 = 3.0;

/// Minimum usual deviation as a part of the level, for a series that has never changed.
const MIN_SPREAD_RATIO: f64 = 1e-4;

/// Minimum absolute value that is stored: smaller ones become 0.
const MIN_MAGNITUDE: f64 = 1e-9;

/// Relative tolerance of equality: two means of the same readings can differ in their last digits.
const EQUALITY_TOLERANCE: f64 = 1e-9;

/// Logarithm of the probability below which a run of equal values means a stuck sensor.
const LN_STUCK_PROBABILITY: f64 = -13.815_510_557_964_274; // one in a million

/// Minimum length of such a run, in windows after the first.
const MIN_STUCK_RUN: u32 = 3;

/// Repeat rate assumed before any value has been seen.
const INITIAL_REPEAT_RATE: f32 = 0.1;
/// Minimum weight of a new value in the repeat rate.
const REPEAT_LEARNING_RATE: f64 = 1e-3;

/// Factor that slows the learning of the usual trend while a series may be drifting.
const DRIFT_TREND_RATE: f64 = 0.25;

/// Minimum outliers on one side before their shape is classified.
const MIN_SHAPE_OUTLIERS: u32 = 3;

/// Minimum growth of outliers, as a part of their distance, to count as moving.
const MIN_MOVE_RATIO: f64 = 0.35;

/// Parameters of a spec, in the form used by the evaluation.
#[derive(Clone, Debug)]
pub(super) struct Tuning {
    spec: AnomalySpec,
    step_s: i64,
    floor: f64,
    /// Weight of a new value in the level, in the variance, and in the variance of the trend.
    alpha: f64,
    scale_rate: f64,
    trend_rate: f64,
    /// Factor from the difference of the two means to the trend per window.
    to_trend: f64,
    /// Deviation of the trend caused by noise of deviation 1 alone.
    noise_trend: f64,
}

impl Tuning {
    pub(super) fn new(spec: &AnomalySpec, step_s: i64, floor: f64) -> Self {
        let rate = |half_life: f64| 1.0 - (-std::f64::consts::LN_2 / half_life).exp();
        let alpha = rate(spec.half_life);
        Self {
            spec: spec.clone(),
            step_s,
            floor,
            alpha,
            scale_rate: rate(f64::from(spec.warm_up)),
            trend_rate: rate(f64::from(spec.memory)),
            to_trend: alpha / (1.0 - alpha),
            noise_trend: (2.0 * alpha.powi(3) / (2.0 - alpha).powi(3)).sqrt(),
        }
    }
}

/// State of a measure. The names on the wire are short because the item of each window holds one
/// state per measure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// Number of windows seen.
    n: u32,
    /// Start of the last window, in seconds since 1970.
    t: i64,
    /// Value of the last window.
    x: f64,
    /// Exponentially weighted mean of the values, without the season.
    a: f64,
    /// Exponentially weighted mean of `a`.
    b: f64,
    /// Variance of forecast errors.
    v: f32,
    /// Usual trend per window.
    c: f32,
    /// Variance of the trends around `c`.
    w: f32,
    /// Rate at which a value repeats that of the window before, 0 to 1.
    r: f32,
    /// Number of consecutive windows that repeated the value before them.
    #[serde(default, skip_serializing_if = "is_zero")]
    run: u32,
    /// `true` if a stuck sensor moved again in this window.
    #[serde(default, skip_serializing_if = "is_zero")]
    back: bool,
    /// Number of consecutive windows with an unusual trend; the sign is its direction.
    #[serde(default, skip_serializing_if = "is_zero")]
    drift: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    out: Option<Outliers>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    season: Option<Season>,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// Consecutive outliers on one side: the amounts by which they missed the forecast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Outliers {
    n: u32,
    /// The second outlier. The first window may still hold the old level in its beginning.
    from: f64,
    /// Sum from the second outlier on.
    sum: f64,
}

impl Outliers {
    fn after(before: Option<Self>, residual: f64) -> Self {
        match before.filter(|out| out.from * residual > 0.0) {
            None => Self { n: 1, from: residual, sum: 0.0 },
            Some(Self { n: 1, .. }) => Self { n: 2, from: residual, sum: residual },
            Some(Self { n, from, sum }) => {
                Self { n: n.saturating_add(1), from, sum: sum + residual }
            }
        }
    }

    fn mean(self) -> f64 {
        self.sum / f64::from(self.n.saturating_sub(1).max(1))
    }

    fn kind(self, residual: f64) -> AnomalyKind {
        if self.n < MIN_SHAPE_OUTLIERS {
            AnomalyKind::Spike
        } else if (residual - self.from) * residual.signum() > MIN_MOVE_RATIO * self.mean().abs() {
            AnomalyKind::Drift
        } else {
            AnomalyKind::LevelShift
        }
    }
}

/// Score and kind of anomaly; `None` while the history is too short.
pub(super) type Verdict = Option<(f64, Option<AnomalyKind>)>;

/// A value and its deviation from the forecast.
struct Expected {
    /// Value without the season.
    value: f64,
    residual: f64,
    /// Usual size of the residual.
    spread: f64,
    z: f64,
}

impl Tuning {
    /// Evaluates the finite `value` of the window that starts at `second`.
    pub(super) fn evaluate(
        &self,
        before: Option<&State>,
        second: i64,
        value: f64,
    ) -> (Verdict, State) {
        let (verdict, mut state) = self.next(before, second, value);
        for number in [&mut state.x, &mut state.a, &mut state.b] {
            *number = short(*number);
        }
        if let Some(out) = &mut state.out {
            (out.from, out.sum) = (short(out.from), short(out.sum));
        }
        (verdict, state)
    }

    fn next(&self, before: Option<&State>, second: i64, value: f64) -> (Verdict, State) {
        let x = value.clamp(-MAX_VALUE, MAX_VALUE);
        let Some(before) = before.filter(|before| before.n > 0) else {
            return (None, self.first(second, x));
        };
        let mut state = before.clone();
        state.n = before.n.saturating_add(1);
        state.t = before.t.max(second);
        state.x = x;
        let missed = self.missed(before.t, second);

        let is_same = (x - before.x).abs() <= EQUALITY_TOLERANCE * x.abs().max(before.x.abs());
        let was_stuck = self.is_stuck(before);
        state.run = if is_same { before.run.saturating_add(1) } else { 0 };
        let rate = (1.0 / (f64::from(before.n) + 2.0)).max(REPEAT_LEARNING_RATE);
        state.r += (rate * (f64::from(u8::from(is_same)) - f64::from(before.r))) as f32;

        // The level during a long gap, or behind a stuck sensor, is unknown. The window in which a
        // stuck sensor moves again still holds the old value in part, so the next window restarts
        // too.
        let is_back = was_stuck && !is_same;
        state.back = is_back;
        if missed > f64::from(self.spec.warm_up) || is_back || before.back {
            self.restart(&mut state, second);
            return (None, state);
        }
        let expected = self.expect(before, second, x, missed);
        let is_ready = before.n >= self.spec.warm_up;
        let verdict = |kind| is_ready.then_some((expected.z, kind));

        if self.is_stuck(&state) {
            (state.out, state.drift) = (None, 0);
            return (verdict(Some(AnomalyKind::Stuck)), state);
        }
        if is_ready && expected.z.abs() > self.spec.z {
            let kind = self.outlier(before, &mut state, &expected);
            return (verdict(Some(kind)), state);
        }
        state.out = None;
        // A repeating value may come from a stuck sensor and must not make the errors look small.
        let may_be_stuck = state.run > 1 && state.r < 0.5;
        self.follow(before, &mut state, &expected, may_be_stuck);
        let drifts = self.is_drift(state.drift);
        if let Some(season) = &mut state.season
            && !drifts
        {
            learn(season, &mut state.a, &mut state.b, second, x, self.step_s);
        }
        (verdict(drifts.then_some(AnomalyKind::Drift)), state)
    }

    fn first(&self, second: i64, x: f64) -> State {
        let season = self.spec.seasonal.map(|_| {
            let mut season = Season::default();
            season.learn(second, x, self.step_s);
            season
        });
        let r = INITIAL_REPEAT_RATE;
        State { n: 1, t: second, x, a: x, b: x, r, season, ..State::default() }
    }

    /// Makes the current value the level and keeps the rest of the baseline.
    fn restart(&self, state: &mut State, second: i64) {
        let level = state.x - season_at(state.season.as_ref(), second);
        self.set(state, level, f64::from(state.c));
        (state.out, state.drift) = (None, 0);
    }

    /// Returns the number of missing windows between two starts: 0 if the later one is the next, or
    /// not later.
    fn missed(&self, before: i64, second: i64) -> f64 {
        let steps = second.saturating_sub(before) / self.step_s;
        #[expect(clippy::cast_precision_loss, reason = "a count of windows")]
        let missed = steps.saturating_sub(1).max(0) as f64;
        missed
    }

    fn is_stuck(&self, state: &State) -> bool {
        state.n > self.spec.warm_up
            && state.run >= MIN_STUCK_RUN
            && f64::from(state.run) * f64::from(state.r).clamp(1e-3, 1.0).ln()
                < LN_STUCK_PROBABILITY
    }

    fn expect(&self, before: &State, second: i64, x: f64, missed: f64) -> Expected {
        let value = x - season_at(before.season.as_ref(), second);
        let trend = (before.a - before.b) * self.to_trend;
        let level = 2.0 * before.a - before.b;
        let residual = value - (level + trend);
        let spread = self.spread(before) + missed * f64::from(before.w).sqrt();
        let z = (residual / spread).clamp(-MAX_Z, MAX_Z);
        Expected { value, residual, spread, z }
    }

    /// Returns the usual forecast error, which is above 0.
    fn spread(&self, state: &State) -> f64 {
        let min =
            (MIN_SPREAD_RATIO * state.a.abs()).max(self.floor).max(f64::from(f32::MIN_POSITIVE));
        f64::from(state.v).sqrt().max(min)
    }

    /// Classifies an outlier and updates the state. The forecast replaces the outlier's value until
    /// `accept` consecutive outliers form a new level.
    fn outlier(&self, before: &State, state: &mut State, expected: &Expected) -> AnomalyKind {
        let residual = expected.residual;
        let out = Outliers::after(before.out, residual);
        let kind = out.kind(residual);
        if out.n == 1 {
            // Outliers on alternating sides mean that the variance has grown: learn it.
            Self::widen(state, expected, self.scale_rate);
        }
        state.a += self.alpha * (expected.value - residual - state.a);
        state.b += self.alpha * (state.a - state.b);
        if out.n < self.spec.accept {
            state.out = Some(out);
            return kind;
        }
        state.out = None;
        let trend = (before.a - before.b) * self.to_trend;
        if kind == AnomalyKind::Drift {
            let faster = (residual - out.from) / f64::from(out.n - 2);
            self.set(state, expected.value, trend + faster);
            state.drift = self.spec.accept.cast_signed() * residual.signum() as i32;
        } else {
            // A new level gives no reason to keep the trend that a drift had.
            let trend = if before.drift == 0 { trend } else { f64::from(before.c) };
            self.set(state, 2.0 * state.a - state.b + out.mean(), trend);
            state.drift = 0;
        }
        kind
    }

    /// Sets the two means so that they give this level and trend.
    fn set(&self, state: &mut State, level: f64, trend: f64) {
        state.a = (level - trend / self.to_trend).clamp(-MAX_VALUE, MAX_VALUE);
        state.b = (state.a - trend / self.to_trend).clamp(-MAX_VALUE, MAX_VALUE);
    }

    /// Updates level, trend and their usual deviations with a value.
    fn follow(&self, before: &State, state: &mut State, expected: &Expected, may_be_stuck: bool) {
        let Expected { value, residual, spread, .. } = *expected;
        let known = f64::from(before.n);
        let cut = if before.n < 8 {
            residual
        } else {
            residual.clamp(-MAX_ERROR_SPREADS * spread, MAX_ERROR_SPREADS * spread)
        };
        let value = value - residual + cut;
        state.a += self.alpha * (value - state.a);
        state.b += self.alpha * (state.a - state.b);
        if !may_be_stuck {
            Self::widen(state, expected, self.scale_rate.max(1.0 / known));
        }

        let trend = (state.a - state.b) * self.to_trend;
        let bend = trend - f64::from(before.c);
        let usual = f64::from(before.w);
        let noise = self.noise_trend * self.spread(before);
        let is_ready = before.n >= self.spec.memory;
        state.drift = if is_ready {
            self.drift_after(before.drift, bend / usual.sqrt().max(noise))
        } else {
            0
        };
        // While the series may be drifting, the baseline adapts slowly, so that it does not absorb
        // the drift.
        let haste = if state.drift == 0 { 1.0 } else { DRIFT_TREND_RATE };
        state.c += (haste * self.scale_rate.max(1.0 / known) * bend) as f32;
        let bound = if is_ready {
            MAX_ERROR_SPREADS * MAX_ERROR_SPREADS * usual.max(noise * noise)
        } else {
            f64::INFINITY
        };
        let rate = haste * self.trend_rate.max(1.0 / known);
        state.w += (rate * ((bend * bend).min(bound) - usual)) as f32;
    }

    /// Returns the number of consecutive windows with an unusual trend; the sign is its direction.
    /// Once that is a drift, half the threshold is enough to remain one.
    fn drift_after(&self, before: i32, score: f64) -> i32 {
        let bar = if self.is_drift(before) { self.spec.drift_z / 2.0 } else { self.spec.drift_z };
        let sign = score.signum() as i32;
        if score.abs() <= bar {
            0
        } else if sign == before.signum() {
            before.saturating_add(sign)
        } else {
            sign
        }
    }

    fn is_drift(&self, windows: i32) -> bool {
        windows.unsigned_abs() >= self.spec.accept
    }

    /// Updates the variance with a forecast error.
    fn widen(state: &mut State, expected: &Expected, rate: f64) {
        let bound =
            if state.n < 8 { f64::INFINITY } else { (MAX_ERROR_SPREADS * expected.spread).powi(2) };
        let square = expected.residual.powi(2).min(bound);
        state.v += (rate * (square - f64::from(state.v))) as f32;
    }
}

/// Rounds to twelve digits, which keeps the JSON text short and exact.
fn short(number: f64) -> f64 {
    if number.abs() < MIN_MAGNITUDE {
        0.0
    } else {
        format!("{number:.11e}").parse().unwrap_or(number)
    }
}

fn season_at(season: Option<&Season>, second: i64) -> f64 {
    season.map_or(0.0, |season| season.at(second))
}

/// Updates the season, and keeps the level continuous when the season comes into use.
fn learn(season: &mut Season, a: &mut f64, b: &mut f64, second: i64, x: f64, step_s: i64) {
    let was_ready = season.is_ready();
    season.learn(second, x, step_s);
    if season.is_ready() && !was_ready {
        let at = season.at(second);
        *a -= at;
        *b -= at;
    }
}
