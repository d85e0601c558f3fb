//! A configuration as files.

use std::collections::BTreeMap;

use tributary_datasets::LookupFiles;
use tributary_model::id::Id;

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// Files of a configuration: text by path in its folder, such as `datasets/telemetry.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle(BTreeMap<String, String>);

impl Bundle {
    /// Returns the files of `config/` that are compiled in.
    #[must_use]
    pub fn shipped() -> Self {
        FILES.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    /// Replaces or adds a file.
    #[must_use]
    pub fn with(mut self, path: &str, text: &str) -> Self {
        self.0.insert(path.to_owned(), text.to_owned());
        self
    }

    /// Returns the text of a file; an absent file is empty.
    #[must_use]
    pub fn text(&self, path: &str) -> &str {
        self.0.get(path).map_or("", String::as_str)
    }

    /// Returns the files of a folder with an extension, by name without either.
    pub fn folder(&self, folder: &str, extension: &str) -> BTreeMap<String, String> {
        let name = |path: &str| {
            let name = path.strip_prefix(folder)?.strip_prefix('/')?;
            name.strip_suffix(extension)?.strip_suffix('.').map(str::to_owned)
        };
        let files = self.0.iter();
        files.filter_map(|(path, text)| Some((name(path)?, text.clone()))).collect()
    }

    /// Returns the reference tables by file name.
    pub(crate) fn lookups(&self) -> LookupFiles {
        let tables = self.folder("lookups", "csv").into_iter();
        tables.map(|(name, text)| (format!("{name}.csv"), text)).collect()
    }

    /// Iterates over paths and texts, in order of the paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Returns the files as one JSON object: text by path.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // A map of strings has no value that JSON lacks.
        serde_json::to_vec(&self.0).unwrap_or_else(|_| unreachable!())
    }

    /// Parses what [`to_json`](Self::to_json) returns.
    ///
    /// # Errors
    ///
    /// Fails if it is no object of texts.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(Self(serde_json::from_slice(json)?))
    }

    /// Returns the version: the hash of all paths and texts.
    #[must_use]
    pub fn version(&self) -> Id {
        Id::of(self.files().flat_map(|(path, text)| [path.as_bytes(), text.as_bytes()]))
    }
}

impl FromIterator<(String, String)> for Bundle {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(files: I) -> Self {
        Self(files.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_depends_on_every_file() {
        let shipped = Bundle::shipped();
        assert_eq!(shipped.version(), Bundle::shipped().version());
        for (path, text) in shipped.files() {
            let changed = shipped.clone().with(path, &format!("{text} "));
            assert_ne!(changed.version(), shipped.version(), "{path}");
        }
    }

    #[test]
    fn files_survive_json() {
        let shipped = Bundle::shipped();
        assert_eq!(Bundle::from_json(&shipped.to_json()).unwrap(), shipped);
        assert!(Bundle::from_json(br#"{"pipeline.toml": 1}"#).is_err());
    }

    #[test]
    fn folder_holds_files_of_one_extension() {
        let bundle = Bundle::shipped().with("datasets/README.md", "").with("other/x.toml", "");
        let names: Vec<_> = bundle.folder("datasets", "toml").into_keys().collect();
        assert!(names.contains(&"flood".to_owned()), "{names:?}");
        assert!(names.iter().all(|name| !name.contains(['.', '/'])), "{names:?}");
        assert!(bundle.folder("lookups", "csv").contains_key("us_states"));
    }
}
