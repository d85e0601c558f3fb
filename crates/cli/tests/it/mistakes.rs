//! Mistakes in an operator's arguments are reported and not taken for an empty answer.

use tributary_model::bad_row::{BadRow, Code, Origin, Rejection};

use crate::cloud::Cloud;

/// Fake account with one row in quarantine.
fn one() -> Cloud {
    let cloud = Cloud::new();
    let origin = Origin { dataset: Some("flood"), record_id: "aa".into(), ..Origin::default() };
    let rejection = Rejection::row(Code::InvalidJson, "why");
    let at = "2026-11-20T10:00:00Z".parse().unwrap();
    let row = BadRow::new(&rejection, &origin, Some(b"{"), at).to_line(usize::MAX);
    cloud.put("lake/quarantine/dt=2026-11-20/one", row);
    cloud
}

#[test]
fn empty_result_reports_likely_mistake() {
    let cloud = one();
    for (arguments, expected) in [
        (&["--prefix", "quarantin"][..], "there is no object below s3://lake/quarantin/"),
        (
            &["--since", "2999-01-01"],
            "there is no object of those days below s3://lake/quarantine/",
        ),
        (
            &["--dataset", "floods"],
            "\"floods\" is no dataset, and no row is of it; there are accid",
        ),
        (&["--dataset", "covid"], ""),
        (&["--code", "late"], ""),
    ] {
        let output =
            cloud.command(&[&["quarantine", "list", "--stack", "dev"][..], arguments].concat());

        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {message}");
        assert_eq!(message.lines().count(), usize::from(!expected.is_empty()), "{message}");
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
}

#[test]
fn repeated_options_match_any_value() {
    let cloud = one();
    let asked = ["--code", "invalid_json", "--code", "late", "--dataset", "flood"];

    let listing = cloud.json(0, &[&["quarantine", "list", "--stack", "dev"], &asked[..]].concat());

    assert_eq!(listing["rows"], 1);
}

#[test]
fn impossible_filters_exit_2_with_one_line() {
    let cloud = one();
    for (arguments, expected) in [
        (
            &["quarantine", "list", "--stack", "dev", "--code", "invalid_nmber"][..],
            "there is no code \"invalid_nmber\"; there are broken_base64, ",
        ),
        (
            &["quarantine", "show", "--stack", "dev", "--since", "2h", "--until", "-3h"],
            "--since must be before --until",
        ),
        (
            &["quarantine", "replay", "--stack", "dev", "--since", "-2h", "--until", "1d"],
            "--since must be before --until",
        ),
        (&["redrive", "--stack", "dev", "--since", "1h", "--until", "-1d"], "is no time range"),
    ] {
        let message = cloud.refused(arguments);

        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    assert!(cloud.paths("lake/quarantine-replayed").is_empty());
}
