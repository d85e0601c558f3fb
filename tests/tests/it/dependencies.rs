//! Dependencies: each meets the rules of deny.toml and has a reason in the docs.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use system_tests::house::{self, cargo};
use system_tests::repository;

/// Package that enables the features of every build.
const HACK: &str = "workspace-hack";

fn toml(file: &str) -> toml::Table {
    std::fs::read_to_string(repository().join(file)).unwrap().parse().unwrap()
}

/// Returns the third-party packages that are compiled for a target of deny.toml.
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
fn every_licence_is_allowed() {
    let allowed = allowed_licences();

    let packages = packages();

    assert!(packages.len() > 100);
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(is_allowed(licence, &allowed), "{}: {licence}", package["name"]);
    }
}

#[test]
fn copyleft_licence_is_rejected() {
    let allowed = allowed_licences();

    assert!(is_allowed("MIT/Apache-2.0", &allowed));
    assert!(is_allowed("MIT OR LGPL-2.1-or-later", &allowed));
    assert!(!is_allowed("MIT AND LGPL-2.1-or-later", &allowed));
    assert!(!is_allowed("GPL-3.0-only", &allowed));
}

#[test]
fn packages_come_from_registry_and_none_is_banned() {
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
fn each_dependency_is_pinned_with_a_reason() {
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
        // The foundations of the ecosystem come in the version that the other crates agree on.
        let shared = ["serde", "serde_json", "tokio", "tracing"].contains(&name.as_str());
        assert!(shared || version.starts_with('='), "{name} {version} is not pinned");
    }
}

/// Returns the metadata of the packages of this platform: a fresh machine has no others.
fn cargo_metadata() -> Value {
    let platform = ["--filter-platform", "x86_64-unknown-linux-gnu"];
    let arguments = [&["metadata", "--format-version", "1", "--locked"], &platform[..]].concat();
    serde_json::from_str(&cargo(&arguments).unwrap()).unwrap()
}

/// Returns true if a line of code, not of a comment, names a crate.
fn mentions(source: &str, krate: &str) -> bool {
    let is_part = |it: char| it.is_alphanumeric() || it == '_';
    source.lines().filter(|it| !it.trim_start().starts_with("//")).any(|line| {
        line.match_indices(krate).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + krate.len()..]);
            !before.ends_with(is_part) && !after.starts_with(is_part)
        })
    })
}

#[test]
fn every_dependency_is_used() {
    let metadata = cargo_metadata();
    let all = metadata["packages"].as_array().unwrap();
    // `md-5` is called `md5` in code: the name of the library decides.
    let library = |name: &str| {
        let package = all.iter().find(|it| it["name"] == name)?;
        let kinds = ["lib", "proc-macro", "rlib"];
        let targets = package["targets"].as_array()?.iter();
        let mut named = targets.filter(|it| kinds.iter().any(|kind| it["kind"][0] == *kind));
        Some(named.next()?["name"].as_str()?.replace('-', "_"))
    };
    for package in all.iter().filter(|it| it["source"].is_null() && it["name"] != HACK) {
        let folder = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap();
        let files =
            house::files(folder).unwrap().into_iter().filter(|it| house::has_extension(it, "rs"));
        let code: Vec<_> =
            files.map(|it| std::fs::read_to_string(folder.join(it)).unwrap()).collect();
        for dependency in package["dependencies"].as_array().unwrap() {
            let name = dependency["name"].as_str().unwrap();
            let krate = dependency["rename"].as_str().map(|it| it.replace('-', "_"));
            let krate = krate.or_else(|| library(name)).unwrap_or_else(|| name.replace('-', "_"));
            assert!(
                name == HACK || code.iter().any(|it| mentions(it, &krate)),
                "{} depends on {name} and does not use it",
                package["name"]
            );
        }
    }
}

/// workspace-hack enables features of packages that are compiled anyway; a package that nothing
/// else needs would be compiled for nothing.
#[test]
fn hack_adds_no_package() {
    let metadata = cargo_metadata();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let is_hack = |id: &Value| id.as_str().unwrap().contains("/workspace-hack#");
    let dependencies = |hack: bool| {
        let nodes = nodes.iter().filter(move |it| is_hack(&it["id"]) == hack);
        nodes.flat_map(|it| it["deps"].as_array().unwrap()).map(|it| it["pkg"].as_str().unwrap())
    };

    let elsewhere: BTreeSet<_> = dependencies(false).collect();
    let extra: Vec<_> = dependencies(true).filter(|it| !elsewhere.contains(it)).collect();

    assert!(dependencies(true).count() > 10);
    assert!(extra.is_empty(), "run `cargo hakari generate`: {extra:?}");
}

#[test]
fn comment_or_longer_name_is_no_use() {
    assert!(mentions("use csv::Reader;", "csv"));
    assert!(mentions("    let _ = csv::Reader::new();", "csv"));
    assert!(!mentions("// csv::Reader\nuse csv_core::Reader;\nlet my_csv = 1;", "csv"));
}
