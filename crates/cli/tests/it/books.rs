//! `tributary books --from logs`, run against a local fake of AWS.

use jiff::Timestamp;
use serde_json::{Value, json};
use tributary_config::Bundle;

use crate::cloud::Cloud;

/// Returns the log line of a batch at this time of the day: rows received, delivered and
/// quarantined.
fn line(function: &str, at: &str, [received, out, quarantined]: [u64; 3]) -> (i64, String) {
    let at: Timestamp = format!("2026-11-20T{at}Z").parse().unwrap();
    let at = at.as_millisecond();
    let line = json!({"_aws": {"Timestamp": at, "CloudWatchMetrics": []}, "level": "INFO", "function": function,
        "in": received, "out": out, "quarantined": quarantined, "filtered": 0, "late": 0, "undelivered": 0,
        "message": "batch", "duration_ms": 1});
    (at, line.to_string())
}

/// Fake with the logs of an hour in which 300 rows passed all functions, with many batches of
/// `alerts`.
fn hour() -> Cloud {
    let cloud = Cloud::new();
    let put = |function: &str, lines: Vec<(i64, String)>| {
        cloud.state().logs.insert(format!("/aws/lambda/dev-{function}"), lines);
    };
    let bad = line("ingest-s3", "10:30:00", [300, 294, 6]);
    let noise = (bad.0, "START RequestId: a batch".to_owned());
    put("ingest-s3", vec![noise, bad]);
    put("transform", vec![line("transform", "10:30:05", [294, 276, 18])]);
    put("metrics", vec![line("metrics", "10:30:10", [276, 276, 0])]);
    let batches = (0..23).map(|number| line("alerts", &format!("10:31:{number:02}"), [12, 12, 0]));
    put("alerts", batches.collect());
    cloud
}

fn books<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let window = ["--since", "2026-11-20T10:00:00Z", "--until", "2026-11-20T11:00:00Z"];
    [&["books", "--stack", "dev", "--from", "logs"], &window[..], more].concat()
}

#[test]
fn full_hour_reconciles() {
    let cloud = hour();

    let balance = cloud.json(0, &books(&[]));

    assert_eq!((&balance["faults"], &balance["notes"]), (&json!([]), &json!([])));
    let taken: Vec<_> = balance["streams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["taken"].as_u64().unwrap())
        .collect();
    assert_eq!(taken, [294, 276, 276]);
    let names: Vec<_> = balance["functions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["function"].as_str().unwrap())
        .collect();
    assert_eq!(names[..2], ["ingest-s3", "transform"]);
    assert_eq!(
        (&balance["functions"][0]["in"], &balance["functions"][0]["quarantined"]),
        (&json!(300), &json!(6))
    );
    let shipped = Bundle::shipped().version().to_string();
    assert_eq!(balance["config"], json!({ "in_use": shipped }));
    assert!(cloud.paths("").is_empty() && cloud.state().listed.is_empty());
    assert_eq!(cloud.state().read, ["config/releases.json"]);
}

#[test]
fn versions_of_the_configuration_are_named() {
    let cloud = hour();
    let group = "/aws/lambda/dev-transform";
    let lines = cloud.state().logs[group].clone();
    for (number, (at, line)) in lines.into_iter().enumerate() {
        let line = line.replacen('{', r#"{"config":"older","#, 1);
        cloud.state().logs.get_mut(group).unwrap()[number] = (at, line);
    }

    let versions = cloud.json(0, &books(&[]))["config"]["functions"].clone();
    assert_eq!(versions, json!({ "transform": ["older"] }));
    let table = cloud.command(&books(&[])).stdout;
    let table = String::from_utf8(table).unwrap();
    assert!(table.contains("\n   transform worked with older\n"), "{table}");
}

#[test]
fn table_fits_on_one_screen() {
    let cloud = hour();
    cloud.put("unused", "");

    let output = cloud.command(&books(&[]));

    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().all(|line| line.len() < 100) && text.lines().count() < 24, "{text}");
    let row = |name: &str| {
        let found = text.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        found.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(row("transform"), ["transform", "294", "276", "18", "0", "0", "0"]);
    assert_eq!(row("RAW"), ["RAW", "transform", "294", "0", "294"]);
    assert!(
        text.starts_with(
            " The books of dev, 2026-11-20T10:00:00Z to 2026-11-20T11:00:00Z, from logs"
        ),
        "{text}"
    );
    assert!(
        text.trim_end()
            .ends_with("The books balance; what is put in the last 300 s may be under way."),
        "{text}"
    );
}

#[test]
fn missing_records_exit_1() {
    let cloud = hour();
    cloud.state().logs.get_mut("/aws/lambda/dev-alerts").unwrap().pop();

    let output = cloud.command(&books(&[]));

    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("THE BOOKS DO NOT BALANCE:\n   EVENTS: 276 were put before the last 300 s, and alerts took 264: 12 are missing"), "{text}");
}

#[test]
fn unbalanced_batch_exits_1() {
    let cloud = hour();
    let wrong = line("metrics", "10:40:00", [5, 4, 0]);
    cloud.state().logs.get_mut("/aws/lambda/dev-metrics").unwrap().push(wrong);

    let balance = cloud.json(1, &books(&[]));

    assert_eq!(balance["faults"], json!(["metrics: 281 in, and 280 are accounted for"]));
}

#[test]
fn recent_records_count_as_under_way() {
    let cloud = hour();
    let late = line("ingest-s3", "10:58:00", [40, 40, 0]);
    cloud.state().logs.get_mut("/aws/lambda/dev-ingest-s3").unwrap().push(late);

    let balance = cloud.json(0, &books(&[]));
    assert_eq!(
        (&balance["streams"][0]["put"], &balance["streams"][0]["under_way"]),
        (&json!(334), &json!(40))
    );
    let faults = cloud.json(1, &books(&["--slack", "60s"]))["faults"].clone();
    assert_eq!(
        faults,
        json!(["RAW: 334 were put before the last 60 s, and transform took 294: 40 are missing"])
    );
}

#[test]
fn function_without_log_group_counts_zero() {
    let cloud = Cloud::new();
    cloud.state().unanswered = 1;

    let balance = cloud.json(0, &books(&[]));

    let is_idle = |it: &Value| it["in"] == 0 && it["out"] == 0;
    assert!(balance["functions"].as_array().unwrap().iter().all(is_idle));
}

#[test]
fn invalid_arguments_exit_2_with_one_line() {
    let cloud = hour();
    for (arguments, expected) in [
        (&["books"][..], "--stack <NAME>"),
        (&["books", "--stack", "prod", "--from", "logs"], "Stack with id prod does not exist"),
        (&["books", "--stack", "dev", "--since", "2999-01-01"], "is no time range"),
        (
            &["books", "--stack", "dev", "--since", "10m", "--slack", "1h"],
            "is no longer than the slack of 3600 s",
        ),
    ] {
        let message = cloud.refused(arguments);

        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
}
