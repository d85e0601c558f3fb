//! Releases of a configuration: the versions in a bucket, of which one is in use.
//!
//! A version is an object of its own and never changes. The list of releases is one small object,
//! which is all that a function reads as long as nothing changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tributary_windows::WindowSpec;

use crate::Configuration;

/// Key of the object with the [`Releases`].
pub const RELEASES_KEY: &str = "releases.json";

/// Maximum size of the files of a version, as JSON.
pub const MAX_VERSION_BYTES: u64 = 8 << 20;

/// Maximum number of releases that are kept for a rollback.
const MAX_RELEASES: usize = 50;

/// Returns the key of the object with the files of a version.
#[must_use]
pub fn version_key(version: &str) -> String {
    format!("versions/{version}.json")
}

/// Releases of a configuration, newest first: the first is in use.
///
/// As JSON: `{"releases": [{"version": "6f1e…", "pushed_at": "2026-01-31T12:00:00Z"}], "keys":
/// {"dataset flood": "entity {sensor_id} (sensor_id from sensor_id) + time (from timestamp)"}}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Releases {
    /// Releases, newest first.
    pub releases: Vec<Release>,
    /// [`Configuration::keys`] of every release there was, also of those rolled back: their events
    /// exist.
    pub keys: BTreeMap<String, String>,
}

/// One release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Version of the files, see [`Bundle::version`](crate::Bundle::version).
    pub version: String,
    /// Time of the push, RFC 3339.
    pub pushed_at: String,
}

impl Releases {
    /// Parses the JSON of the object.
    ///
    /// # Errors
    ///
    /// Fails if it is not such a list.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Returns the version in use; `None` if it is the compiled-in one.
    #[must_use]
    pub fn in_use(&self) -> Option<&str> {
        self.releases.first().map(|release| release.version.as_str())
    }

    /// Returns an error for each key that differs from the one of an earlier release: datasets and
    /// windows that need another name.
    #[must_use]
    pub fn changed_keys(&self, configuration: &Configuration) -> Vec<String> {
        let changed = |(name, key): (String, String)| {
            let known = self.keys.get(&name).filter(|known| **known != key)?;
            Some(format!(
                "{name}: the key was {known}, and would be {key}: what is stored under the old one \
                 would mix with the new; give it another name"
            ))
        };
        configuration.keys().into_iter().filter_map(changed).collect()
    }

    /// Adds a release, which is then in use.
    pub fn push(&mut self, release: Release, configuration: &Configuration) {
        self.keys.extend(configuration.keys());
        self.releases.insert(0, release);
        self.releases.truncate(MAX_RELEASES);
    }

    /// Takes back the release in use, and returns it; `None` if there is none. The one before it is
    /// then in use, or the compiled-in configuration.
    pub fn roll_back(&mut self) -> Option<Release> {
        (!self.releases.is_empty()).then(|| self.releases.remove(0))
    }
}

impl Configuration {
    /// Returns what must not change under a name: the natural key of `dataset <name>`, which event
    /// ids are made of, and the grid of `window <id>`, which stored windows are found by.
    #[must_use]
    pub fn keys(&self) -> BTreeMap<String, String> {
        let datasets = self.datasets.iter();
        let datasets = datasets.map(|it| (format!("dataset {}", it.name()), it.natural_key()));
        let windows = self.pipeline.windows.iter().map(|window| {
            let WindowSpec { id, dataset, key, size, slide, time, .. } = window;
            let (size, slide) = (size.0, slide.unwrap_or(*size).0);
            let grid = format!("{dataset} by {}, {size:#} every {slide:#}", key.join(" and "));
            (format!("window {id}"), format!("{grid}, {time:?} time"))
        });
        datasets.chain(windows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bundle;

    fn release(version: &str) -> Release {
        Release { version: version.to_owned(), pushed_at: "2026-01-31T12:00:00Z".to_owned() }
    }

    fn with_key(event_id: &str) -> Configuration {
        let text = Bundle::shipped().text("datasets/flood.toml").to_owned();
        let changed = text.replace("event_id = [\"entity\", \"time\"]", event_id);
        Configuration::load(&Bundle::shipped().with("datasets/flood.toml", &changed)).unwrap()
    }

    #[test]
    fn rollback_takes_releases_back_to_none() {
        let mut releases = Releases::default();
        let shipped = Configuration::shipped().unwrap();
        for version in ["a", "b", "a"] {
            releases.push(release(version), &shipped);
        }
        for version in ["a", "b", "a"] {
            assert_eq!(releases.in_use(), Some(version));
            assert_eq!(releases.roll_back(), Some(release(version)));
        }
        assert_eq!(releases.in_use(), None);
        assert_eq!(releases.roll_back(), None);
        assert_eq!(releases.keys, shipped.keys());
    }

    #[test]
    fn changed_natural_key_is_an_error() {
        let mut releases = Releases::default();
        releases.push(release("a"), &with_key("event_id = [\"entity\", \"time\"]"));
        releases.roll_back();

        assert_eq!(releases.changed_keys(&Configuration::shipped().unwrap()), [""; 0]);
        let errors = releases.changed_keys(&with_key("event_id = [\"entity\"]"));
        assert_eq!(errors.len(), 1);
        assert!(errors[0].starts_with("dataset flood: the key was entity"), "{errors:?}");
        assert!(errors[0].contains("+ time (from timestamp), and would be entity"), "{errors:?}");
    }

    #[test]
    fn changed_window_needs_another_id() {
        let mut releases = Releases::default();
        releases.push(release("a"), &Configuration::shipped().unwrap());
        let text =
            Bundle::shipped().text("pipeline.toml").replacen("size = \"1m\"", "size = \"2m\"", 1);
        let changed = Configuration::with_pipeline(&text).unwrap();

        let errors = releases.changed_keys(&changed);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].contains("1m every 1m") && errors[0].contains("2m every 2m"),
            "{errors:?}"
        );
    }

    #[test]
    fn releases_survive_json() {
        let mut releases = Releases::default();
        releases.push(release("a"), &Configuration::shipped().unwrap());
        let json = serde_json::to_vec(&releases).unwrap();
        assert_eq!(Releases::from_json(&json).unwrap(), releases);
        assert!(Releases::from_json(b"[]").is_err());
    }
}
