//! Names of fields, and the units that they state.

use std::collections::BTreeSet;

use crate::units;

/// Maximum length of a field's name, without the number that a clash adds.
const MAX_NAME: usize = 56;

/// Returns the plain name of a column: `stationId` is `station_id`.
pub(super) fn snake(column: &str) -> String {
    let mut name = String::new();
    let mut previous = ' ';
    let mut letters = column.chars().peekable();
    while let Some(letter) = letters.next() {
        let next_is_lower = letters.peek().is_some_and(char::is_ascii_lowercase);
        let is_hump = letter.is_ascii_uppercase()
            && (previous.is_ascii_lowercase()
                || previous.is_ascii_digit()
                || previous.is_ascii_uppercase() && next_is_lower);
        match plain(letter) {
            "" if !name.ends_with('_') && !name.is_empty() => name.push('_'),
            "" => {}
            plain => {
                let is_ph =
                    letter == 'H' && !next_is_lower && (name == "p" || name.ends_with("_p"));
                if is_hump && !is_ph && !name.ends_with('_') {
                    name.push('_');
                }
                name.push_str(plain);
            }
        }
        previous = letter;
    }
    let mut name = name.trim_matches('_').to_owned();
    name.truncate(MAX_NAME);
    match name.chars().next() {
        None => "column".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("x_{name}"),
        Some(_) => name,
    }
}

/// Returns a letter or digit in plain lower case; empty for anything else.
fn plain(letter: char) -> &'static str {
    const PLAIN: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
    let lower = letter.to_lowercase().next().unwrap_or(letter);
    if let Some(at) = PLAIN.find(lower) {
        return &PLAIN[at..=at];
    }
    match lower {
        'ä' | 'æ' => "ae",
        'ö' | 'ø' => "oe",
        'ü' => "ue",
        'ß' => "ss",
        'á' | 'à' | 'â' | 'ã' | 'å' => "a",
        'é' | 'è' | 'ê' | 'ë' => "e",
        'í' | 'ì' | 'î' | 'ï' => "i",
        'ó' | 'ò' | 'ô' | 'õ' => "o",
        'ú' | 'ù' | 'û' | 'µ' | 'μ' => "u",
        'ç' => "c",
        'ñ' => "n",
        _ => "",
    }
}

/// Returns the parts of a column's plain name.
pub(super) fn tokens(column: &str) -> Vec<String> {
    snake(column).split('_').map(str::to_owned).collect()
}

/// Names already given.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// Creates names that leave out the words of `event_id`.
    pub(super) fn new() -> Self {
        Self(["entity", "time"].map(str::to_owned).into())
    }

    /// Returns the name, with a number behind it if it was given before.
    pub(super) fn give(&mut self, name: &str) -> String {
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        let free = std::iter::once(name.to_owned()).chain(numbered).find(|it| !self.0.contains(it));
        let name = free.unwrap_or_default();
        self.0.insert(name.clone());
        name
    }
}

/// Unit of a column, guessed from its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// Name of the measure.
    pub measure: String,
    /// Unit of the measure.
    pub target: &'static str,
    /// Unit of the column, if it is another one.
    pub from: Option<&'static str>,
}

/// Spellings of a unit as a part of a name or in brackets, the unit of the measure, and the unit in
/// a schema.
type Spelling = (&'static [&'static str], &'static str, &'static str);

/// Units that a name states without doubt.
const UNITS: &[Spelling] = &[
    (&["°c", "degc", "deg_c", "celsius"], "c", "C"),
    (&["°f", "degf", "deg_f", "fahrenheit"], "c", "F"),
    (&["kelvin"], "c", "K"),
    (&["%", "pct", "percent"], "pct", "%"),
    (&["hpa", "mbar"], "hpa", "hPa"),
    (&["kpa"], "hpa", "kPa"),
    (&["inhg"], "hpa", "inHg"),
    (&["mmhg"], "hpa", "mmHg"),
    (&["psi"], "hpa", "psi"),
    (&["km"], "km", "km"),
    (&["mile", "miles"], "km", "mi"),
    (&["cm"], "m", "cm"),
    (&["ft", "feet"], "m", "ft"),
    (&["mm"], "mm", "mm"),
    (&["kph", "km/h", "kmh", "km_h"], "kph", "kph"),
    (&["mph"], "kph", "mph"),
    (&["kn", "knots"], "kph", "kn"),
    (&["m/s", "mps", "m_s", "ms-1"], "mps", "m/s"),
    (&["sec", "seconds"], "s", "s"),
    (&["millis"], "s", "ms"),
    (&["minutes"], "min", "min"),
    (&["hours"], "h", "h"),
    (&["kg"], "kg", "kg"),
    (&["lb", "lbs"], "kg", "lb"),
    (&["ml"], "l", "mL"),
    (&["litre", "liter", "litres", "liters"], "l", "l"),
    (&["gal"], "l", "gal"),
    (&["kwh"], "kwh", "kWh"),
    (&["wh"], "kwh", "Wh"),
    (&["mwh"], "kwh", "MWh"),
    (&["kw"], "w", "kW"),
    (&["mv"], "v", "mV"),
    (&["ugm3", "ug/m3", "ug/m³", "µg/m3", "µg/m³", "μg/m³", "ug_m3"], "ugm3", "ug/m3"),
    (&["mg/m3", "mg/m³", "mgm3"], "ugm3", "mg/m3"),
    (&["ppm"], "ppm", "ppm"),
    (&["ppb"], "ppm", "ppb"),
    (&["deg", "°", "degrees"], "deg", "deg"),
];

