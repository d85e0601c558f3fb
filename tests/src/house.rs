//! Rules of the repository: the direction of dependencies, the length of files, no leftovers.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Maximum number of lines of a source file.
const MAX_LINES: usize = 500;

/// Folders of generated or downloaded files.
const NOT_OURS: &[&str] = &[".venv", ".aws-sam", "node_modules", ".git", ".local", "__pycache__"];

/// Crates that decide about data: they use no AWS crate and no runtime, and name no AWS service.
pub const PURE: &[&str] =
    &["rows", "kpl", "model", "datasets", "rules", "windows", "anomaly", "operate"];

/// AWS services of the adapters. Kinesis is not among them: the contracts are written for its
/// streams.
const SERVICES: &[&str] = &["CloudWatch", "DynamoDB", "DynamoDb", "Firehose", "SNS", "SQS"];

/// Runs cargo and returns its standard output.
///
/// # Errors
///
/// When cargo cannot be run or fails.
pub fn cargo(arguments: &[&str]) -> Result<String, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| env!("CARGO").to_owned());
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(crate::repository())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Returns each AWS crate and each part of tokio in a `cargo tree --prefix none` of `package`.
#[must_use]
pub fn impure_dependencies(package: &str, tree: &str) -> Vec<String> {
    tree.lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| {
            ["aws-", "aws_"].iter().any(|it| name.starts_with(it))
                || *name == "tokio"
                || name.starts_with("tokio-")
        })
        .map(|name| format!("{package} depends on {name}"))
        .collect()
}

/// Returns each line of a pure crate's source that names an AWS service.
#[must_use]
pub fn named_services(path: &str, text: &str) -> Vec<String> {
    let words = |line: &str| {
        let mut words = line.split(|it: char| !it.is_ascii_alphanumeric());
        words.any(|word| SERVICES.contains(&word))
    };
    let lines = text.lines().enumerate().filter(|(_, line)| words(line));
    lines.map(|(index, line)| format!("{path}:{}: {}", index + 1, line.trim())).collect()
}

/// Returns the dependencies between our packages, without those of tests, from `cargo metadata
/// --no-deps`.
#[must_use]
pub fn edges(metadata: &Value) -> BTreeSet<(String, String)> {
    let packages: Vec<&Value> = metadata["packages"].as_array().into_iter().flatten().collect();
    let is_ours = |name: &str| packages.iter().any(|it| it["name"] == name);
    let mut edges = BTreeSet::new();
    for package in &packages {
        let from = package["name"].as_str().unwrap_or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            // workspace-hack has no code, only features.
            if is_ours(to) && dependency["kind"].is_null() && to != "workspace-hack" {
                edges.insert((short(from), short(to)));
            }
        }
    }
    edges
}

/// Returns a package's name as the documentation writes it.
fn short(package: &str) -> String {
    package.strip_prefix("tributary-").unwrap_or(package).to_owned()
}

/// Returns the dependencies between our packages that the table "Dependencies" of
/// docs/ARCHITECTURE.md states: a row is `` | `from` | purpose | `to`, `to` | ``.
#[must_use]
pub fn documented_edges(page: &str) -> BTreeSet<(String, String)> {
    let section = page.split_once("\n### Dependencies\n").map_or("", |(_, rest)| rest);
    let section = section.split_once("\n#").map_or(section, |(section, _)| section);
    let mut edges = BTreeSet::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let mut fields = row.split('|').map(str::trim).skip(1);
        let (from, to) = (fields.next().unwrap_or_default(), fields.nth(1).unwrap_or_default());
        let names = |text: &str| -> Vec<String> {
            text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        for from in names(from) {
            edges.extend(names(to).into_iter().map(|to| (from.clone(), to)));
        }
    }
    edges
}

/// Returns each test in a source of a target for which cargo builds no tests, from `cargo metadata
/// --no-deps`. A harness without tests costs each build of them a link and a run.
///
/// `files` are all files of the repository, and `read` returns what is in one.
#[must_use]
pub fn unbuilt_tests(
    metadata: &Value,
    files: &[String],
    read: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let root = metadata["workspace_root"].as_str().unwrap_or_default();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.flat_map(|it| it["targets"].as_array().into_iter().flatten());
    let mut faults = Vec::new();
    for target in targets {
        let path = target["src_path"].as_str().unwrap_or_default();
        let path = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/');
        let is_library =
            target["kind"].as_array().is_some_and(|it| it.iter().any(|it| it == "lib"));
        let folder = path.trim_end_matches("lib.rs");
        let is_part = |it: &str| it.starts_with(folder) && !it.ends_with("/main.rs");
        let is_source = |it: &&String| *it == path || (is_library && is_part(it));
        for source in files.iter().filter(|it| has_extension(it, "rs")).filter(is_source) {
            let text = read(source).unwrap_or_default();
            if target["test"] == false && has_test(&text) {
                faults.push(format!("{source}: cargo builds no tests of it (`test = false`)"));
            }
            if is_library && target["doctest"] == false && has_code_example(&text) {
                faults.push(format!("{source}: cargo runs no examples of it (`doctest = false`)"));
            }
        }
    }
    faults
}

