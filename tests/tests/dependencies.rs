//! What may become part of Tributary: the rules of deny.toml, and a reason for each dependency.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn toml(file: &str) -> toml::Table {
    std::fs::read_to_string(repository().join(file)).unwrap().parse().unwrap()
}

/// The packages that are compiled for a target of deny.toml, and come from somewhere else.
fn packages() -> Vec<Value> {
    let targets = toml("deny.toml")["graph"]["targets"].clone();
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version", "1", "--locked"]).current_dir(repository());
    for target in targets.as_array().unwrap() {
        command.args(["--filter-platform", target.as_str().unwrap()]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.filter(|package| package["source"].is_string()).cloned().collect()
}

fn allowed_licences() -> Vec<spdx::Licensee> {
    let deny = toml("deny.toml");
    let allow = deny["licenses"]["allow"].as_array().unwrap().iter();
    allow.map(|name| spdx::Licensee::parse(name.as_str().unwrap()).unwrap()).collect()
}

fn is_allowed(expression: &str, allowed: &[spdx::Licensee]) -> bool {
    // Older crates write a slash for OR.
    let expression = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX).unwrap();
    expression.evaluate(|requirement| allowed.iter().any(|one| one.satisfies(requirement)))
}

#[test]
fn every_licence_is_one_of_the_allowed() {
    let allowed = allowed_licences();

    let packages = packages();

    assert!(packages.len() > 100);
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(is_allowed(licence, &allowed), "{}: {licence}", package["name"]);
    }
}

#[test]
fn a_licence_that_asks_for_more_is_not_allowed() {
    let allowed = allowed_licences();

    assert!(is_allowed("MIT/Apache-2.0", &allowed));
    assert!(is_allowed("MIT OR LGPL-2.1-or-later", &allowed));
    assert!(!is_allowed("MIT AND LGPL-2.1-or-later", &allowed));
    assert!(!is_allowed("GPL-3.0-only", &allowed));
}

#[test]
fn every_package_is_from_the_registry_and_none_is_banned() {
    let deny = toml("deny.toml");
    let registries = deny["sources"]["allow-registry"].as_array().unwrap();
    let banned = deny["bans"]["deny"].as_array().unwrap();
    for package in packages() {
        let source = package["source"].as_str().unwrap();
        let known = registries.iter().any(|url| source.strip_prefix("registry+") == url.as_str());
        assert!(known, "{}: {source}", package["name"]);
        let name = package["name"].as_str().unwrap();
        assert!(!banned.iter().any(|ban| ban["name"].as_str() == Some(name)), "{name} is banned");
    }
}

#[test]
fn each_dependency_is_pinned_and_has_its_reason() {
    let manifest = toml("Cargo.toml");
    let reasons = std::fs::read_to_string(repository().join("docs/dependencies.md")).unwrap();
    for (name, dependency) in manifest["workspace"]["dependencies"].as_table().unwrap() {
        if dependency.get("path").is_some() {
            continue;
        }
        assert!(
            reasons.contains(&format!("`{name}`")),
            "docs/dependencies.md does not name {name}"
        );
        let version = dependency.get("version").unwrap_or(dependency).as_str().unwrap();
        // The foundations of the ecosystem come in whatever version the others agree on.
        let shared = ["serde", "serde_json", "tokio", "tracing"].contains(&name.as_str());
        assert!(shared || version.starts_with('='), "{name} {version} is not pinned");
    }
}
