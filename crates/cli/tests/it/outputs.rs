//! Output files: they never overwrite an input, and failures to write are reported.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::support::stderr;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/datasets/accidents");

/// Temporary folder with the rows `in.csv` and a link to them.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tributary-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::copy(format!("{FIXTURES}/valid.csv"), path.join("in.csv")).unwrap();
        symlink("in.csv", path.join("link.csv")).unwrap();
        Self(path)
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
        command.args(arguments.split_whitespace()).current_dir(&self.0);
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn conflicting_outputs_are_rejected_before_writing() {
    let folder = Folder::new("outputs-clash");
    let rows = std::fs::read(folder.0.join("in.csv")).unwrap();

    for (arguments, expected) in [
        ("run in.csv --events in.csv", "--events: in.csv is an input too"),
        ("run in.csv --windows ./../{here}/in.csv", "/in.csv is an input too"),
        ("run in.csv --bad-rows link.csv", "--bad-rows: link.csv is an input too"),
        ("run link.csv --alerts in.csv", "--alerts: in.csv is an input too"),
        ("run in.csv --events new --bad-rows ./new", "--events and --bad-rows are the same file"),
        ("replay in.csv --to file:in.csv", "--to: in.csv is an input too"),
        ("replay in.csv --to file:new --checkpoint in.csv", "--checkpoint: in.csv is an input"),
        ("replay in.csv --to file:new --checkpoint new", "--to and --checkpoint are the same"),
        ("replay in.csv --to file:new.new --checkpoint new", "--to and the new --checkpoint are"),
        ("simulate flood --count 9 --to file:new --labels new", "--to and --labels are the same"),
    ] {
        let here = folder.0.file_name().unwrap().to_str().unwrap();
        let output = folder.run(&arguments.replace("{here}", here));

        assert_eq!(output.status.code(), Some(2), "{arguments}");
        assert!(stderr(&output).contains(expected), "{arguments}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        assert!(std::fs::read(folder.0.join("in.csv")).unwrap() == rows, "{arguments}");
        assert!(!folder.0.join("new").exists(), "{arguments}");
    }
}

#[test]
fn redirected_files_are_checked_too() {
    let folder = Folder::new("outputs-shell");
    let rows = || std::fs::File::open(folder.0.join("in.csv")).unwrap();
    let more = || std::fs::File::options().append(true).open(folder.0.join("in.csv")).unwrap();
    let length = rows().metadata().unwrap().len();

    let from = folder.command("run - --events in.csv").stdin(rows()).output().unwrap();
    let onto = folder.command("replay in.csv").stdout(more()).output().unwrap();

    assert!(stderr(&from).contains("--events: in.csv is an input too"), "{}", stderr(&from));
    assert!(stderr(&onto).contains("--to: - is an input too"), "{}", stderr(&onto));
    assert_eq!(rows().metadata().unwrap().len(), length);
}

#[test]
fn devices_and_pipes_may_be_named_twice() {
    let folder = Folder::new("outputs-devices");

    let run = "run in.csv --events /dev/null --bad-rows /dev/null --alerts -";
    let output = folder.command(run).stdin(Stdio::null()).output().unwrap();

    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

/// Returns a pipe whose reader is closed.
fn closed() -> Stdio {
    let (_, writer) = std::io::pipe().unwrap();
    writer.into()
}

#[test]
fn closed_pipe_is_no_failure() {
    let folder = Folder::new("outputs-closed");

    for (arguments, code) in [
        ("run in.csv", 0),
        ("run in.csv --format json", 0),
        ("run in.csv --events -", 0),
        ("replay in.csv", 0),
        ("replay in.csv --to file:/dev/null --format json", 0),
        ("simulate flood --count 9 --to file:/dev/null --format json", 0),
        ("run no-such.csv", 2),
        ("run in.csv no-such.csv", 2),
    ] {
        let only_out = folder.command(arguments).stdout(closed()).output().unwrap();
        let nobody = folder.command(arguments).stdout(closed()).stderr(closed()).status().unwrap();

        assert_eq!(only_out.status.code(), Some(code), "{arguments}: {}", stderr(&only_out));
        assert_eq!(nobody.code(), Some(code), "{arguments}");
    }
}

#[test]
fn write_errors_name_the_output() {
    let folder = Folder::new("outputs-full");
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();

    for (arguments, name) in [
        ("run in.csv --events /dev/full", "/dev/full"),
        ("run in.csv --windows /dev/full", "/dev/full"),
        ("replay in.csv --to file:/dev/full", "/dev/full"),
        ("simulate telemetry --count 9 --to file:/dev/full", "/dev/full"),
        ("simulate telemetry --count 99 --spike-rate 1 --labels /dev/full", "/dev/full"),
        ("run in.csv", "standard output"),
        ("run in.csv --events -", "standard output"),
        ("replay in.csv", "standard output"),
        ("simulate flood --count 9 --to file:/dev/null --format json", "standard output"),
    ] {
        let mut command = folder.command(arguments);
        if name == "standard output" {
            command.stdout(full());
        }
        let output = command.output().unwrap();

        let expected = format!("tributary: {name} cannot be written: No space left on device");
        assert!(stderr(&output).starts_with(&expected), "{arguments}: {}", stderr(&output));
        assert_eq!(output.status.code(), Some(2), "{arguments}");
    }
}

#[test]
fn messages_hold_no_control_characters() {
    let folder = Folder::new("outputs-hostile");

    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    let output = command.args(["run", "no\u{1b}[2J\u{9b}file"]).current_dir(&folder.0).output();

    let message = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(message.contains("no\\u001b[2J\\u009bfile"), "{message}");
    assert!(!message.trim_end().contains(|it: char| it.is_control() && it != '\n'), "{message}");
}
