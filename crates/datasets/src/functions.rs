//! Functions that a schema can call to derive a measure from others.
//!
//! A result is absent outside the valid range of its formula, where the formula still returns a
//! number, but a wrong one.

use tributary_model::domain::NumberSet;

/// A function of two measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// `dew_point`: °C, of air temperature (°C) and relative humidity (%).
    DewPoint,
    /// `heat_index`: °C, of air temperature (°C) and relative humidity (%).
    HeatIndex,
    /// `percent`: the first as a percentage of the second.
    Percent,
}

impl Function {
    const ALL: [(&str, Self); 3] = [
        ("dew_point", Self::DewPoint),
        ("heat_index", Self::HeatIndex),
        ("percent", Self::Percent),
    ];

    /// Returns the function of a name.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, function)| *function)
    }

    /// Returns the name in a schema.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, function)| *function == self).map_or("", |(name, _)| name)
    }

    /// Returns the names of all functions, for messages.
    pub(crate) fn names() -> String {
        Self::ALL.map(|(name, _)| name).join(", ")
    }

    /// Returns the result; `None` where the function is not defined.
    pub(crate) fn call(self, [first, second]: [f64; 2]) -> Option<f64> {
        match self {
            Self::DewPoint => dew_point_c(first, second),
            Self::HeatIndex => heat_index_c(first, second),
            Self::Percent => (second > 0.0).then(|| 100.0 * first / second),
        }
    }

    /// Returns the possible results for the possible arguments.
    pub(crate) fn results(self, [first, second]: [&NumberSet; 2]) -> NumberSet {
        match self {
            Self::DewPoint => dew_points_c(),
            Self::HeatIndex => heat_indices_c(),
            Self::Percent => match (first.hull(), second.is_whole()) {
                (Some((low, high)), true) if low >= 0.0 => NumberSet::between(0.0, 100.0 * high),
                (Some((low, _)), _) if low >= 0.0 => NumberSet::at_least(0.0),
                _ => NumberSet::any(),
            },
        }
    }
}

/// The range of air temperature, °C, in which the saturation vapour pressure over water is valid.
const OVER_WATER_C: std::ops::RangeInclusive<f64> = -45.0..=60.0;

/// The temperature, °C, at which air of `temperature_c` and `humidity_pct` would be saturated over
/// water, by the Magnus formula; `None` outside -45 to 60 °C and in air without any vapour.
///
/// Source: WMO-No. 8, Guide to Instruments and Methods of Observation, volume I, annex 4.B: 6.112
/// hPa, 17.62 and 243.12 °C.
fn dew_point_c(temperature_c: f64, humidity_pct: f64) -> Option<f64> {
    const SLOPE: f64 = 17.62;
    const OFFSET_C: f64 = 243.12;

    if !OVER_WATER_C.contains(&temperature_c) || humidity_pct <= 0.0 {
        return None;
    }
    let saturation = SLOPE * temperature_c / (OFFSET_C + temperature_c);
    let vapour = (humidity_pct / 100.0).ln() + saturation;
    let dew_point_c = OFFSET_C * vapour / (SLOPE - vapour);
    OVER_WATER_C.contains(&dew_point_c).then_some(dew_point_c)
}

/// Returns the possible values of [`dew_point_c`].
fn dew_points_c() -> NumberSet {
    NumberSet::between(*OVER_WATER_C.start(), *OVER_WATER_C.end())
}

/// Returns the possible values of [`heat_index_c`]: in dry air, the regression falls slightly below
/// the 80 °F it starts at.
fn heat_indices_c() -> NumberSet {
    NumberSet::between(25.0, 58.7)
}

