//! Takeover of a configuration: a dataset that the functions learn while they run.

use toml::{Table, Value};
use tributary_config::{Bundle, Configuration, RELEASES_KEY, Release, Releases, version_key};
use tributary_testkit::service::SimBucket;

/// Dataset that the first configuration lacks.
pub(super) const LATE_DATASET: &str = "flood";

/// Returns the shipped configuration under another version, so that its files are read.
pub(super) fn whole() -> Bundle {
    let shipped = Bundle::shipped();
    let text = format!("{}\n# The same, as another version.\n", shipped.text("pipeline.toml"));
    shipped.with("pipeline.toml", &text)
}

/// Returns the shipped configuration without the late dataset, and all that is about it.
pub(super) fn without_late_dataset() -> Bundle {
    let shipped = Bundle::shipped();
    let schema = format!("datasets/{LATE_DATASET}.toml");
    let files = shipped.files().filter(|(path, _)| *path != schema);
    let text = |path: &str, text: &str| match path {
        "pipeline.toml" | "alerts.toml" => without_entries(text),
        _ => text.to_owned(),
    };
    files.map(|(path, before)| (path.to_owned(), text(path, before))).collect()
}

/// Removes the entries about the late dataset from a TOML file.
fn without_entries(text: &str) -> String {
    let mut table: Table = text.parse().unwrap_or_default();
    for (_, entries) in &mut table {
        match entries {
            Value::Array(entries) => entries
                .retain(|entry| entry.get("dataset").and_then(Value::as_str) != Some(LATE_DATASET)),
            Value::Table(of_datasets) => drop(of_datasets.remove(LATE_DATASET)),
            _ => {}
        }
    }
    table.to_string()
}

/// Puts a configuration into use, unless it is.
pub(super) fn push(bucket: &SimBucket, bundle: &Bundle) {
    let version = bundle.version().to_string();
    let mut releases = Releases::default();
    if let Some((_, json)) = bucket.list(RELEASES_KEY).pop() {
        releases = Releases::from_json(&json).unwrap_or_default();
    }
    let Ok(configuration) = Configuration::load(bundle) else { return };
    if releases.in_use() == Some(&version) {
        return;
    }
    bucket.put(&version_key(&version), bundle.to_json());
    releases.push(Release { version, pushed_at: String::new() }, &configuration);
    bucket.put(RELEASES_KEY, serde_json::to_vec(&releases).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use tributary_config::validate;

    use super::*;

    #[test]
    fn both_configurations_are_valid_and_differ() {
        let (first, second) = (without_late_dataset(), whole());
        for bundle in [&first, &second] {
            assert_eq!(validate(bundle), []);
        }
        let has_late = |bundle| {
            let datasets = Configuration::load(bundle).unwrap().datasets;
            datasets.by_name(LATE_DATASET).is_some()
        };
        assert!(!has_late(&first) && has_late(&second));
    }
}
