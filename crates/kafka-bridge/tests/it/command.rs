//! The command with a mock cluster and a Lambda behind the Invoke API.

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::{Value, json};

/// Calls that the function received: paths and payloads.
type Invoked = Arc<Mutex<Vec<(String, Value)>>>;

/// Starts a local Lambda that first fails, then reports a failed offset, and then accepts
/// everything.
fn lambda() -> (String, Invoked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let invoked = Invoked::default();
    let shared = Arc::clone(&invoked);
    thread::spawn(move || {
        for connection in listener.incoming() {
            let shared = Arc::clone(&shared);
            thread::spawn(move || serve(connection.unwrap(), &shared));
        }
    });
    (url, invoked)
}

fn serve(connection: TcpStream, invoked: &Invoked) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut writer = connection;
    loop {
        let (mut path, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or_default() == 0 {
                return;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if path.is_empty() {
                line.split(' ').nth(1).unwrap().clone_into(&mut path);
            }
            if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = bytes.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let number = {
            let mut invoked = invoked.lock().unwrap();
            invoked.push((path, serde_json::from_slice(&body).unwrap()));
            invoked.len()
        };
        let resume_at = json!({"batchItemFailures":
            [{"itemIdentifier": {"partition": "a-1", "offset": 2}}]});
        let (header, answer) = match number {
            1 => ("X-Amz-Function-Error: Unhandled\r\n", json!({"errorMessage": "out of memory"})),
            2 => ("", resume_at),
            _ => ("", Value::Null),
        };
        let answer = answer.to_string();
        let head = format!("HTTP/1.1 200 OK\r\n{header}Content-Length: {}\r\n\r\n", answer.len());
        writer.write_all(format!("{head}{answer}").as_bytes()).unwrap();
    }
}

struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    brokers: String,
}

impl Running {
    fn start(url: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kafka-bridge"))
            .args(["--brokers", "mock", "--topics", "a,b", "--group", "g", "--function", "ingest"])
            .args(["--partitions", "3"])
            .args(arguments)
            .env_clear()
            .env("AWS_ENDPOINT_URL", url)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(first["broker"], "mock");
        let brokers = first["bootstrap"].as_str().unwrap().to_owned();
        Self { child, lines, brokers }
    }

    /// Produces five records in each partition of the topic `a`.
    fn feed(&self) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap();
        for number in 0..15 {
            let record = BaseRecord::<[u8], [u8]>::to("a").partition(number % 3).payload(b"{}");
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(Duration::from_secs(20)).unwrap();
    }

    fn end(mut self) -> (ExitStatus, Value) {
        let last = self.lines.next().unwrap().unwrap();
        assert!(self.lines.next().is_none(), "two lines in all");
        (self.child.wait().unwrap(), serde_json::from_str(&last).unwrap())
    }
}

#[test]
fn lambda_function_receives_every_record() {
    let (url, invoked) = lambda();
    // The first batch is complete when it has all records, however long that takes.
    let complete = ["--batch-size", "15", "--window", "5000"];
    let running = Running::start(&url, &[&complete[..], &["--until-idle", "1"]].concat());

    running.feed();
    let (status, report) = running.end();

    assert!(status.success(), "{report}");
    assert_eq!(report["committed"], json!({"a-0": 5, "a-1": 5, "a-2": 5}));
    assert_eq!((&report["records"], &report["failed_calls"]), (&json!(15), &json!(1)));
    assert_eq!((&report["cut_partitions"], &report["uncommitted"]), (&json!(1), &json!(0)));
    let invoked = invoked.lock().unwrap();
    assert_eq!(report["calls"], invoked.len());
    assert_eq!(report["batches"], invoked.len() - 1);
    assert!(invoked.iter().all(|(path, _)| path == "/2015-03-31/functions/ingest/invocations"));
    let offsets = |payload: &Value| {
        let records = payload["records"]["a-1"].as_array().unwrap();
        records.iter().map(|it| it["offset"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(offsets(&invoked[0].1), [0, 1, 2, 3, 4]);
    assert_eq!(offsets(&invoked[1].1), [0, 1, 2, 3, 4], "the whole batch came again");
    assert_eq!(offsets(&invoked[2].1), [2, 3, 4], "from where it was cut");
}

#[test]
fn signal_stops_poller_with_report() {
    let (url, invoked) = lambda();
    let running = Running::start(&url, &["--window", "300"]);
    running.feed();
    while invoked.lock().unwrap().len() < 3 {
        thread::sleep(Duration::from_millis(20));
    }

    let pid = running.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());

    let (status, report) = running.end();
    assert!(status.success(), "{report}");
    assert_eq!(report["committed"], json!({"a-0": 5, "a-1": 5, "a-2": 5}));
}

#[test]
fn invalid_arguments_exit_with_code_2() {
    for arguments in [&["--batch-size", "10001"][..], &["--partitions", "0"], &["--window", "x"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_kafka-bridge"))
            .args(["--brokers", "mock", "--topics", "a", "--group", "g", "--function", "f"])
            .args(arguments)
            .output()
            .unwrap();

        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
    }
}