/// Returns the apparent temperature in the shade, °C, by Rothfusz's regression with the adjustments
/// of the National Weather Service; `None` where the regression does not apply.
///
/// It applies from a heat index of 80 °F by the simple formula, up to the 112 °F to which its
/// adjustments reach, and to the 137 °F at which the chart of the service ends.
///
/// Source: <https://www.wpc.ncep.noaa.gov/html/heatindex_equation.shtml> and, for the chart,
/// <https://www.weather.gov/safety/heat-index>.
fn heat_index_c(temperature_c: f64, humidity_pct: f64) -> Option<f64> {
    const MIN_CHART_F: f64 = 80.0;
    const MAX_AIR_F: f64 = 112.0;
    /// Highest value that the chart rounds to its last entry.
    const MAX_CHART_F: f64 = 137.5;

    let (t, rh) = (temperature_c * 1.8 + 32.0, humidity_pct);
    let simple = 0.5 * (t + 61.0 + (t - 68.0) * 1.2 + rh * 0.094);
    if f64::midpoint(simple, t) < MIN_CHART_F || t > MAX_AIR_F {
        return None;
    }
    let regression = -42.379 + 2.049_015_23 * t + 10.143_331_27 * rh
        - 0.224_755_41 * t * rh
        - 0.006_837_83 * t * t
        - 0.054_817_17 * rh * rh
        + 0.001_228_74 * t * t * rh
        + 0.000_852_82 * t * rh * rh
        - 0.000_001_99 * t * t * rh * rh;
    let adjustment = if rh < 13.0 && t >= MIN_CHART_F {
        -(13.0 - rh) / 4.0 * ((17.0 - (t - 95.0).abs()) / 17.0).sqrt()
    } else if rh > 85.0 && (MIN_CHART_F..=87.0).contains(&t) {
        (rh - 85.0) / 10.0 * (87.0 - t) / 5.0
    } else {
        0.0
    };
    let heat_index = regression + adjustment;
    (heat_index < MAX_CHART_F).then_some((heat_index - 32.0) / 1.8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_holds_for_any_weather() {
        let mut seen = [(f64::MAX, f64::MIN); 2];
        for step in -900..=1000 {
            for humidity in 0..=100 {
                let (t, rh) = (f64::from(step) / 10.0, f64::from(humidity));
                let values = [dew_point_c(t, rh), heat_index_c(t, rh)];
                for ((low, high), value) in seen.iter_mut().zip(values) {
                    *low = value.map_or(*low, |value| low.min(value));
                    *high = value.map_or(*high, |value| high.max(value));
                }
            }
        }
        for ((low, high), declared) in seen.into_iter().zip([dew_points_c(), heat_indices_c()]) {
            assert!(declared.contains(low) && declared.contains(high), "{low} to {high}");
            let (from, to) = declared.hull().unwrap();
            assert!(low - from < 1.5 && to - high < 1.5, "{low} to {high} is not {declared}");
        }
    }

    fn celsius(fahrenheit: f64) -> f64 {
        (fahrenheit - 32.0) / 1.8
    }

    /// The service's chart, °F and % to whole °F.
    #[test]
    fn heat_index_matches_chart_within_one_degree() {
        for (temperature_f, humidity_pct, chart_f) in [
            (82.0, 40.0, 81.0),
            (86.0, 90.0, 105.0),
            (90.0, 70.0, 105.0),
            (96.0, 50.0, 108.0),
            (100.0, 55.0, 124.0),
            (104.0, 55.0, 137.0),
            (110.0, 40.0, 136.0),
        ] {
            let heat_index = heat_index_c(celsius(temperature_f), humidity_pct).unwrap_or(0.0);
            let difference_f = heat_index * 1.8 + 32.0 - chart_f;
            assert!(difference_f.abs() <= 1.3, "{temperature_f} {humidity_pct} {difference_f}");
        }
    }

    #[test]
    fn heat_index_is_absent_outside_regression() {
        for (temperature_f, humidity_pct) in
            [(79.0, 40.0), (60.0, 100.0), (-40.0, 50.0), (112.1, 10.0), (110.0, 60.0)]
        {
            assert_eq!(heat_index_c(celsius(temperature_f), humidity_pct), None, "{temperature_f}");
        }
    }

    #[test]
    fn humidity_adjusts_the_heat_index() {
        let near = |humidity_pct, temperature_f| {
            heat_index_c(celsius(temperature_f), humidity_pct).unwrap_or(0.0) * 1.8 + 32.0
        };

        assert!(near(5.0, 95.0) < near(12.99, 95.0) - 1.5);
        assert!(near(100.0, 82.0) > near(85.0, 82.0) + 1.5);
    }

    #[test]
    fn saturated_air_is_at_its_dew_point() {
        for temperature_c in [-45.0, -10.0, 0.0, 25.0, 60.0] {
            let dew_point_c = dew_point_c(temperature_c, 100.0).unwrap_or(999.0);
            assert!((dew_point_c - temperature_c).abs() < 1e-9, "{temperature_c}");
        }
    }

    #[test]
    fn the_dew_point_is_where_the_vapour_saturates() {
        let pressure_hpa = |t: f64| 6.112 * (17.62 * t / (243.12 + t)).exp();
        for (temperature_c, humidity_pct) in [(0.0, 50.0), (27.5, 40.2), (-20.0, 90.0)] {
            let dew_point_c = dew_point_c(temperature_c, humidity_pct).unwrap_or(999.0);
            let expected_hpa = pressure_hpa(temperature_c) * humidity_pct / 100.0;
            assert!((pressure_hpa(dew_point_c) - expected_hpa).abs() < 1e-9);
            assert!(dew_point_c < temperature_c);
        }
    }

    #[test]
    fn dew_point_is_absent_outside_valid_range() {
        for (temperature_c, humidity_pct) in
            [(-45.1, 50.0), (60.1, 50.0), (20.0, 0.0), (-44.0, 1.0)]
        {
            assert_eq!(dew_point_c(temperature_c, humidity_pct), None, "{temperature_c}");
        }
    }
}
