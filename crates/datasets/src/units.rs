//! Units of columns and measures, and conversion between them.

use crate::value::rounded;

/// A unit: its spellings in a schema or a row, the unit of the event, and the conversion into it.
struct Unit {
    names: &'static [&'static str],
    target: &'static str,
    conversion: Conversion,
}

/// `(value + offset) * factor / divisor`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Conversion {
    offset: f64,
    factor: f64,
    divisor: f64,
}

impl Conversion {
    const NONE: Self = Self { offset: 0.0, factor: 1.0, divisor: 1.0 };

    const fn times(factor: f64) -> Self {
        Self { factor, ..Self::NONE }
    }

    const fn by(divisor: f64) -> Self {
        Self { divisor, ..Self::NONE }
    }

    /// Returns the value that is converted to `value`, up to rounding.
    pub(crate) fn revert(self, value: f64) -> f64 {
        value * self.divisor / self.factor - self.offset
    }

    /// Converts a value, and rounds it to a millionth.
    pub(crate) fn apply(self, value: f64) -> f64 {
        if self == Self::NONE {
            return value;
        }
        rounded((value + self.offset) * self.factor / self.divisor)
    }
}

const MILE_KM: f64 = 1.609_344;

const fn unit(
    target: &'static str,
    names: &'static [&'static str],
    conversion: Conversion,
) -> Unit {
    Unit { names, target, conversion }
}

/// Every unit. The first unit of a target is the target itself.
///
/// Source: [NIST SP 811](https://www.nist.gov/pml/special-publication-811), appendix B; a foot is
/// the international one, a gallon the US liquid one, and a calorie the thermochemical one.
const UNITS: &[Unit] = &[
    unit("c", &["C", "°C", "degC", "celsius"], Conversion::NONE),
    unit(
        "c",
        &["F", "°F", "degF", "fahrenheit"],
        Conversion { offset: -32.0, factor: 1.0, divisor: 1.8 },
    ),
    unit("c", &["K", "kelvin"], Conversion { offset: -273.15, factor: 1.0, divisor: 1.0 }),
    unit("pct", &["%", "pct", "percent"], Conversion::NONE),
    unit("pct", &["fraction", "ratio"], Conversion::times(100.0)),
    unit("hpa", &["hPa", "mbar", "mb"], Conversion::NONE),
    unit("hpa", &["Pa"], Conversion::by(100.0)),
    unit("hpa", &["kPa"], Conversion::times(10.0)),
    unit("hpa", &["inHg"], Conversion::times(33.863_886_7)),
    unit("hpa", &["mmHg"], Conversion::times(1.333_224)),
    unit("hpa", &["psi"], Conversion::times(68.947_57)),
    unit("km", &["km"], Conversion::NONE),
    unit("km", &["m"], Conversion::by(1_000.0)),
    unit("km", &["mi", "mile", "miles"], Conversion::times(MILE_KM)),
    unit("km", &["ft"], Conversion::times(0.000_304_8)),
    unit("m", &["m", "metre", "metres", "meter", "meters"], Conversion::NONE),
    unit("m", &["cm"], Conversion::by(100.0)),
    unit("m", &["mm"], Conversion::by(1_000.0)),
    unit("m", &["km"], Conversion::times(1_000.0)),
    unit("m", &["ft", "feet", "foot"], Conversion::times(0.304_8)),
    unit("m", &["in", "inch", "inches"], Conversion::times(0.025_4)),
    unit("mm", &["mm"], Conversion::NONE),
    unit("mm", &["cm"], Conversion::times(10.0)),
    unit("mm", &["in", "inch", "inches"], Conversion::times(25.4)),
    unit("kph", &["kph", "km/h", "kmh"], Conversion::NONE),
    unit("kph", &["mph"], Conversion::times(MILE_KM)),
    unit("kph", &["m/s", "mps"], Conversion::times(3.6)),
    unit("kph", &["kn", "kt", "knots"], Conversion::times(1.852)),
    unit("mps", &["m/s", "mps"], Conversion::NONE),
    unit("mps", &["km/h", "kph", "kmh"], Conversion::by(3.6)),
    unit("mps", &["mph"], Conversion::times(0.447_04)),
    unit("mps", &["kn", "kt", "knots"], Conversion { offset: 0.0, factor: 1.852, divisor: 3.6 }),
    unit("s", &["s", "sec", "seconds"], Conversion::NONE),
    unit("s", &["ms"], Conversion::by(1_000.0)),
    unit("s", &["min", "minutes"], Conversion::times(60.0)),
    unit("s", &["h", "hours"], Conversion::times(3_600.0)),
    unit("min", &["min", "minutes"], Conversion::NONE),
    unit("min", &["s", "sec", "seconds"], Conversion::by(60.0)),
    unit("min", &["h", "hours"], Conversion::times(60.0)),
    unit("h", &["h", "hours"], Conversion::NONE),
    unit("h", &["min", "minutes"], Conversion::by(60.0)),
    unit("h", &["s", "sec", "seconds"], Conversion::by(3_600.0)),
    unit("kg", &["kg"], Conversion::NONE),
    unit("kg", &["g"], Conversion::by(1_000.0)),
    unit("kg", &["lb", "lbs"], Conversion::times(0.453_592_37)),
    unit("l", &["l", "L", "litre", "liter"], Conversion::NONE),
    unit("l", &["ml", "mL"], Conversion::by(1_000.0)),
    unit("l", &["gal"], Conversion::times(3.785_411_784)),
    unit("kwh", &["kWh"], Conversion::NONE),
    unit("kwh", &["Wh"], Conversion::by(1_000.0)),
    unit("kwh", &["MWh"], Conversion::times(1_000.0)),
    unit("w", &["W"], Conversion::NONE),
    unit("w", &["kW"], Conversion::times(1_000.0)),
    unit("v", &["V"], Conversion::NONE),
    unit("v", &["mV"], Conversion::by(1_000.0)),
    unit("a", &["A"], Conversion::NONE),
    unit("a", &["mA"], Conversion::by(1_000.0)),
    unit("ugm3", &["ug/m3", "µg/m³", "μg/m³"], Conversion::NONE),
    unit("ugm3", &["mg/m3", "mg/m³"], Conversion::times(1_000.0)),
    unit("ppm", &["ppm"], Conversion::NONE),
    unit("ppm", &["ppb"], Conversion::by(1_000.0)),
    unit("deg", &["deg", "°"], Conversion::NONE),
];

