//! `tributary replay s3://…`, against a local fake of S3.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::server::{self, Answer, Request};
use crate::support::ids;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/datasets/accidents");

/// Bucket `source` with one object, `rows`.
struct Bucket {
    url: String,
    state: Arc<Mutex<State>>,
    folder: PathBuf,
}

#[derive(Default)]
struct State {
    /// Contents in the order of their puts; the last one is current.
    puts: Vec<Vec<u8>>,
    keeps_versions: bool,
    ranges: Vec<(u64, u64)>,
    /// Number of reads that fail first.
    failures: usize,
    /// Content to put right before the read of this number, from 0.
    overwritten: Option<(usize, Vec<u8>)>,
}

impl Bucket {
    fn with(name: &str, bytes: impl Into<Vec<u8>>, keeps_versions: bool) -> Self {
        let state = State { puts: vec![bytes.into()], keeps_versions, ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let url = server::start(move |request| shared.lock().unwrap().get(request));
        let name = format!("tributary-objects-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self { url, state, folder }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn run(&self, arguments: &str) -> Output {
        let out = self.folder.join("out");
        Command::new(env!("CARGO_BIN_EXE_tributary"))
            .arg("replay")
            .args(arguments.split_whitespace())
            .args(["--format", "json", "--to", &format!("file:{}", out.display())])
            .env_clear()
            .env("AWS_ENDPOINT_URL", &self.url)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .current_dir(FIXTURES)
            .output()
            .unwrap()
    }

    fn summary(&self, arguments: &str) -> Value {
        let output = self.run(arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{message}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn refused(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        message
    }

    fn out(&self) -> String {
        std::fs::read_to_string(self.folder.join("out")).unwrap()
    }

    fn checkpointed(&self, limit: usize) -> String {
        let at = self.folder.join("at");
        format!("s3://source/rows --limit {limit} --checkpoint {}", at.display())
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl State {
    fn get(&mut self, request: &Request) -> Answer {
        assert!(request.method == "GET" && request.body.is_empty());
        let read = self.ranges.len();
        if let Some((_, bytes)) = self.overwritten.take_if(|(before, _)| *before == read) {
            self.puts.push(bytes);
        }
        let (start, end) = range(&request.headers["range"]);
        self.ranges.push((start, end));
        if self.failures > 0 {
            self.failures -= 1;
            return Answer::Close;
        }
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        if path != "/source/rows" {
            return Answer::of(404, "<Error><Code>NoSuchKey</Code></Error>");
        }
        let asked = query.split('&').find_map(|pair| pair.strip_prefix("versionId=v"));
        let version = asked.map_or(self.puts.len() - 1, |version| version.parse().unwrap());
        let Some(bytes) = self.puts.get(version) else {
            return Answer::of(404, "<Error><Code>NoSuchVersion</Code></Error>");
        };
        let etag = format!("\"etag-{version}\"");
        if request.headers.get("if-match").is_some_and(|asked| *asked != etag) {
            return Answer::of(412, "<Error><Code>PreconditionFailed</Code></Error>");
        }
        let length = bytes.len() as u64;
        if start >= length {
            return Answer::of(416, "<Error><Code>InvalidRange</Code></Error>");
        }
        let end = end.min(length - 1);
        let body = &bytes[usize::try_from(start).unwrap()..=usize::try_from(end).unwrap()];
        let answer = Answer::of(206, body)
            .with("ETag", etag)
            .with("Content-Range", format!("bytes {start}-{end}/{length}"));
        if self.keeps_versions {
            answer.with("x-amz-version-id", format!("v{version}"))
        } else {
            answer
        }
    }
}

/// Returns the first and the last byte of `bytes=0-9`.
fn range(text: &str) -> (u64, u64) {
    let (start, end) = text.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    (start.parse().unwrap(), end.parse().unwrap())
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{FIXTURES}/{name}")).unwrap()
}

/// Returns a CSV of `rows` accidents named `prefix`-0 and so on, about 60 bytes each.
fn csv(prefix: &str, rows: usize) -> String {
    use std::fmt::Write as _;
    let mut text = "ID,Severity,Start_Time,Start_Lat,Start_Lng,State\n".to_owned();
    for row in 0..rows {
        writeln!(text, "{prefix}-{row},2,2020-04-13 00:00:00.000000000,40.0,-83.0,OH").unwrap();
    }
    text
}

fn numbered(prefix: &str, rows: usize) -> Vec<String> {
    (0..rows).map(|row| format!("{prefix}-{row}")).collect()
}

#[test]
fn object_replays_like_the_same_file() {
    for (number, name) in
        ["valid.csv", "valid.jsonl", "files/two-members.csv.gz"].iter().enumerate()
    {
        let bucket = Bucket::with(&format!("same-{number}"), fixture(name), true);

        let from_object = bucket.summary("s3://source/rows");
        let lines = bucket.out();
        let from_file = bucket.summary(name);

        assert_eq!(lines, bucket.out(), "{name}");
        assert_eq!(from_object["records"], from_file["records"]);
        assert_eq!(from_object["finished"], true);
    }
}

#[test]
fn large_object_is_read_in_contiguous_ranges() {
    let bytes = csv("A", 20_000);
    let length = bytes.len() as u64;
    let bucket = Bucket::with("ranges", bytes, true);
    bucket.state().failures = 1;

    bucket.summary("s3://source/rows");

    assert_eq!(ids(&bucket.out()), numbered("A", 20_000));
    let ranges = bucket.state().ranges.clone();
    let first = 256 * 1024;
    assert!(length > first);
    assert_eq!(ranges[..2], [(0, first - 1), (0, first - 1)], "the first was tried twice");
    assert_eq!((ranges.len(), ranges[2].0), (3, first));
}

#[test]
fn overwritten_object_is_read_in_its_version() {
    let bucket = Bucket::with("versions", csv("A", 20_000), true);
    bucket.state().overwritten = Some((1, csv("B", 20_000).into_bytes()));

    bucket.summary("s3://source/rows");

    assert_eq!(ids(&bucket.out()), numbered("A", 20_000));
    bucket.summary("s3://source/rows");
    assert_eq!(ids(&bucket.out()), numbered("B", 20_000));
    bucket.summary("s3://source/rows?versionId=v0");
    assert_eq!(ids(&bucket.out()), numbered("A", 20_000));
}

#[test]
fn overwritten_unversioned_object_ends_replay() {
    let bucket = Bucket::with("etag", csv("A", 20_000), false);
    bucket.state().overwritten = Some((1, csv("B", 20_000).into_bytes()));

    let message = bucket.refused("s3://source/rows");

    assert!(
        message.contains("s3://source/rows cannot be read: the object was overwritten"),
        "{message}"
    );
    assert!(ids(&bucket.out()).iter().all(|id| id.starts_with("A-")));
}

#[test]
fn limited_runs_resume_from_checkpoint() {
    let bytes = csv("A", 20_000);
    let length = bytes.len() as u64;
    let bucket = Bucket::with("checkpoint", bytes, true);
    bucket.summary(&bucket.checkpointed(15_000));
    // The replay stays with the version it began with, whatever is put later.
    bucket.state().puts.push(csv("B", 9).into_bytes());
    bucket.state().ranges.clear();

    let rest = bucket.summary(&bucket.checkpointed(15_000));

    assert_eq!((&rest["records"], &rest["finished"]), (&5_000.into(), &true.into()));
    assert_eq!(ids(&bucket.out()), numbered("A", 20_000));
    let ranges = bucket.state().ranges.clone();
    // Reads the start of the object for the checkpoint, its header, and then the rest.
    assert_eq!((ranges.len(), ranges[0], ranges[1].0), (3, (0, 4_095), 0));
    assert!(ranges[2].0 > length * 2 / 3, "{ranges:?} of {length}");
}

#[test]
fn compressed_object_resumes_from_checkpoint() {
    let bucket = Bucket::with("gzip", fixture("files/two-members.csv.gz"), false);
    bucket.summary("files/two-members.csv.gz");
    let expected = bucket.out();

    while bucket.summary(&bucket.checkpointed(2))["finished"] != true {}

    assert_eq!(bucket.out(), expected);
}

#[test]
fn checkpoint_of_changed_object_is_rejected() {
    let bucket = Bucket::with("changed", csv("A", 100), false);
    bucket.summary(&bucket.checkpointed(10));
    bucket.state().puts.push(csv("B", 100).into_bytes());

    let message = bucket.refused(&bucket.checkpointed(10));

    assert!(message.contains("s3://source/rows has changed since"), "{message}");
}

#[test]
fn row_source_contains_object_version() {
    let bucket = Bucket::with("bad-row", fixture("files/broken-quoting.csv"), true);

    let output = bucket.run("s3://source/rows");

    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("left out: s3://source/rows?versionId=v0#offset="), "{message}");
}

#[test]
fn objects_and_files_loop_together() {
    let bucket = Bucket::with("loop", fixture("valid.jsonl"), true);

    bucket.summary("s3://source/rows valid.csv --loop --limit 200");

    let ids = ids(&bucket.out());
    assert_eq!((ids.len(), &ids[..84]), (200, &ids[84..168]));
}

#[test]
fn invalid_object_exits_2_with_one_line() {
    let bucket = Bucket::with("missing", "", true);
    for (arguments, expected) in [
        ("s3://source/other", "s3://source/other cannot be read: the object does not exist"),
        ("s3://source/rows?versionId=v7", "the object does not exist"),
        ("s3://source", "is no object: write s3://BUCKET/KEY"),
        ("s3://source/rows", "s3://source/rows"),
    ] {
        let message = bucket.refused(arguments);

        assert!(
            message.lines().count() == 1 && message.contains(expected),
            "{arguments}: {message}"
        );
    }
}
