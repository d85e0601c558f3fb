//! `tributary rules`, run as a process.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn tributary(arguments: &[&str]) -> Output {
    let command = env!("CARGO_BIN_EXE_tributary");
    Command::new(command).args(arguments).current_dir(ROOT).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns the temporary folder of a test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn shipped_rules_pass_check_and_examples() {
    let checked = tributary(&["rules", "check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked));
    assert!(
        text(&checked).contains("config/alerts.toml: ") && text(&checked).contains("no errors")
    );

    let tested = tributary(&["rules", "test"]);
    assert_eq!(tested.status.code(), Some(0), "{}", text(&tested));
    assert!(text(&tested).contains("all pass"), "{}", text(&tested));
}

#[test]
fn bad_rules_are_rejected_with_position() {
    let mut refused = 0;
    for file in fs::read_dir(Path::new(ROOT).join("fixtures/rules/bad")).unwrap() {
        let path = file.unwrap().path();
        let file = format!("fixtures/rules/bad/{}", path.file_name().unwrap().to_str().unwrap());
        let output = tributary(&["rules", "check", &file]);

        if ["always", "too-few-readings"].iter().any(|name| file.contains(name)) {
            assert!(text(&output).contains("warning"), "{}", text(&output));
            continue;
        }
        refused += 1;
        assert_eq!(output.status.code(), Some(1), "{file}");
        let id = fs::read_to_string(&path).unwrap();
        let id = id.lines().find_map(|line| line.strip_prefix("id = ")).unwrap().trim_matches('"');
        let shown = text(&output);
        let line = shown.lines().find(|line| line.contains("error") && line.contains(id)).unwrap();
        let place = line.split_whitespace().next().unwrap().strip_prefix(&file).unwrap();
        let numbers: Vec<_> =
            place.trim_start_matches(':').split(':').map(str::parse::<u32>).collect();
        assert!(matches!(numbers[..], [Ok(1..), Ok(1..)]), "{line}");
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn json_findings_are_one_object() {
    let output =
        tributary(&["rules", "check", "fixtures/rules/bad/dead-rule.toml", "--format", "json"]);

    let found = json(&output);
    assert_eq!((&found["rules"], &found["errors"]), (&1.into(), &1.into()));
    let finding = &found["findings"][0];
    assert_eq!(finding["code"], "dead");
    assert_eq!(finding["rule"], "severe-accident");
    assert_eq!((&finding["line"], &finding["column"]), (&7.into(), &9.into()));
}

#[test]
fn example_contradicting_its_name_fails() {
    let folder = folder("wrong-examples");
    let of_rule = folder.join("high-temperature");
    fs::create_dir_all(&of_rule).unwrap();
    let example = |name: &str| {
        let path = format!("{ROOT}/fixtures/rules/shipped/high-temperature/{name}.json");
        fs::read_to_string(path).unwrap()
    };
    fs::write(of_rule.join("fires-at-30.json"), example("silent-at-30")).unwrap();
    fs::write(of_rule.join("silent-at-31.json"), example("fires-above-30")).unwrap();
    fs::write(of_rule.join("other.json"), "{}").unwrap();

    let output =
        tributary(&["rules", "test", "--examples", folder.to_str().unwrap(), "--format", "json"]);

    assert_eq!(output.status.code(), Some(1));
    let found = json(&output);
    let rules = found["rules"].as_array().unwrap();
    let of = |id: &str| rules.iter().find(|rule| rule["rule"] == id).unwrap();
    let faults = of("high-temperature")["faults"].as_array().unwrap();
    let faults: Vec<_> = faults.iter().map(|fault| fault["message"].as_str().unwrap()).collect();
    assert_eq!(
        faults,
        [
            "the rule does not fire",
            "its name begins with neither fires- nor silent-",
            "the rule fires",
            "no example in which it fires, and none in which it does not",
        ]
    );
    let none = of("severe-accident")["faults"][0]["message"].as_str().unwrap();
    assert_eq!(none, "no example in which it fires, and none in which it does not");
}

#[test]
fn backtest_counts_firings_and_alerts() {
    let folder = folder("backtest");
    let mut rows = "sensor_id,timestamp,temperature,humidity,status\n".to_owned();
    // Hot every minute for two hours from noon, then an hour without data, then mild.
    for minute in 0..120 {
        writeln!(rows, "s-1,2026-11-05T{:02}:{:02}:00Z,31,40,ok", 12 + minute / 60, minute % 60)
            .unwrap();
    }
    rows += "s-1,2026-11-05T15:00:00Z,20,40,ok\ns-2,2026-11-06T09:00:00Z,35,40,warning\n";
    rows += "s-2,2026-11-06,20,40,ok\n";
    let file = folder.join("rows.csv");
    fs::write(&file, rows).unwrap();

    let output = tributary(&["rules", "backtest", file.to_str().unwrap(), "--format", "json"]);

    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let found = json(&output);
    assert_eq!((&found["events"], &found["left_out"]), (&122.into(), &1.into()));
    let of =
        |id: &str| found["rules"].as_array().unwrap().iter().find(|it| it["rule"] == id).unwrap();
    let count =
        |value: &Value| (value["fired"].as_u64().unwrap(), value["alerts"].as_u64().unwrap());
    let hot = of("high-temperature");
    assert_eq!(count(hot), (121, 3), "an hour's cooldown");
    assert_eq!(count(&hot["by_day"]["2026-11-05"]), (120, 2));
    assert_eq!(count(&hot["by_day"]["2026-11-06"]), (1, 1));
    assert_eq!(count(&hot["by_entity"]["s-1"]), (120, 2));
    assert_eq!(count(of("device-status")), (1, 1));
    let silent = of("silent-sensor");
    assert_eq!(count(silent), (2, 2), "before 15:00, and from then on");
    assert_eq!(count(&silent["by_entity"]["s-1"]), (2, 2));
    assert_eq!(count(of("severe-accident")), (0, 0));
}

#[test]
fn file_without_rows_reports_first_line() {
    let file = folder("backtest-no-row").join("array.jsonl");
    fs::write(&file, "[{\"sensor_id\": \"s\"}]\n").unwrap();

    let output = tributary(&["rules", "backtest", file.to_str().unwrap()]);

    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("row 1: ")
            && message.contains("JSON is objects, one a line or in an array"),
        "{message}"
    );
}

#[test]
fn backtest_of_events_matches_rows() {
    let folder = folder("backtest-events");
    let events = folder.join("events.ndjson");
    let rows = "fixtures/datasets/accidents/demo.csv";
    let run = tributary(&["run", rows, "--events", events.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(0));

    let of_rows = json(&tributary(&["rules", "backtest", rows, "--format", "json"]));
    let of_events =
        json(&tributary(&["rules", "backtest", events.to_str().unwrap(), "--format", "json"]));

    assert_eq!(of_rows["rules"], of_events["rules"]);
    let severe = &of_rows["rules"][0];
    assert_eq!((&severe["rule"], &severe["fired"]), (&"severe-accident".into(), &15.into()));
    assert_eq!((&of_rows["left_out"], &of_events["left_out"]), (&18.into(), &0.into()));
}

#[test]
fn computed_windows_are_evaluated_once() {
    let folder = folder("backtest-windows");
    let (events, both) = (folder.join("events.ndjson"), folder.join("both.ndjson"));
    let mut rows = "sensor_id,timestamp,temperature,humidity,status\n".to_owned();
    for minute in 0..10 {
        writeln!(rows, "s-1,2026-11-05T12:{minute:02}:00Z,31,40,ok").unwrap();
    }
    fs::write(folder.join("rows.csv"), rows).unwrap();
    let rows = folder.join("rows.csv");
    let run = tributary(&["run", rows.to_str().unwrap(), "--events", events.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(0));
    let readings = fs::read_to_string(&events).unwrap();
    let window = |minute: u32| {
        format!(
            "{{\"kind\":\"window\",\"dataset\":\"telemetry\",\"event_id\":\"w{minute}\",\
             \"entity\":\"s-1\",\"event_time\":\"2026-11-05T12:{minute:02}:00Z\",\
             \"received_at\":\"2026-11-05T12:30:00Z\",\"measures\":{{\"count\":1,\
             \"temperature_c_mean\":31}},\"attributes\":{{}},\"tags\":[],\"window\":{{\
             \"spec\":\"telemetry-1m\",\"start\":\"2026-11-05T12:{minute:02}:00Z\",\
             \"end\":\"2026-11-05T12:{:02}:00Z\",\"revision\":0}}}}\n",
            minute + 1
        )
    };
    let windows = (0..10).map(window).collect::<String>();
    fs::write(
        &both,
        readings
            .lines()
            .filter(|line| line.contains("\"reading\""))
            .fold(windows.clone(), |all, line| all + line + "\n"),
    )
    .unwrap();
    fs::write(folder.join("windows.ndjson"), &windows).unwrap();

    let fired = |file: &Path| {
        let found =
            json(&tributary(&["rules", "backtest", file.to_str().unwrap(), "--format", "json"]));
        let rules = found["rules"].as_array().unwrap().clone();
        let heat = rules.iter().find(|it| it["rule"] == "sustained-heat").unwrap();
        (heat["fired"].as_u64().unwrap(), found["computed_anew"].as_u64().unwrap())
    };

    assert_eq!(fired(&rows), (8, 0));
    assert_eq!(fired(&both), (8, 10));
    assert_eq!(fired(&folder.join("windows.ndjson")), (8, 0));
}

#[test]
fn invalid_rules_are_not_evaluated() {
    let dead = "fixtures/rules/bad/dead-rule.toml";
    let rows = "fixtures/datasets/accidents/demo.csv";
    for arguments in [&["rules", "test", dead][..], &["rules", "backtest", rows, "--rules", dead]] {
        let output = tributary(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains("never holds: severity is 1 to 4"), "{}", text(&output));
    }
    let missing = tributary(&["rules", "check", "no-such-file.toml"]);
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn tutorial_rule_passes_check_and_examples() {
    let examples = ["--examples", "fixtures/rules/tutorial"];
    for verb in ["check", "test"] {
        let output = tributary(
            &[&["rules", verb, "fixtures/rules/tutorial/frost.toml"][..], &examples].concat(),
        );
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    }
}
