//! Derives the dew point and the heat index from temperature and humidity.
//!
//! Each is absent outside the valid range of its formula, where the formula still returns a number,
//! but a wrong one.

/// The range of air temperature, °C, in which the saturation vapour pressure over water is valid.
const OVER_WATER_C: std::ops::RangeInclusive<f64> = -45.0..=60.0;

/// The temperature, °C, at which air of `temperature_c` and `humidity_pct` would be saturated over
/// water, by the Magnus formula; `None` outside -45 to 60 °C and in air without any vapour.
///
/// Source: WMO-No. 8, Guide to Instruments and Methods of Observation, volume I, annex 4.B: 6.112
/// hPa, 17.62 and 243.12 °C.
pub(super) fn dew_point_c(temperature_c: f64, humidity_pct: f64) -> Option<f64> {
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

/// Returns the apparent temperature in the shade, °C, by Rothfusz's regression with the adjustments
/// of the National Weather Service; `None` where the regression does not apply.
///
/// It applies from a heat index of 80 °F by the simple formula, up to the 112 °F to which its
/// adjustments reach, and to the 137 °F at which the chart of the service ends.
///
/// Source: <https://www.wpc.ncep.noaa.gov/html/heatindex_equation.shtml> and, for the chart,
/// <https://www.weather.gov/safety/heat-index>.
pub(super) fn heat_index_c(temperature_c: f64, humidity_pct: f64) -> Option<f64> {
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
