//! `tributary config push`, `show`, `rollback` and `check --stack`, against a local fake of AWS.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tributary_config::Bundle;

use crate::cloud::Cloud;

/// Folder with a copy of `config/`, which ends with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tributary-{name}-{}", std::process::id()));
        let folder = Self(path);
        for (file, text) in Bundle::shipped().files() {
            folder.write(file, text);
        }
        folder
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn replace(&self, file: &str, old: &str, new: &str) {
        let text = Bundle::shipped().text(file).to_owned();
        assert!(text.contains(old), "{old}");
        self.write(file, &text.replacen(old, new, 1));
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn push(folder: &Folder) -> [&str; 6] {
    ["config", "push", "--stack", "dev", "--config", folder.path()]
}

const SHOW: [&str; 4] = ["config", "show", "--stack", "dev"];
const ROLLBACK: [&str; 4] = ["config", "rollback", "--stack", "dev"];
const RIVERS: &str = "datasets/rivers.toml";

/// Adds a dataset like `flood`, with another column.
fn with_rivers(folder: &Folder) {
    let text = Bundle::shipped().text("datasets/flood.toml").replace("\"location\"", "\"site\"");
    folder.write(RIVERS, &text);
}

#[test]
fn push_and_rollback_change_what_is_in_use() {
    let (cloud, folder) = (Cloud::new(), Folder::new("push"));
    let shipped = Bundle::shipped().version().to_string();
    let shown = cloud.json(0, &SHOW);
    assert_eq!((&shown["in_use"], &shown["releases"]), (&json!(shipped), &json!([])));

    with_rivers(&folder);
    let pushed = cloud.json(0, &push(&folder));
    assert_eq!(pushed["before"], json!(shipped));
    assert_eq!(pushed["files"], json!({ RIVERS: "added" }));
    let version = pushed["version"].as_str().unwrap();
    let files = cloud.state().objects[&format!("config/versions/{version}.json")].clone();
    assert_eq!(Bundle::from_json(&files).unwrap().version().to_string(), version);

    let again = cloud.json(0, &push(&folder));
    assert_eq!((&again["version"], &again["before"]), (&json!(version), &json!(version)));
    let shown = cloud.json(0, &SHOW);
    assert_eq!(shown["releases"].as_array().unwrap().len(), 1);
    assert!(shown["datasets"].as_array().unwrap().contains(&json!("rivers")));

    let back = cloud.json(0, &ROLLBACK);
    assert_eq!((&back["version"], &back["before"]), (&json!(shipped), &json!(version)));
    assert_eq!(back["files"], json!({ RIVERS: "removed" }));
    assert!(cloud.refused(&ROLLBACK).contains("compiled in"));
}

#[test]
fn invalid_configuration_is_not_pushed() {
    let (cloud, folder) = (Cloud::new(), Folder::new("invalid"));
    folder.replace("datasets/telemetry.toml", "[measures]", "[measurse]");
    let error = cloud.refused(&push(&folder));
    assert!(error.contains("datasets/telemetry.toml:") && error.contains("measurse"), "{error}");
    assert_eq!(cloud.paths("config/"), [""; 0]);
}

#[test]
fn changed_natural_key_is_refused() {
    let (cloud, folder) = (Cloud::new(), Folder::new("key"));
    with_rivers(&folder);
    cloud.json(0, &push(&folder));
    cloud.json(0, &ROLLBACK);
    let text = Bundle::shipped().text("datasets/flood.toml").replace("\"location\"", "\"site\"");
    folder.write(RIVERS, &text.replace("[\"entity\", \"time\"]", "[\"entity\"]"));

    let error = cloud.refused(&push(&folder));
    assert!(error.contains("dataset rivers: the key was entity"), "{error}");
    let check = ["config", "check", "--stack", "dev", "--config", folder.path()];
    let errors = cloud.json(1, &check)["errors"].clone();
    assert!(errors[0].as_str().unwrap().contains("give it another name"), "{errors}");
    assert_eq!(cloud.json(0, &check[..2])["errors"], json!([]));

    folder.write(RIVERS, &text);
    assert_eq!(cloud.json(0, &check)["errors"], json!([]));
}

#[test]
fn compiled_in_keys_hold_from_the_start() {
    let (cloud, folder) = (Cloud::new(), Folder::new("compiled"));
    folder.replace("pipeline.toml", "size = \"1m\"", "size = \"2m\"");
    let error = cloud.refused(&push(&folder));
    assert!(error.contains("1m every 1m") && error.contains("2m every 2m"), "{error}");
}

#[test]
fn tables_are_for_people() {
    let (cloud, folder) = (Cloud::new(), Folder::new("table"));
    with_rivers(&folder);
    let printed = |arguments: &[&str]| {
        let output = cloud.command(arguments);
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(printed(&SHOW).contains("It is the compiled-in one"));
    let pushed = printed(&push(&folder));
    assert!(pushed.contains("\n   added   datasets/rivers.toml\n"), "{pushed}");
    assert!(printed(&push(&folder)).contains("in use already"));
    let shown = printed(&SHOW);
    assert!(shown.contains("accidents, covid, flood, rivers, telemetry"), "{shown}");
    assert!(shown.contains("version") && shown.lines().count() == 4, "{shown}");
}

#[test]
fn lost_race_is_an_error() {
    let (cloud, folder) = (Cloud::new(), Folder::new("race"));
    with_rivers(&folder);
    cloud.json(0, &push(&folder));
    cloud.state().is_changed_by_others = true;
    let error = cloud.refused(&ROLLBACK);
    assert!(error.contains("somebody else"), "{error}");
    let shown: Value = cloud.json(0, &SHOW);
    assert_eq!(shown["releases"].as_array().unwrap().len(), 1);
}