/// Words of names that have a length of time.
const SPANS: &[&str] =
    &["duration", "latency", "elapsed", "time", "delay", "wait", "response", "rtt", "jitter"];

/// Words of names that have a pressure.
const PRESSURES: &[&str] = &["press", "baro", "druck", "slp"];

/// Units that also are other words, and the words in a name of which one must be there too.
const SHORT: &[(&str, &str, &str, &[&str])] = &[
    ("c", "c", "C", &["temp", "dew", "chill", "heat", "frost"]),
    ("f", "c", "F", &["temp", "dew", "chill", "heat", "frost"]),
    ("k", "c", "K", &["temp"]),
    ("in", "mm", "in", &["rain", "precip", "snow"]),
    ("in", "hpa", "inHg", PRESSURES),
    ("mb", "hpa", "hPa", PRESSURES),
    ("pa", "hpa", "Pa", PRESSURES),
    ("mi", "km", "mi", &["dist", "visib", "range", "length", "mileage", "odometer"]),
    ("ms", "mps", "m/s", &["wind", "speed", "gust", "velocity"]),
    ("ms", "s", "ms", SPANS),
    ("min", "min", "min", SPANS),
    ("ma", "a", "mA", &["current", "ampere"]),
    (
        "m",
        "m",
        "m",
        &["level", "height", "depth", "altitude", "elevation", "stage", "gauge", "dist"],
    ),
    ("s", "s", "s", &["duration", "time", "delay", "latency", "uptime"]),
    ("h", "h", "h", &["duration", "uptime", "sun"]),
    ("g", "kg", "g", &["weight", "mass"]),
    ("l", "l", "l", &["volume", "fuel", "water"]),
    ("w", "w", "W", &["power", "load", "solar"]),
    ("v", "v", "V", &["volt", "batter"]),
    ("a", "a", "A", &["current", "amp"]),
];

/// Guesses the unit of a column of numbers from its name: `temp_f`, `speed(mph)`, `Humidity %`.
pub(super) fn unit(column: &str) -> Option<Unit> {
    let (stem, unit, is_bracketed) = split(column);
    if let Some(unit) = unit.filter(|_| is_bracketed) {
        return known(&unit, &stem, true);
    }
    let word = column.trim().rsplit_once(' ');
    if let Some(unit) = word.and_then(|(stem, word)| known(word, &snake(stem), false)) {
        return Some(unit);
    }
    let tokens = tokens(column);
    let split = |length: usize| Some(tokens.split_at(tokens.len().checked_sub(length)?));
    // `EnergykWh` has a hump inside the unit.
    let humped = split(2).and_then(|(stem, unit)| {
        let stem = if stem.is_empty() { "value".to_owned() } else { stem.join("_") };
        known(&unit.concat(), &stem, false)
    });
    let plain = |length| {
        let (stem, unit) = split(length).filter(|(stem, _)| !stem.is_empty())?;
        known(&unit.join("_"), &stem.join("_"), false)
    };
    humped.or_else(|| plain(2)).or_else(|| plain(1))
}

/// Splits `speed(mph)` and `Humidity %` into the name and the unit.
fn split(column: &str) -> (String, Option<String>, bool) {
    let column = column.trim();
    if let Some(stem) = column.strip_suffix('%') {
        return (snake(stem), Some("%".to_owned()), true);
    }
    for (open, close) in [('(', ')'), ('[', ']')] {
        let inner = column.strip_suffix(close).and_then(|rest| rest.rsplit_once(open));
        if let Some((stem, unit)) = inner {
            return (snake(stem), Some(unit.trim().to_owned()), true);
        }
    }
    (snake(column), None, false)
}

fn known(unit: &str, stem: &str, is_bracketed: bool) -> Option<Unit> {
    let lower = unit.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| stem.contains(word));
    let short = || SHORT.iter().filter(|(name, ..)| *name == lower);
    // Brackets state a unit, except words such as `min`, which may stand for the minimum.
    let is_stated = |name: &str, from: &str| match name {
        "in" | "min" => false,
        _ => is_bracketed && (name.len() == 1 || unit == from),
    };
    let supported = short().find(|(_, _, _, words)| has(words));
    let short = supported.or_else(|| short().find(|(name, _, from, _)| is_stated(name, from)));
    let long = UNITS.iter().find(|(names, ..)| names.contains(&lower.as_str()));
    let (target, from) = match (long, short) {
        (Some((_, target, from)), _) | (None, Some((_, target, from, _))) => (*target, *from),
        (None, None) => return None,
    };
    let stem = if stem == "column" { "value" } else { stem };
    let is_same = units::is_target(from, target);
    let measure = if stem.ends_with(&format!("_{target}")) {
        stem.to_owned()
    } else {
        format!("{stem}_{target}")
    };
    Some(Unit { measure, target, from: (!is_same).then_some(from) })
}

