//! `tributary replay`, run as a process.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{ids, stderr};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/datasets/accidents");

fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    command.args(arguments.split_whitespace()).current_dir(FIXTURES);
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

fn summary(arguments: &str) -> Value {
    serde_json::from_str(&stdout(&format!("{arguments} --format json"))).unwrap()
}

/// Temporary folder of a test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tributary-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Returns `--to file:out --checkpoint at` with paths in this folder.
    fn options(&self) -> String {
        let (out, at) = (self.path("out"), self.path("at"));
        format!("--to file:{} --checkpoint {}", out.display(), at.display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Writes a CSV of `rows` accidents, one every ten seconds.
fn csv(path: &Path, rows: usize) {
    use std::fmt::Write as _;
    let mut text = "ID,Severity,Start_Time,Start_Lat,Start_Lng,State\n".to_owned();
    for row in 0..rows {
        let (minute, second) = (row / 6 % 60, row % 6 * 10);
        let time = format!("2020-04-13 {:02}:{minute:02}:{second:02}", row / 360 % 24);
        writeln!(text, "A-{row},2,{time},40.0,-83.0,OH").unwrap();
    }
    std::fs::write(path, text).unwrap();
}

#[test]
fn rows_become_lines_in_every_format() {
    let csv = stdout("replay valid.csv");

    assert_eq!(csv.lines().count(), 60);
    assert!(ids(&csv).iter().all(|id| id.starts_with("A-9")));
    assert_eq!(stdout("replay valid.jsonl").lines().count(), 24);
    let plain = stdout("replay files/plain.csv.gz");
    assert!(plain.lines().count() > 1);
    assert_eq!(stdout("replay valid.csv valid.jsonl").lines().count(), 84);
}

#[test]
fn standard_input_is_accepted() {
    let mut child = command("replay - --dataset accidents")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let rows = std::fs::read(format!("{FIXTURES}/valid.jsonl")).unwrap();
    child.stdin.take().unwrap().write_all(&rows).unwrap();

    let output = child.wait_with_output().unwrap();

    assert_eq!(ids(str::from_utf8(&output.stdout).unwrap()).len(), 24);
}

#[test]
fn unreadable_rows_are_left_out_and_reported() {
    let output = tributary("replay files/broken-quoting.csv");

    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{message}");
    assert!(message.contains("left out: file:files/broken-quoting.csv#offset="), "{message}");
    assert!(message.contains("bad rows"), "{message}");
}

#[test]
fn limit_and_loop_set_row_count() {
    let twice = stdout("replay valid.csv --loop --limit 150");

    let twice = ids(&twice);
    assert_eq!(twice.len(), 150);
    assert_eq!(twice[..60], twice[60..120]);
    assert_eq!(twice[..30], twice[120..]);
    assert_eq!(stdout("replay valid.csv --limit 7").lines().count(), 7);
}

#[test]
fn speed_follows_row_times() {
    let folder = Folder::new("replay-speed");
    csv(&folder.path("rows.csv"), 61);
    let file = folder.path("rows.csv");
    let started = Instant::now();

    // Ten minutes at 600x take one second.
    let text = stdout(&format!("replay {} --speed 600x", file.display()));

    let elapsed = started.elapsed();
    assert_eq!(text.lines().count(), 61);
    assert!(
        elapsed > Duration::from_millis(900) && elapsed < Duration::from_mins(1),
        "{elapsed:?}"
    );
}

#[test]
fn rate_follows_the_clock() {
    let started = Instant::now();

    let summary = summary("replay valid.csv --limit 50 --rate 50/s --to file:/dev/null");

    assert!(started.elapsed() > Duration::from_millis(900));
    // On a busy machine the feed may lag, which the summary then reports.
    assert!(summary["slower"] == "pace" || summary["behind_seconds"].is_number(), "{summary}");
}

#[test]
fn limited_runs_with_checkpoint_complete_the_file() {
    let folder = Folder::new("replay-limits");
    csv(&folder.path("rows.csv"), 1_000);
    let rows = folder.path("rows.csv");
    let run = format!("replay {} {} --limit 300", rows.display(), folder.options());

    let finished: Vec<_> = (0..5).map(|_| summary(&run)["finished"].clone()).collect();

    assert_eq!(finished, [false, false, false, true, true]);
    assert_eq!(folder.read("out"), stdout(&format!("replay {}", rows.display())));
}

#[test]
fn checkpoint_resumes_across_files_and_gzip() {
    let folder = Folder::new("replay-gzip");
    let files = "valid.csv files/two-members.csv.gz valid.jsonl";
    let run = format!("replay {files} {} --limit 9", folder.options());

    while summary(&run)["finished"] != true {}

    assert_eq!(folder.read("out"), stdout(&format!("replay {files}")));
}

#[test]
fn killed_replay_resumes_without_loss_or_duplicates() {
    let folder = Folder::new("replay-killed");
    csv(&folder.path("rows.csv"), 6_000);
    let rows = folder.path("rows.csv");
    let run = format!("replay {} {}", rows.display(), folder.options());
    for kill in 1..=3 {
        let paced = format!("{run} --rate 1000/s");
        let mut child = command(&paced).stderr(Stdio::null()).spawn().unwrap();
        let written = || std::fs::read(folder.path("out")).unwrap_or_default();
        while String::from_utf8_lossy(&written()).lines().count() < 500 * kill {
            assert!(child.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let interrupted = folder.read("out").lines().count();

    let rest = summary(&run);

    assert!((1_500..6_000).contains(&interrupted), "{interrupted}");
    assert!(rest["records"].as_u64().unwrap() < 6_000, "{rest}");
    let all: Vec<_> = (0..6_000).map(|row| format!("A-{row}")).collect();
    assert_eq!(ids(&folder.read("out")), all);
}

#[test]
fn foreign_checkpoint_is_rejected() {
    let folder = Folder::new("replay-other");
    let rows = folder.path("rows.csv");
    csv(&rows, 100);
    let rows_name = rows.display();
    let at = folder.path("at");
    summary(&format!("replay {rows_name} {} --limit 10", folder.options()));
    let kept = std::fs::read(&at).unwrap();

    let refused = |run: &str, expected: &str| {
        let output = tributary(run);
        assert_eq!(output.status.code(), Some(2), "{run}");
        let message = stderr(&output);
        assert!(message.lines().count() == 1 && message.contains(expected), "{message}");
        assert_eq!(std::fs::read(&at).unwrap(), kept);
    };
    refused(
        &format!("replay {rows_name} --checkpoint {}", at.display()),
        "is of a replay to file:",
    );
    refused(&format!("replay valid.csv {}", folder.options()), "is of other files");
    let out = folder.path("out");
    std::fs::write(&out, "").unwrap();
    refused(
        &format!("replay {rows_name} {}", folder.options()),
        "has 0 bytes: the checkpoint expects",
    );
    std::fs::write(&rows, "ID,Severity\n").unwrap();
    refused(&format!("replay {rows_name} {}", folder.options()), "has changed since");
}

#[test]
fn invalid_arguments_exit_2_with_one_line() {
    for (arguments, expected) in [
        ("replay", "<FILE>"),
        ("replay no-such-file.csv", "no-such-file.csv cannot be read"),
        ("replay files/unknown-columns.csv", "unknown_dataset"),
        ("replay files/empty.csv", "empty_object"),
        ("replay valid.csv --dataset weather", "is no dataset"),
        ("replay valid.csv --speed fast", "is no speed"),
        ("replay valid.csv --rate 1 --speed 1", "cannot be used with"),
        ("replay - --loop", "standard input can be read once"),
        ("replay valid.csv --to nowhere", "is no target"),
    ] {
        let output = tributary(arguments);

        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains(expected), "{message}");
        assert!(output.stdout.is_empty(), "{arguments}");
    }
}

#[test]
fn loop_without_rows_ends() {
    let output = tributary("replay files/header-only.csv --loop");

    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("header-only.csv") || stderr(&output).contains("never end"));
}