/// Returns the unit that the last part of a measure's name states, such as `c` of `temperature_c`.
pub(crate) fn of_measure(measure: &str) -> Option<&'static str> {
    let (_, suffix) = measure.rsplit_once('_')?;
    UNITS.iter().find(|unit| unit.target == suffix).map(|unit| unit.target)
}

/// Returns the first spelling of the unit of a measure.
pub(crate) fn first_name(target: &str) -> Option<&'static str> {
    UNITS.iter().find(|unit| unit.target == target)?.names.first().copied()
}

/// Returns the conversion from a unit, in the spelling of a schema or a row, to the unit of a
/// measure. Case decides only where two units differ in nothing else.
pub(crate) fn conversion(from: &str, target: &str) -> Option<Conversion> {
    let into = || UNITS.iter().filter(|unit| unit.target == target);
    let exact = into().find(|unit| unit.names.contains(&from));
    let folded =
        || into().find(|unit| unit.names.iter().any(|name| name.eq_ignore_ascii_case(from)));
    exact.or_else(folded).map(|unit| unit.conversion)
}

/// Returns `true` if a unit is that of the measure, so that nothing is converted.
pub(crate) fn is_target(from: &str, target: &str) -> bool {
    conversion(from, target) == Some(Conversion::NONE)
}

/// Returns the names of all units that convert to `target`, for messages.
pub(crate) fn names(target: &str) -> String {
    let units = UNITS.iter().filter(|unit| unit.target == target);
    units.filter_map(|unit| unit.names.first().copied()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_convert_into_unit_of_measure() {
        for (value, from, measure, expected) in [
            (212.0, "F", "temperature_c", 100.0),
            (273.15, "K", "temperature_c", 0.0),
            (29.92, "inHg", "pressure_hpa", 1013.20749),
            (0.5, "ft", "level_m", 0.1524),
            (250.0, "cm", "level_m", 2.5),
            (10.0, "m/s", "speed_kph", 36.0),
            (55.0, "°c", "temperature_c", 55.0),
        ] {
            let target = of_measure(measure).unwrap();
            let converted = conversion(from, target).unwrap().apply(value);
            assert!((converted - expected).abs() < 1e-9, "{from}: {converted}");
        }
        assert_eq!(conversion("mi", "c"), None);
        assert_eq!((of_measure("cases"), of_measure("temperature_x")), (None, None));
        assert_eq!(names("km"), "km, m, mi, ft");
    }

    #[test]
    fn first_unit_of_a_target_is_unchanged() {
        for unit in UNITS {
            let first = UNITS.iter().find(|other| other.target == unit.target).unwrap();
            assert_eq!(first.conversion, Conversion::NONE, "{}", unit.target);
        }
    }
}
