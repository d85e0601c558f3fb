//! The rules of the house hold.

use std::fs;

use serde_json::{Value, json};
use system_tests::contract::environment::READERS;
use system_tests::house::{self, cargo};
use system_tests::repository;
use tributary_datasets as datasets;

use crate::support::holds;

fn files() -> Vec<String> {
    house::files(&repository()).unwrap_or_default()
}

fn read(path: &str) -> Option<String> {
    let bytes = fs::read(repository().join(path)).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn core_depends_on_no_aws_and_no_tokio() {
    let tree = [
        "tree",
        "-p",
        "tributary-core",
        "-e",
        "normal",
        "--prefix",
        "none",
        "--locked",
        "--offline",
    ];

    let tree = cargo(&tree).unwrap();

    assert!(tree.starts_with("tributary-core "), "{tree}");
    holds(&house::core_is_pure(&tree));
}

#[test]
fn aws_and_tokio_in_core_are_seen() {
    let tree = "tributary-core v0.1.0\naws-config v1\naws_lambda_events v1\ntokio v1\nlaws-of v1\n";

    let faults = house::core_is_pure(tree);

    assert_eq!(
        faults,
        ["aws-config", "aws_lambda_events", "tokio"]
            .map(|it| format!("tributary-core depends on {it}"))
    );
}

#[test]
fn dependencies_point_one_way() {
    let metadata =
        cargo(&["metadata", "--no-deps", "--format-version", "1", "--locked", "--offline"])
            .unwrap();
    let metadata: Value = serde_json::from_str(&metadata).unwrap();

    assert!(metadata["packages"].as_array().is_some_and(|it| it.len() > READERS.len()));
    holds(&house::dependencies_point_one_way(&metadata));
}

#[test]
fn a_dependency_against_the_way_is_seen() {
    let package = |name: &str, folder: &str, dependencies: &[(&str, Option<&str>)]| {
        let dependencies: Vec<_> =
            dependencies.iter().map(|(name, kind)| json!({ "name": name, "kind": kind })).collect();
        json!({ "name": name, "manifest_path": format!("/repository/{folder}/{name}/Cargo.toml"), "dependencies": dependencies })
    };
    let metadata = json!({ "packages": [
        package("tributary-core", "crates", &[("serde", None), ("tributary-sim", Some("dev"))]),
        package("tributary-aws", "crates", &[("tributary-core", None), ("transform", None)]),
        package("tributary-sim", "crates", &[("tributary-aws", None)]),
        package("transform", "functions", &[("tributary-aws", None), ("tributary-sim", Some("dev"))]),
        package("alerts", "functions", &[("tributary-sim", None), ("transform", None)]),
    ]});

    let faults = house::dependencies_point_one_way(&metadata);

    assert_eq!(
        faults,
        [
            "tributary-core depends on tributary-sim",
            "tributary-aws depends on transform",
            "alerts depends on tributary-sim",
            "alerts depends on transform",
        ]
    );
}

#[test]
fn no_source_file_is_too_long() {
    let files = files();
    let code: Vec<_> = files.iter().filter(|path| house::is_code(path)).collect();

    assert!(code.iter().any(|path| *path == "tests/tests/it/house.rs"), "{code:?}");
    let faults: Vec<_> =
        code.iter().filter_map(|path| house::too_long(path, &read(path)?)).collect();
    holds(&faults);
}

#[test]
fn a_source_file_that_is_too_long_is_seen() {
    assert!(house::is_code("Makefile") && house::is_code("tools/lint.sh"));
    assert!(!house::is_code("template.yaml") && !house::is_code("events/a.csv"));

    assert_eq!(house::too_long("a.rs", &"\n".repeat(500)), None);
    assert_eq!(
        house::too_long("a.rs", &"\n".repeat(501)).as_deref(),
        Some("a.rs: 501 lines, more than 500")
    );
}

#[test]
fn no_snapshot_is_an_orphan() {
    let snapshots: Vec<_> =
        files().into_iter().filter(|path| house::has_extension(path, "snap")).collect();

    assert!(!snapshots.is_empty());
    let faults: Vec<_> = snapshots
        .iter()
        .filter_map(|path| house::orphan(path, &read(path).unwrap_or_default(), read))
        .collect();
    holds(&faults);
}

#[test]
fn an_orphan_snapshot_is_seen() {
    let source = |path: &str| {
        (path == "src/a.rs").then(|| "fn a_row_is_read() {} assert_snapshot!(\"named\")".to_owned())
    };
    let orphan = |path: &str, header: &str| house::orphan(path, header, source);
    let header = "---\nsource: src/a.rs\nexpression: row\n---\n1\n";

    assert_eq!(orphan("src/snapshots/a__tests__a_row_is_read.snap", header), None);
    assert_eq!(orphan("src/snapshots/a__tests__a_row_is_read-2.snap", header), None);
    assert_eq!(orphan("src/snapshots/a__named@csv.snap", header), None);
    assert_eq!(
        orphan("a__a_row.snap", header).as_deref(),
        Some("a__a_row.snap: src/a.rs has no test a_row")
    );
    assert_eq!(
        orphan("a.snap", "---\nsource: src/b.rs\n---\n").as_deref(),
        Some("a.snap: its source src/b.rs is gone")
    );
    assert_eq!(orphan("a.snap", "1\n").as_deref(), Some("a.snap: names no source"));
}

#[test]
fn only_main_reads_the_environment() {
    let faults: Vec<_> = files()
        .iter()
        .filter(|path| house::has_extension(path, "rs"))
        .flat_map(|path| house::reads_the_environment(path, &read(path).unwrap_or_default()))
        .collect();

    holds(&faults);
}

#[test]
fn a_second_trip_through_the_environment_is_seen() {
    let text = "/// Not `env::var`.\n    let name = env::var(\"NAME\");\n";

    assert!(house::reads_the_environment("functions/a/src/main.rs", text).is_empty());
    assert_eq!(
        house::reads_the_environment("functions/a/src/handler.rs", text),
        ["functions/a/src/handler.rs: reads the environment: let name = env::var(\"NAME\");"]
    );
}

#[test]
fn each_readme_names_the_environment_of_its_function() {
    let mut faults = Vec::new();
    for reader in READERS {
        let path = format!("functions/{}/README.md", reader.binary);
        match read(&path) {
            Some(readme) => faults.extend(house::unnamed(&path, &readme, &reader.variables())),
            None => faults.push(format!("{path} is missing")),
        }
    }

    holds(&faults);
}

#[test]
fn a_variable_that_a_readme_does_not_name_is_seen() {
    let variables = ["QUEUE".to_owned(), "QUEUE_URL".to_owned()];

    let faults = house::unnamed("README.md", "| `QUEUE_URL` | the queue |", &variables);

    assert_eq!(faults, ["README.md: does not name QUEUE"]);
}

#[test]
fn each_dataset_has_its_fixtures() {
    let files = files();

    assert!(!datasets::ALL.is_empty());
    let faults: Vec<_> = datasets::ALL
        .iter()
        .flat_map(|dataset| house::missing_fixtures(dataset.name(), &files))
        .collect();
    holds(&faults);
}

#[test]
fn a_dataset_without_bad_rows_is_seen() {
    let files = [
        "fixtures/datasets/flood/valid.jsonl".to_owned(),
        "fixtures/datasets/flood/bad-rows.md".to_owned(),
    ];

    let faults = house::missing_fixtures("flood", &files);

    assert_eq!(faults, ["fixtures/datasets/flood: lacks bad-rows.csv or bad-rows.jsonl"]);
}
