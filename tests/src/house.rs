//! The rules of the house: which way dependencies point, how long a file may be, and that nothing
//! is left behind.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The most lines a source file may have.
const MOST_LINES: usize = 500;

/// Folders that hold what was made or fetched, not what was written.
const NOT_OURS: &[&str] = &[".venv", ".aws-sam", "node_modules", ".git", ".local", "__pycache__"];

/// What a package of the workspace may depend on of the workspace, and what its tests may besides.
/// Packages that are not here (the command, the tests, the fuzz targets) may use everything, and are
/// used by none of these.
const MAY_USE: &[(&str, &[&str], &[&str])] = &[
    ("tributary-core", &[], &[]),
    ("tributary-simulate", &[], &[]),
    ("tributary-aws", &["tributary-core"], &[]),
    ("tributary-sim", &["tributary-core", "tributary-aws", "tributary-simulate"], &[]),
    ("tributary-cassandra", &["tributary-core", "tributary-aws"], &["tributary-sim"]),
    ("kafka-poller", &["tributary-aws"], &[]),
    ("windows-cassandra", &["windows", "tributary-aws", "tributary-cassandra"], &[]),
];
const FUNCTIONS_MAY_USE: (&[&str], &[&str]) =
    (&["tributary-core", "tributary-aws"], &["tributary-sim"]);

/// What a run of cargo writes to its standard output.
///
/// # Errors
///
/// When cargo cannot be run or does not succeed.
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

/// No crate of a `cargo tree --prefix none` is of AWS or of tokio.
#[must_use]
pub fn core_is_pure(tree: &str) -> Vec<String> {
    tree.lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| {
            ["aws-", "aws_"].iter().any(|it| name.starts_with(it))
                || *name == "tokio"
                || name.starts_with("tokio-")
        })
        .map(|name| format!("tributary-core depends on {name}"))
        .collect()
}

/// Dependencies point one way, by `cargo metadata --no-deps`: functions -> aws -> core.
#[must_use]
pub fn dependencies_point_one_way(metadata: &Value) -> Vec<String> {
    let packages: Vec<&Value> = metadata["packages"].as_array().into_iter().flatten().collect();
    let is_ours = |name: &str| packages.iter().any(|it| it["name"] == name);
    let mut faults = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        let known = MAY_USE.iter().find(|(known, ..)| *known == name);
        let (code, tests) = match known {
            Some((_, code, tests)) => (*code, *tests),
            None if manifest.contains("/functions/") => FUNCTIONS_MAY_USE,
            None => continue,
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            let in_tests = dependency["kind"] == "dev" && tests.contains(&used);
            // It has no code, only features.
            let is_allowed = code.contains(&used) || in_tests || used == "workspace-hack";
            if is_ours(used) && !is_allowed {
                faults.push(format!("{name} depends on {used}"));
            }
        }
    }
    faults
}

/// Every file beneath `root` that was written here, as its path from there.
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
            // A link may lead out of the repository, or round in it.
            let kind = entry.file_type().map_err(wrong)?;
            if kind.is_dir() {
                // Cargo's folder, and not a module of that name.
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

/// Whether a file's length is bounded.
#[must_use]
pub fn is_code(path: &str) -> bool {
    path.rsplit('/').next() == Some("Makefile")
        || ["rs", "py", "sh"].iter().any(|it| has_extension(path, it))
}

/// Whether a file's name ends so.
#[must_use]
pub fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|it| it == extension)
}

/// A file that is too long to be read in one go.
#[must_use]
pub fn too_long(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > MOST_LINES).then(|| format!("{path}: {lines} lines, more than {MOST_LINES}"))
}

/// A snapshot that no test compares with any more.
///
/// `snapshot` is the file at `path`, and `read` gives the text of a file of the repository.
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

/// The test, or the name it gave, in `crate__module__test-2@suffix.snap`.
fn test_of(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".snap");
    let name = name.rsplit("__").next().unwrap_or(name);
    let name = name.split('@').next().unwrap_or(name);
    match name.rsplit_once('-') {
        Some((test, number)) if number.parse::<u32>().is_ok() => test,
        _ => name,
    }
}

/// The lines of a deployed crate that read the environment anywhere but in `main`, where the
/// checks of the template cannot see it.
#[must_use]
pub fn reads_the_environment(path: &str, text: &str) -> Vec<String> {
    let is_deployed =
        ["functions/", "crates/core/", "crates/aws/"].iter().any(|it| path.starts_with(it));
    if !is_deployed || !path.contains("/src/") || path.ends_with("/src/main.rs") {
        return Vec::new();
    }
    text.lines()
        .map(str::trim_start)
        .filter(|line| line.contains("env::var") && !line.starts_with("//"))
        .map(|line| format!("{path}: reads the environment: {line}"))
        .collect()
}

/// The variables of a function that its README does not name.
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

/// The fixtures that the dataset `name` lacks among `files`.
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
