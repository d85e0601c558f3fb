//! Documentation: links resolve, and the tests it names exist.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use system_tests::repository;
use tributary_config::{ALERTS, AlertsConfig};
use tributary_datasets::pages::updated_page;
use tributary_datasets::{Dataset, LookupFiles};
use tributary_model::bad_row::Code;

use crate::support::{holds, shipped};

/// Returns the files with one of these extensions that git tracks or would track.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(repository())
        .output()
        .unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    let wanted = |file: &&str| endings.iter().any(|ending| file.ends_with(ending));
    listed.lines().filter(wanted).map(|file| repository().join(file)).collect()
}

/// Returns the parts of `text` between `open` and `close`.
fn between<'t>(text: &'t str, open: &'t str, close: char) -> impl Iterator<Item = &'t str> {
    text.split(open).skip(1).filter_map(move |rest| rest.split_once(close).map(|(part, _)| part))
}

#[test]
fn every_link_to_a_file_resolves() {
    let pages = files(&[".md"]);
    assert!(pages.len() > 8);
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in between(&text, "](", ')') {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let file = link.split('#').next().unwrap_or_default();
            assert!(page.with_file_name(file).exists(), "{}: {link}", page.display());
        }
    }
}

#[test]
fn feed_page_lists_each_rule() {
    let rules = AlertsConfig::from_toml(ALERTS).unwrap().rules;
    assert!(!rules.is_empty());
    for rule in rules {
        let page = repository().join(format!("docs/feeds/{}.md", rule.dataset));
        let text = std::fs::read_to_string(&page).unwrap();
        let row = format!("| `{}` ({}) | ", rule.id, rule.severity.as_str());
        assert!(text.contains(&row), "{}: no row {row:?}", page.display());
    }
}

#[test]
fn feed_page_has_tables_of_its_schema() {
    let fault = |dataset: &Dataset| {
        let page = format!("docs/feeds/{}.md", dataset.name());
        // A dataset may have no page.
        let text = std::fs::read_to_string(repository().join(&page)).ok()?;
        let what = match updated_page(dataset, &text) {
            None => "has no markers of its schema",
            Some(updated) if updated != text => "differs from its schema",
            Some(_) => return None,
        };
        let command = "tributary config docs --config config --write docs/feeds";
        Some(format!("{page} {what}: `{command}` writes its tables"))
    };

    holds(&shipped().datasets.iter().filter_map(|dataset| fault(dataset)).collect::<Vec<_>>());
}

#[test]
fn readme_links_each_page_and_function() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let (_, reading_on) = readme.split_once("## Reading on").unwrap();
    let links: BTreeSet<_> = between(reading_on, "](", ')')
        .map(|link| repository().join(link.split('#').next().unwrap_or_default()))
        .collect();
    for page in files(&[".md"]) {
        let folder = page.parent().unwrap();
        let is_page = folder.ends_with("docs") || folder.ends_with("docs/feeds");
        let is_function = folder.parent().is_some_and(|it| it.ends_with("functions"));
        if is_page || is_function {
            assert!(links.contains(&page), "README.md does not lead to {}", page.display());
        }
    }
}

#[test]
fn table_of_codes_has_each_code_once() {
    let page = std::fs::read_to_string(repository().join("docs/SEMANTICS.md")).unwrap();
    let (_, section) = page.split_once("\n## Codes\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut reported: Vec<_> = rows.map(|row| row.split('`').next().unwrap()).collect();
    reported.sort_unstable();

    let mut codes: Vec<_> = Code::ALL.into_iter().map(|(_, name)| name).collect();
    codes.sort_unstable();
    assert_eq!(reported, codes);
}

/// The first schema of the page, as a reader would copy it.
#[test]
fn schema_of_the_page_compiles() {
    let page = std::fs::read_to_string(repository().join("docs/DATASETS.md")).unwrap();
    let schema = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let weather = Dataset::compile("weather", schema, &LookupFiles::new()).unwrap();

    let row = r#"{"station":"s","observed":"01.07.2026 12:00","temp":"72.5"}"#;
    let event = weather.event(row, None).unwrap();
    assert_eq!(event.event_time.to_string(), "2026-07-01T10:00:00Z");
    assert_eq!(event.measures.get("temperature_c"), Some(&22.5));
}

#[test]
fn every_promise_names_tests_that_exist() {
    let sources: String =
        files(&[".rs"]).iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let tests: BTreeSet<_> = between(&sources, "fn ", '(').collect();
    let page = std::fs::read_to_string(repository().join("docs/SEMANTICS.md")).unwrap();
    let promises = between(&page, "## Promises", '#').next().unwrap();
    // The name of a test has more words than a field or a code.
    let quoted = promises.split('`').skip(1).step_by(2);
    let named: Vec<_> = quoted.filter(|name| name.matches('_').count() >= 3).collect();

    assert!(named.len() > 20, "{named:?}");
    for name in named {
        assert!(tests.contains(name), "no test is called {name}");
    }
}
