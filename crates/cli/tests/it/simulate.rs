//! `tributary simulate`, run as a process.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::stderr;

const FEEDS: [&str; 4] = ["flood", "telemetry", "accidents", "covid"];

fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    command.args(arguments.split_whitespace());
    command
}

fn tributary(arguments: &str) -> Output {
    command(arguments).output().unwrap()
}

fn stdout(arguments: &str) -> String {
    let output = tributary(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the summary of a run whose records are discarded.
fn summary(arguments: &str) -> Value {
    let output = tributary(&format!("{arguments} --to file:/dev/null --format json"));
    assert_eq!(output.status.code(), Some(0), "{arguments}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("tributary-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn same_seed_and_options_give_same_bytes() {
    for feed in FEEDS {
        let bytes = |seed: u32| stdout(&format!("simulate {feed} --count 2000 --seed {seed}"));

        assert_eq!(bytes(7), bytes(7), "{feed}");
        assert_ne!(bytes(7), bytes(8), "{feed}");
    }
}

#[test]
fn file_and_standard_output_have_same_bytes() {
    let folder = folder("simulate-file");
    let path = folder.join("flood.ndjson");

    let to_file = tributary(&format!("simulate flood --count 5000 --to file:{}", path.display()));

    assert_eq!(to_file.status.code(), Some(0));
    assert!(to_file.stdout.is_empty());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text == stdout("simulate flood --count 5000 --to stdout"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn count_is_exact_and_lines_are_objects() {
    for feed in FEEDS {
        for count in [0, 1, 1_234] {
            let text = stdout(&format!(
                "simulate {feed} --count {count} --late-rate 0.2 --duplicate-rate 0.2"
            ));

            assert_eq!(text.lines().count(), count, "{feed}");
            for line in text.lines() {
                assert!(serde_json::from_str::<Value>(line).unwrap().is_object(), "{line}");
            }
        }
    }
}

#[test]
fn duration_and_interval_set_reading_count() {
    let calm = "--dropout-rate 0 --duplicate-rate 0 --late-rate 0";

    let text = stdout(&format!(
        "simulate telemetry --devices 3 --interval 30s --duration 10m --start 2026-05-01 {calm}"
    ));

    assert_eq!(text.lines().count(), 3 * 20);
    assert!(text.lines().next().unwrap().contains("\"2026-05-01T00:00:00Z\""));
    assert!(text.lines().last().unwrap().contains("\"2026-05-01T00:09:50Z\""));
}

#[test]
fn faults_occur_at_their_rates() {
    let summary = summary(
        "simulate flood --count 50000 --late-rate 0.1 --duplicate-rate 0.04 --spike-rate 0.02 \
         --dropout-rate 0.2",
    );

    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(count("records"), 50_000);
    assert!((4_300..5_300).contains(&count("late")), "{summary}");
    assert!((1_700..2_200).contains(&count("duplicates")), "{summary}");
    assert!((800..1_150).contains(&count("spikes")), "{summary}");
    assert!((10_000..14_500).contains(&count("dropped")), "{summary}");

    let text = stdout("simulate flood --count 20000 --duplicate-rate 0.04 --late-rate 0");
    let distinct: BTreeSet<_> = text.lines().collect();
    assert!((600..950).contains(&(20_000 - distinct.len())), "{}", distinct.len());
}

#[test]
fn rate_of_0_turns_fault_off() {
    let summary = summary(
        "simulate telemetry --count 20000 --late-rate 0 --duplicate-rate 0 --spike-rate 0 \
         --dropout-rate 0",
    );

    for name in ["late", "duplicates", "spikes", "dropped", "undelivered"] {
        assert_eq!(summary[name], 0, "{name}");
    }
}

#[test]
fn simulated_records_run_through_the_pipeline() {
    let records = stdout("simulate accidents --count 2000 --seed 7 --spike-rate 0.1");
    let mut child = command("run - --dataset accidents --format json")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(records.as_bytes()).unwrap();

    let output = child.wait_with_output().unwrap();

    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["rows"], &report["events"]), (&2_000.into(), &2_000.into()), "{report}");
}

#[test]
fn labels_name_sensor_fault_and_time() {
    let folder = folder("simulate-labels");
    let labels = folder.join("labels.ndjson");
    let feed =
        "simulate telemetry --devices 3 --duration 2d --interval 60s --seed 5 --drift-rate 0";
    let faults = "--shift-rate 1 --fast-drift-rate 1 --stuck-rate 2";

    let text = stdout(&format!("{feed} {faults} --labels {}", labels.display()));

    assert_ne!(text, stdout(feed));
    assert_eq!(text, stdout(&format!("{feed} {faults}")));
    let written = std::fs::read_to_string(&labels).unwrap();
    let mut kinds = BTreeSet::new();
    for line in written.lines() {
        let label: Value = serde_json::from_str(line).unwrap();
        let time = |name: &str| label[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert!(time("from") < time("to"), "{label}");
        assert_eq!(label["measure"], "temperature_c");
        assert!(text.contains(label["entity"].as_str().unwrap()));
        kinds.insert(label["kind"].as_str().unwrap().to_owned());
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["drift", "level_shift", "spike", "stuck"]);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn rate_follows_the_clock() {
    let started = Instant::now();

    let summary = summary("simulate flood --count 200 --rate 200/s");

    assert!(started.elapsed() > Duration::from_millis(900));
    // On a busy machine the feed may lag, which the summary then reports.
    assert!(summary["slower"] == "pace" || summary["behind_seconds"].is_number(), "{summary}");
    assert!(summary["rate"].as_u64().unwrap() <= 210, "{summary}");
}

#[test]
fn speed_follows_simulated_time() {
    let started = Instant::now();

    // Ten minutes at 600x take one second.
    summary("simulate telemetry --devices 1 --interval 60s --duration 11m --speed 600x");

    let elapsed = started.elapsed();
    assert!(
        elapsed > Duration::from_millis(900) && elapsed < Duration::from_mins(1),
        "{elapsed:?}"
    );
}

#[test]
fn live_feed_starts_now_without_buffering() {
    let mut child = command("simulate telemetry --start now --devices 2 --interval 1s")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut first = [0; 64];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();

    let today = jiff::Timestamp::now().to_string();
    let line = String::from_utf8(first.to_vec()).unwrap();
    assert!(line.contains(&today[..11]), "{line}");
}

#[test]
fn closed_pipe_ends_feed_quietly() {
    let mut child =
        command("simulate flood").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut some = [0; 4096];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();

    let output = child.wait_with_output().unwrap();

    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[cfg(unix)]
#[test]
fn signal_ends_live_feed_in_order() {
    let folder = folder("simulate-signal");
    let path = folder.join("feed");
    let to = format!("--to file:{}", path.display());
    let child = command(&format!("simulate flood --rate 100 --format json {to}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    while std::fs::metadata(&path).map_or(0, |it| it.len()) == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();

    let output = child.wait_with_output().unwrap();

    assert!(killed.success());
    assert_eq!(output.status.code(), Some(0));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lines = std::fs::read_to_string(&path).unwrap().lines().count();
    assert!(lines > 0);
    assert_eq!(summary["records"], lines);
    std::fs::remove_dir_all(folder).unwrap();
}

#[cfg(unix)]
#[test]
fn second_signal_ends_stalled_feed() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("--unsigned --to http://{}", silent.local_addr().unwrap());
    let mut child =
        command(&format!("simulate flood --count 5 {to}")).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id().to_string();
    let signal = || {
        let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(sent.success());
    };
    // From here on, the feed waits for an answer.
    let _connection = silent.accept().unwrap();

    signal();
    let mut message = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = message.next().unwrap().unwrap();
    signal();

    assert_eq!(line, "stopping: waiting for 5 records; interrupt again to quit at once");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// Writes a configuration with one dataset.
fn configured(folder: &Path, name: &str, schema: &str) -> String {
    std::fs::create_dir_all(folder.join("datasets")).unwrap();
    std::fs::write(folder.join(format!("datasets/{name}.toml")), schema).unwrap();
    folder.display().to_string()
}

const METER: &str = r#"
entity = "{meter}"
event_id = ["entity", "time"]
partition = "meter.id"
interval = "15m"
[time]
from = "at"
[measures]
power_kwh = { from = "power", unit = "Wh", plausible = [0, 20] }
[attributes]
meter = { from = "meter.id", required = true }
"#;

#[test]
fn any_dataset_is_generated_from_its_schema() {
    let folder = folder("simulate-any");
    let config = configured(&folder, "meter", METER);
    let text = stdout(&format!(
        "simulate meter --config {config} --duration 6h --duplicate-rate 0 --dropout-rate 0"
    ));
    std::fs::write(folder.join("meter.ndjson"), &text).unwrap();

    assert_eq!(text.lines().count(), 10 * 6 * 4);
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["meter"]["id"], "meter-001");
    let file = folder.join("meter.ndjson").display().to_string();
    let report = stdout(&format!("run {file} --config {config} --format json"));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["events"], &report["with_faults"]), (&240.into(), &0.into()), "{report}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn built_in_model_needs_its_schema() {
    let folder = folder("simulate-name");
    let config = configured(&folder, "telemetry", METER);

    let text = stdout(&format!("simulate telemetry --config {config} --count 3"));
    assert!(text.contains(r#"{"meter":{"id":"telemetry-001"}"#), "{text}");
    for (option, expected) in [
        ("--storm-rate 1", "no built-in model with a storm rate"),
        ("--stuck-rate 1", "no sensors that"),
        ("--labels l", "no sensors whose"),
    ] {
        let output = tributary(&format!("simulate telemetry --config {config} {option}"));
        assert_eq!(output.status.code(), Some(2), "{option}");
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn summary_table_is_on_standard_error() {
    let output = tributary("simulate covid --count 100");

    let text = stderr(&output);
    assert!(text.contains("covid to stdout") && text.contains("100 records in"), "{text}");
}

#[test]
fn invalid_options_exit_2_with_one_line() {
    for (arguments, expected) in [
        (
            "simulate weather",
            "\"weather\" is no dataset; there are accidents, covid, flood, telemetry",
        ),
        ("simulate flood --config docs", "docs is no configuration"),
        ("simulate", "<DATASET>"),
        ("simulate flood --to ftp:x", "\"ftp:x\" is no target"),
        ("simulate flood --to file:", "is no target"),
        (
            "simulate flood --to file:no-such-folder/f --count 1",
            "no-such-folder/f cannot be written",
        ),
        ("simulate flood --to file:unbounded", "--count or --duration"),
        ("simulate flood --late-rate 2", "late rate is a share from 0 to 1"),
        ("simulate flood --devices 0", "1 to 1000000 devices"),
        ("simulate covid --devices 4000", "1 to 45 devices"),
        ("simulate covid --interval 1h", "whole days"),
        ("simulate flood --interval 0", "is no duration"),
        ("simulate flood --duration soon", "is no duration"),
        ("simulate flood --start yesterday", "is no time"),
        ("simulate flood --rate 0", "is no rate"),
        ("simulate flood --rate 1 --speed 2", "cannot be used with"),
        ("simulate flood --wind-rate 1", "--wind-rate"),
        ("simulate flood --stuck-rate 1", "flood has no sensors that"),
        ("simulate telemetry --stuck-rate 5", "stuck rate is 0 to 4 a day"),
        ("simulate covid --count 1 --to file:/dev/null --labels /dev/null", "covid has no sensors"),
        ("simulate flood --labels -", "--labels needs a file"),
    ] {
        let output = tributary(arguments);

        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("tributary: ") && text.contains(expected), "{text}");
        assert!(output.stdout.is_empty(), "{arguments}");
    }
}