/// Reports whether a source has a test, with or without arguments of its attribute, or a module of
/// tests.
fn has_test(text: &str) -> bool {
    let attributes = text.lines().map(str::trim).filter_map(|it| it.strip_prefix("#["));
    let mut names = attributes.map(|it| it.split(['(', ']']).next().unwrap_or_default().trim_end());
    names.any(|it| it == "test" || it.ends_with("::test"))
        || ["#[cfg(test)]", "proptest! {"].iter().any(|it| text.contains(it))
}

/// Reports whether a doc comment has a block that `cargo test` would run: its language is Rust or
/// not named.
fn has_code_example(text: &str) -> bool {
    let lines = text.lines().map(str::trim_start);
    let comments = lines.filter_map(|it| it.strip_prefix("///").or_else(|| it.strip_prefix("//!")));
    let fences = comments.filter_map(|it| it.trim_start().strip_prefix("```"));
    // Every second fence is the end of a block.
    fences.step_by(2).any(|language| !matches!(language.trim(), "text" | "json" | "toml" | "sh"))
}

/// Returns the path, relative to `root`, of every file below it that is not generated.
///
/// # Errors
///
/// When a folder cannot be read.
pub fn files(root: &Path) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let wrong = |error| format!("{}: {error}", folder.display());
        for entry in fs::read_dir(&folder).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            let path = entry.path();
            // Symbolic links are not followed: they may lead out of the repository, or in a circle.
            let kind = entry.file_type().map_err(wrong)?;
            if kind.is_dir() {
                // Only Cargo's own folder, not a module with that name.
                let is_target = path == root.join("target");
                if !is_target && !NOT_OURS.contains(&entry.file_name().to_string_lossy().as_ref()) {
                    folders.push(path);
                }
            } else if let Ok(path) = path.strip_prefix(root) {
                found.push(path.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Returns true for files whose length is limited.
#[must_use]
pub fn is_code(path: &str) -> bool {
    path.rsplit('/').next() == Some("Makefile")
        || ["rs", "py", "sh"].iter().any(|it| has_extension(path, it))
}

/// Returns true if a file's name ends with `.extension`.
#[must_use]
pub fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|it| it == extension)
}

/// Returns a fault if a file has more than `MAX_LINES` lines.
#[must_use]
pub fn too_long(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > MAX_LINES).then(|| format!("{path}: {lines} lines, more than {MAX_LINES}"))
}

/// Returns a fault if no test compares with the snapshot any more.
///
/// `snapshot` is the text of the file at `path`; `read` returns the text of a file of the
/// repository.
#[must_use]
pub fn orphan(path: &str, snapshot: &str, read: impl Fn(&str) -> Option<String>) -> Option<String> {
    let Some(source) = snapshot.lines().find_map(|line| line.strip_prefix("source: ")) else {
        return Some(format!("{path}: names no source"));
    };
    let source = source.trim_matches('"');
    let Some(code) = read(source) else {
        return Some(format!("{path}: its source {source} is gone"));
    };
    let test = test_of(path);
    let is_there = code.contains(&format!("fn {test}(")) || code.contains(&format!("\"{test}\""));
    (!is_there).then(|| format!("{path}: {source} has no test {test}"))
}

/// Returns the test, or the name that the test gave, in `crate__module__test-2@suffix.snap`.
fn test_of(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".snap");
    let name = name.rsplit("__").next().unwrap_or(name);
    let name = name.split('@').next().unwrap_or(name);
    match name.rsplit_once('-') {
        Some((test, number)) if number.parse::<u32>().is_ok() => test,
        _ => name,
    }
}

/// Returns the lines of a deployed crate that read the environment outside `main`, where the checks
/// of the template do not see them.
#[must_use]
pub fn reads_the_environment(path: &str, text: &str) -> Vec<String> {
    // The command, its tools and the tests run on a person's machine; all else is deployed.
    let local = ["crates/cli/", "crates/kafka-bridge/", "crates/testkit/", "crates/datagen/"];
    let is_deployed = ["functions/", "crates/"].iter().any(|it| path.starts_with(it))
        && !local.iter().any(|it| path.starts_with(it));
    if !is_deployed || !path.contains("/src/") || path.ends_with("/src/main.rs") {
        return Vec::new();
    }
    text.lines()
        .map(str::trim_start)
        .filter(|line| line.contains("env::var") && !line.starts_with("//"))
        .map(|line| format!("{path}: reads the environment: {line}"))
        .collect()
}

/// Returns the variables of a function that its README does not name.
#[must_use]
pub fn unnamed<'a>(
    path: &str,
    readme: &str,
    variables: impl IntoIterator<Item = &'a String>,
) -> Vec<String> {
    let words: Vec<&str> =
        readme.split(|it: char| !it.is_ascii_alphanumeric() && it != '_').collect();
    variables
        .into_iter()
        .filter(|name| !words.contains(&name.as_str()))
        .map(|name| format!("{path}: does not name {name}"))
        .collect()
}

/// Returns the fixtures of dataset `name` that are missing from `files`.
#[must_use]
pub fn missing_fixtures(name: &str, files: &[String]) -> Vec<String> {
    ["valid", "bad-rows"]
        .iter()
        .filter(|case| {
            let stem = format!("fixtures/datasets/{name}/{case}.");
            let is_rows = |end: &str| matches!(end, "csv" | "jsonl");
            !files.iter().any(|file| file.strip_prefix(&stem).is_some_and(is_rows))
        })
        .map(|case| format!("fixtures/datasets/{name}: lacks {case}.csv or {case}.jsonl"))
        .collect()
}
