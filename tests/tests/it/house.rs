//! Rules of the repository, and tests of their checks.

use std::fs;

use serde_json::{Value, json};
use system_tests::contract::environment::READERS;
use system_tests::house::{self, PURE, cargo};
use system_tests::repository;

use crate::support::{holds, shipped};

fn files() -> Vec<String> {
    house::files(&repository()).unwrap_or_default()
}

fn read(path: &str) -> Option<String> {
    let bytes = fs::read(repository().join(path)).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn metadata() -> Value {
    let arguments = ["metadata", "--no-deps", "--format-version", "1", "--locked", "--offline"];
    serde_json::from_str(&cargo(&arguments).unwrap()).unwrap()
}

#[test]
fn pure_crates_use_no_aws_and_no_tokio() {
    for name in PURE {
        let package = format!("tributary-{name}");
        let edges = ["tree", "-p", &package, "-e", "normal", "--prefix", "none"];

        let tree = cargo(&[&edges[..], &["--locked", "--offline"]].concat()).unwrap();

        assert!(tree.starts_with(&package), "{tree}");
        holds(&house::impure_dependencies(&package, &tree));
    }
}

#[test]
fn aws_and_tokio_in_a_tree_are_reported() {
    let tree = "tributary-rows v0.1.0\naws-config v1\naws_lambda_events v1\ntokio v1\nlaws-of v1\n";

    let faults = house::impure_dependencies("tributary-rows", tree);

    assert_eq!(
        faults,
        ["aws-config", "aws_lambda_events", "tokio"]
            .map(|it| format!("tributary-rows depends on {it}"))
    );
}

#[test]
fn pure_crates_name_no_aws_service() {
    let is_pure =
        |path: &&String| PURE.iter().any(|name| path.starts_with(&format!("crates/{name}/src/")));
    let sources: Vec<_> = files().into_iter().filter(|path| is_pure(&path)).collect();

    assert!(sources.len() > PURE.len());
    let faults =
        sources.iter().flat_map(|it| house::named_services(it, &read(it).unwrap_or_default()));
    holds(&faults.collect::<Vec<_>>());
}

#[test]
fn aws_service_in_a_source_is_reported() {
    let text = "/// Fits a record of Firehose.\n// The answers\nlet firehose = 1;\n";

    assert_eq!(house::named_services("a.rs", text), ["a.rs:1: /// Fits a record of Firehose."]);
}

#[test]
fn cargo_builds_all_tests() {
    holds(&house::unbuilt_tests(&metadata(), &files(), read));
}

#[test]
fn test_that_is_not_built_is_reported() {
    let target =
        json!({"kind": ["lib"], "test": false, "doctest": false, "src_path": "/r/a/src/lib.rs"});
    let binary =
        json!({"kind": ["bin"], "test": false, "doctest": false, "src_path": "/r/a/src/main.rs"});
    let metadata = json!({"workspace_root": "/r", "packages": [{"targets": [target, binary]}]});
    let files = ["a/src/lib.rs", "a/src/main.rs", "a/src/b.rs", "c/src/lib.rs"].map(str::to_owned);
    let text = |path: &str| {
        Some(match path {
            "a/src/b.rs" => "/// ```\n/// f();\n/// ```\n".to_owned(),
            "a/src/lib.rs" => "/// ```text\n/// f();\n/// ```\n".to_owned(),
            _ => "#[tokio::test(start_paused = true)]\n".to_owned(),
        })
    };

    assert_eq!(
        house::unbuilt_tests(&metadata, &files, text),
        [
            "a/src/b.rs: cargo runs no examples of it (`doctest = false`)",
            "a/src/main.rs: cargo builds no tests of it (`test = false`)",
        ]
    );
}

#[test]
fn dependencies_are_those_of_the_architecture() {
    let page = read("docs/ARCHITECTURE.md").unwrap();

    let (actual, documented) = (house::edges(&metadata()), house::documented_edges(&page));

    assert!(actual.len() > READERS.len());
    let arrow = |(from, to): &(String, String)| format!("{from} -> {to}");
    let missing: Vec<_> = actual.difference(&documented).map(arrow).collect();
    let stale: Vec<_> = documented.difference(&actual).map(arrow).collect();
    assert_eq!((missing, stale), (vec![], vec![]), "(not in the table, only in the table)");
}

#[test]
fn documented_dependencies_are_read_from_their_table() {
    let page = "x\n### Dependencies\n\n| crate | purpose | uses |\n|---|---|---|\n\
                | `rows` | bytes to rows | |\n| `fn-a`, `fn-b` | functions | `aws`, `model` |\n\n### Next\n| `z` | | `y` |\n";

    let edges = house::documented_edges(page);

    let edge = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let expected = [("fn-a", "aws"), ("fn-a", "model"), ("fn-b", "aws"), ("fn-b", "model")];
    assert_eq!(edges, expected.map(|(from, to)| edge(from, to)).into());
}

#[test]
fn edges_leave_out_tests_and_crates_of_others() {
    let package = |name: &str, dependencies: &[(&str, Option<&str>)]| {
        let dependencies: Vec<_> =
            dependencies.iter().map(|(name, kind)| json!({ "name": name, "kind": kind })).collect();
        json!({ "name": name, "dependencies": dependencies })
    };
    let metadata = json!({ "packages": [
        package("tributary-model", &[("serde", None)]),
        package("tributary-aws", &[("tributary-model", None), ("tributary-testkit", Some("dev"))]),
        package("tributary-testkit", &[("tributary-aws", None)]),
    ]});

    let expected = [("aws", "model"), ("testkit", "aws")];
    assert_eq!(
        house::edges(&metadata),
        expected.map(|(from, to)| (from.to_owned(), to.to_owned())).into()
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
fn too_long_source_file_is_reported() {
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
fn orphan_snapshot_is_reported() {
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
fn environment_read_outside_main_is_reported() {
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
fn variable_missing_from_readme_is_reported() {
    let variables = ["QUEUE".to_owned(), "QUEUE_URL".to_owned()];

    let faults = house::unnamed("README.md", "| `QUEUE_URL` | the queue |", &variables);

    assert_eq!(faults, ["README.md: does not name QUEUE"]);
}

#[test]
fn each_dataset_has_its_fixtures() {
    let files = files();

    let faults: Vec<_> = shipped()
        .datasets
        .iter()
        .flat_map(|dataset| house::missing_fixtures(dataset.name(), &files))
        .collect();
    holds(&faults);
}

#[test]
fn dataset_without_bad_rows_is_reported() {
    let files = [
        "fixtures/datasets/flood/valid.jsonl".to_owned(),
        "fixtures/datasets/flood/bad-rows.md".to_owned(),
    ];

    let faults = house::missing_fixtures("flood", &files);

    assert_eq!(faults, ["fixtures/datasets/flood: lacks bad-rows.csv or bad-rows.jsonl"]);
}
