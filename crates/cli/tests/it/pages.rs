//! `tributary config docs`, run as a process.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::stderr;

fn docs(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    command.args(["config", "docs"]).args(arguments).output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = docs(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn tables_of_named_datasets_are_printed() {
    let all = printed(&[]);
    let flood = printed(&["flood"]);

    assert!(flood.starts_with("# The feed `flood`\n\n<!-- schema of flood -->\n"), "{flood}");
    assert!(all.contains(&flood) && all.contains("<!-- schema of covid -->"));
}

#[test]
fn page_keeps_text_outside_its_markers() {
    let folder = folder("markers");
    let (page, shown) = (folder.join("flood.md"), folder.to_str().unwrap());

    let written = printed(&["flood", "--write", shown]);
    assert_eq!(written.trim_end(), page.to_str().unwrap());
    let created = std::fs::read_to_string(&page).unwrap();
    assert_eq!(created, printed(&["flood"]));
    let edited = created.replace("| `water_level` |", "| `level` |") + "\nMore.\n";
    std::fs::write(&page, edited).unwrap();
    printed(&["flood", "--write", shown]);
    assert_eq!(std::fs::read_to_string(&page).unwrap(), created + "\nMore.\n");
    assert_eq!(printed(&["flood", "--write", shown]), "");
}

#[test]
fn page_without_markers_is_left() {
    let folder = folder("none");
    let page = folder.join("flood.md");
    std::fs::write(&page, "# Flood\n").unwrap();

    let output = docs(&["flood", "--write", folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("has no lines <!-- schema of flood -->"), "{output:?}");
    assert_eq!(std::fs::read_to_string(&page).unwrap(), "# Flood\n");
    let output = docs(&["floods"]);
    assert!(stderr(&output).contains("\"floods\" is no dataset; there are accidents"));
}