/// Returns the physical range of a unit, where there is one.
pub(super) fn range(target: &str) -> Option<[f64; 2]> {
    match target {
        "c" => Some([-273.15, f64::INFINITY]),
        "pct" => Some([0.0, 100.0]),
        "hpa" | "km" | "mm" | "kph" | "mps" | "s" | "min" | "h" | "kg" | "l" | "ugm3" | "ppm" => {
            Some([0.0, f64::INFINITY])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_plain_names() {
        for (column, name) in [
            ("pH", "ph"),
            ("Water pH (field)", "water_ph_field"),
            ("pHotel", "p_hotel"),
            ("stationId", "station_id"),
            ("device.id", "device_id"),
            ("Außentemperatur Süd", "aussentemperatur_sued"),
            ("PM2.5", "pm2_5"),
            ("GPSLat", "gps_lat"),
            ("2nd floor", "x_2nd_floor"),
            ("°", "column"),
        ] {
            assert_eq!(snake(column), name, "{column}");
        }
    }

    #[test]
    fn unit_is_read_from_name() {
        for (column, measure, from) in [
            ("temp_f", "temp_c", Some("F")),
            ("speed(mph)", "speed_kph", Some("mph")),
            ("level_ft", "level_m", Some("ft")),
            ("Temperature (°C)", "temperature_c", None),
            ("pm25_ugm3", "pm25_ugm3", None),
            ("PM2.5 (µg/m³)", "pm2_5_ugm3", None),
            ("wind_kmh", "wind_kph", None),
            ("pressure_hpa", "pressure_hpa", None),
            ("Humidity %", "humidity_pct", None),
            ("Precipitation(in)", "precipitation_mm", Some("in")),
            ("Pressure(in)", "pressure_hpa", Some("inHg")),
            ("windSpeed [m/s]", "wind_speed_mps", None),
            ("battery_v", "battery_v", None),
        ] {
            let unit = unit(column).unwrap();
            assert_eq!((unit.measure.as_str(), unit.from), (measure, from), "{column}");
        }
        for column in ["grade_a", "plan_c", "free", "price (EUR)", "in", "temperature"] {
            assert_eq!(unit(column), None, "{column}");
        }
    }

    #[test]
    fn unit_with_hump_is_whole() {
        for (column, measure, from) in [
            ("kWh", "value_kwh", None),
            ("Energy_kWh", "energy_kwh", None),
            ("energyKWh", "energy_kwh", None),
            ("Verbrauch kWh", "verbrauch_kwh", None),
            ("pressure_hPa", "pressure_hpa", None),
            ("Power_kW", "power_w", Some("kW")),
            ("battery_mV", "battery_v", Some("mV")),
            ("current_mA", "current_a", Some("mA")),
            ("PM10 µg/m³", "pm10_ugm3", None),
            ("Wind speed km/h", "wind_speed_kph", None),
        ] {
            let unit = unit(column).unwrap();
            assert_eq!((unit.measure.as_str(), unit.from), (measure, from), "{column}");
        }
    }

    #[test]
    fn doubtful_unit_needs_word() {
        for (column, measure, from) in [
            ("wind_speed_ms", "wind_speed_mps", None),
            ("Wind speed (ms)", "wind_speed_mps", None),
            ("response_time_ms", "response_time_s", Some("ms")),
            ("Ping [ms]", "ping_s", Some("ms")),
            ("duration_min", "duration_min", None),
            ("pressure_mb", "pressure_hpa", None),
            ("baro_pa", "baro_hpa", Some("Pa")),
            ("current_ma", "current_a", Some("mA")),
            ("Load [mA]", "load_a", Some("mA")),
            ("visibility_mi", "visibility_km", Some("mi")),
        ] {
            let unit = unit(column).unwrap();
            assert_eq!((unit.measure.as_str(), unit.from), (measure, from), "{column}");
        }
        for column in [
            "memory_mb",
            "Memory [MB]",
            "price_ma",
            "temp_min",
            "Temp (min)",
            "grade_pa",
            "name_mi",
        ] {
            assert_eq!(unit(column), None, "{column}");
        }
    }

    #[test]
    fn repeated_name_gets_number() {
        let mut names = Names::new();
        assert_eq!(["a", "a", "a", "time"].map(|it| names.give(it)), ["a", "a_2", "a_3", "time_2"]);
    }
}
