//! Mistakes in what an operator asks for: told, and not taken for an empty answer.

use tributary_model::bad_row::{BadRow, Code, Origin, Rejection};

use crate::cloud::Cloud;

/// One row in quarantine.
fn one() -> Cloud {
    let cloud = Cloud::new();
    let origin = Origin { dataset: Some("flood"), record_id: "aa".into(), ..Origin::default() };
    let rejection = Rejection::row(Code::InvalidJson, "why");
    let at = "2026-11-20T10:00:00Z".parse().unwrap();
    let row = BadRow::new(&rejection, &origin, Some(b"{"), at).to_line();
    cloud.put("lake/quarantine/dt=2026-11-20/one", row);
    cloud
}

#[test]
fn where_there_is_nothing_a_likely_mistake_is_told_and_the_exit_code_is_0() {
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
fn what_is_there_is_found() {
    let cloud = one();
    let asked = ["--code", "invalid_json", "--code", "late", "--dataset", "flood"];

    let listing = cloud.json(0, &[&["quarantine", "list", "--stack", "dev"], &asked[..]].concat());

    assert_eq!(listing["rows"], 1);
}

#[test]
fn what_cannot_be_is_one_line_and_exit_code_2() {
    let cloud = one();
    for (arguments, expected) in [
        (
            &["quarantine", "list", "--stack", "dev", "--code", "invalid_nmber"][..],
            "there is no code \"invalid_nmber\"; there are broken_base64, ",
        ),
        (
            &["quarantine", "show", "--stack", "dev", "--since", "2h", "--until", "-3h"],
            "--since is before --until",
        ),
        (
            &["quarantine", "replay", "--stack", "dev", "--since", "-2h", "--until", "1d"],
            "--since is before --until",
        ),
        (
            &["redrive", "--stack", "dev", "--since", "1h", "--until", "-1d"],
            "there is nothing between",
        ),
    ] {
        let message = cloud.refused(arguments);

        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    assert!(cloud.paths("lake/quarantine-replayed").is_empty());
}
