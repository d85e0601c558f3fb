//! The stations of `config/stations.toml`: from which level on a river is in which stage.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

use tributary_model::config_error::ConfigError;

/// The stations by their sensor id.
pub(super) type Stations = HashMap<String, Station>;

/// Stages of a river with their tags, from the lowest levels up.
pub(super) const STAGES: [(&str, &str); 4] = [
    ("normal", "stage_normal"),
    ("watch", "stage_watch"),
    ("warning", "stage_warning"),
    ("danger", "stage_danger"),
];

/// One station as `stations.toml` states it; the file explains each field.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Station {
    sensor_id: String,
    watch_m: f64,
    warning_m: f64,
    danger_m: f64,
    pub(super) position: Option<Position>,
}

/// Position of a station, in degrees.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    pub(super) lat: f64,
    pub(super) lon: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    stations: Vec<Station>,
}

impl Station {
    /// The stage at a level, with its tag; a stage begins at its level.
    pub(super) fn stage(&self, water_level_m: f64) -> (&'static str, &'static str) {
        let reached = self.levels().into_iter().filter(|level| water_level_m >= *level);
        STAGES[reached.count()]
    }

    fn levels(&self) -> [f64; 3] {
        [self.watch_m, self.warning_m, self.danger_m]
    }

    fn fault(&self) -> Option<&'static str> {
        let levels = self.levels();
        let rise = levels.is_sorted_by(|lower, upper| lower < upper);
        let on_earth =
            |at: Position| (-90.0..=90.0).contains(&at.lat) && (-180.0..=180.0).contains(&at.lon);
        if self.sensor_id.trim() != self.sensor_id || self.sensor_id.is_empty() {
            Some("sensor_id is empty or has blanks around it, and would match no reading")
        } else if !rise || levels.iter().any(|level| !level.is_finite()) {
            Some("watch_m, warning_m and danger_m do not rise")
        } else if !self.position.is_none_or(on_earth) {
            Some("position is no place on Earth")
        } else {
            None
        }
    }
}

/// The stations that are compiled in.
pub(super) fn stations() -> &'static Result<Stations, ConfigError> {
    static STATIONS: LazyLock<Result<Stations, ConfigError>> =
        LazyLock::new(|| from_toml(include_str!("../../../../config/stations.toml")));
    &STATIONS
}

/// Reads the text of a `stations.toml`.
fn from_toml(text: &str) -> Result<Stations, ConfigError> {
    let file: File = toml::from_str(text)
        .map_err(|error| ConfigError::new("stations.toml", error.to_string()))?;
    let mut stations = Stations::with_capacity(file.stations.len());
    for station in file.stations {
        let owner = format!("station {}", station.sensor_id);
        if let Some(fault) = station.fault() {
            return Err(ConfigError::new(owner, fault));
        }
        if stations.insert(station.sensor_id.clone(), station).is_some() {
            return Err(ConfigError::new(owner, "is there twice"));
        }
    }
    Ok(stations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toml(levels: [&str; 3], rest: &str) -> String {
        let [watch, warning, danger] = levels;
        format!(
            "[[stations]]\nsensor_id = \"s\"\n\
             watch_m = {watch}\nwarning_m = {warning}\ndanger_m = {danger}\n{rest}\n"
        )
    }

    fn fault(text: &str) -> String {
        from_toml(text).map(|_| ()).map_err(|error| error.to_string()).unwrap_err()
    }

    #[test]
    fn the_shipped_stations_can_be_read() {
        let stations = stations().as_ref().unwrap();

        assert!(!stations.is_empty());
        assert!(stations.values().any(|station| station.position.is_some()));
    }

    #[test]
    fn a_stage_begins_at_its_level() {
        let stations = from_toml(&toml(["1.0", "2.0", "3.5"], "")).unwrap();

        let stages = [-1.0, 0.999, 1.0, 2.0, 3.499, 3.5, 99.0].map(|at| stations["s"].stage(at).0);

        let [normal, watch, warning, danger] = STAGES.map(|(name, _)| name);
        assert_eq!(stages, [normal, normal, watch, warning, warning, danger, danger]);
    }

    #[test]
    fn implausible_stations_are_rejected() {
        let good = toml(["1", "2", "3"], "position = { lat = 1.0, lon = 2.0 }");
        assert!(from_toml(&good).is_ok());

        assert_eq!(fault(&(good.clone() + &good)), "station s: is there twice");
        for levels in [["2", "1", "3"], ["1", "2", "2"], ["nan", "1", "2"], ["1", "2", "inf"]] {
            let message = "station s: watch_m, warning_m and danger_m do not rise";
            assert_eq!(fault(&toml(levels, "")), message);
        }
        let nowhere = toml(["1", "2", "3"], "position = { lat = 91.0, lon = 2.0 }");
        assert_eq!(fault(&nowhere), "station s: position is no place on Earth");
        assert!(fault(&good.replace("\"s\"", "\" s\"")).contains("would match no reading"));
        assert!(fault(&toml(["1", "2", "3"], "river = \"x\"")).contains("river"));
    }
}
