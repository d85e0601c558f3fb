//! Fake of the AWS services that an operator's commands use: S3, Kinesis, Firehose, SQS, Lambda,
//! CloudWatch Logs, and the outputs of one `CloudFormation` stack.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::server::{self, Answer, Request};

/// Objects per page of a listing.
const PAGE: usize = 50;

/// Record as it was put.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Put {
    pub(crate) key: String,
    pub(crate) data: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct State {
    /// Objects by `bucket/key`.
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    /// Records put into the stream `raw`.
    pub(crate) records: Vec<Put>,
    /// Records put into the delivery stream `again`.
    pub(crate) delivered: Vec<Vec<u8>>,
    /// Messages by queue name, with the times they were sent, in milliseconds.
    pub(crate) queues: BTreeMap<String, Vec<(String, i64)>>,
    /// Messages that were received and neither released nor removed.
    pub(crate) hidden: BTreeSet<String>,
    /// Answers of the next invocations: kind of error, if any, and payload. When the list is empty,
    /// every invocation succeeds. `invoked` holds the functions and payloads so far.
    pub(crate) answers: VecDeque<(Option<&'static str>, &'static str)>,
    pub(crate) invoked: Vec<(String, Value)>,
    /// Log lines by log group, with the times they were written, in milliseconds.
    pub(crate) logs: BTreeMap<String, Vec<(i64, String)>>,
    /// Prefix below which puts are denied, once this many more objects were written.
    pub(crate) full: Option<(&'static str, usize)>,
    /// Somebody else writes between each read and conditional write.
    pub(crate) is_changed_by_others: bool,
    /// The stack has a function `windows`.
    pub(crate) has_windows: bool,
    /// Number of requests to leave unanswered.
    pub(crate) unanswered: usize,
    /// Query of each listing, and path of each object read.
    pub(crate) listed: Vec<String>,
    pub(crate) read: Vec<String>,
}

/// Fake account with a stack `dev`.
pub(crate) struct Cloud {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Cloud {
    pub(crate) fn new() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let url = server::start(move |request| shared.lock().unwrap().answer(request));
        Self { url, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.state().objects.insert(path.to_owned(), bytes.into());
    }

    /// Returns the paths of all objects with this prefix.
    pub(crate) fn paths(&self, prefix: &str) -> Vec<String> {
        let state = self.state();
        state.objects.keys().filter(|path| path.starts_with(prefix)).cloned().collect()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_tributary"))
            .args(arguments)
            .env_clear()
            .env("AWS_ENDPOINT_URL", &self.url)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .output()
            .unwrap()
    }

    /// Runs a command with `--format json`, checks its exit code and returns its output.
    #[track_caller]
    pub(crate) fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let output = self.command(&[arguments, &["--format", "json"]].concat());
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs a command that must fail with exit code 2, and returns its one line of error.
    #[track_caller]
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), message.lines().count()), (Some(2), 1), "{message}");
        message
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Answer {
        if self.unanswered > 0 {
            self.unanswered -= 1;
            return Answer::Close;
        }
        if let Some(target) = request.headers.get("x-amz-target") {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let (status, body) = match target.rsplit('.').next().unwrap() {
                "PutRecords" => self.put_records(&body),
                "PutRecordBatch" => self.put_record_batch(&body),
                "GetQueueAttributes" => (200, self.queue_attributes(&body)),
                "SendMessage" => (200, self.send_message(&body)),
                "ReceiveMessage" => (200, self.receive_message(&body)),
                "ChangeMessageVisibility" => (200, self.change_message_visibility(&body)),
                "DeleteMessage" => (200, self.delete_message(&body)),
                "FilterLogEvents" => self.filter_log_events(&body),
                other => unreachable!("{other}"),
            };
            return Answer::of(status, body.to_string())
                .with("Content-Type", "application/x-amz-json-1.1");
        }
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        if path == "/" && request.method == "POST" {
            return describe_stacks(&String::from_utf8_lossy(&request.body), self.has_windows);
        }
        let path = decoded(path.trim_start_matches('/'));
        if let Some(function) = path.strip_prefix("2015-03-31/functions/") {
            return self.invoke(function, &request.body);
        }
        match request.method.as_str() {
            "GET" if query.contains("list-type=2") => self.list(path.trim_end_matches('/'), query),
            "GET" => self.get(&path, query, request.headers.get("range")),
            "PUT" if self.is_conflict(&path, request) => {
                Answer::of(412, "<Error><Code>PreconditionFailed</Code></Error>")
            }
            "PUT" => self.put_object(&path, &request.body),
            "DELETE" => {
                self.objects.remove(&path);
                Answer::of(204, "")
            }
            other => unreachable!("{other} {path}"),
        }
    }

    fn put_records(&mut self, body: &Value) -> (u16, Value) {
        if body["StreamName"] != "raw" {
            return (
                400,
                json!({ "__type": "ResourceNotFoundException", "message": "no such stream" }),
            );
        }
        let records = body["Records"].as_array().unwrap();
        for record in records {
            let data = record["Data"].as_str().unwrap();
            let data = base64_simd::STANDARD.decode_to_vec(data).unwrap();
            let key = record["PartitionKey"].as_str().unwrap().to_owned();
            self.records.push(Put { key, data });
        }
        let answers: Vec<_> =
            records.iter().map(|_| json!({ "SequenceNumber": "1", "ShardId": "s" })).collect();
        (200, json!({ "FailedRecordCount": 0, "Records": answers }))
    }

    fn put_record_batch(&mut self, body: &Value) -> (u16, Value) {
        assert_eq!(body["DeliveryStreamName"], "again");
        let records = body["Records"].as_array().unwrap();
        for record in records {
            let data = record["Data"].as_str().unwrap();
            self.delivered.push(base64_simd::STANDARD.decode_to_vec(data).unwrap());
        }
        let answers: Vec<_> = records.iter().map(|_| json!({ "RecordId": "1" })).collect();
        (200, json!({ "FailedPutCount": 0, "RequestResponses": answers }))
    }

    fn queue(&mut self, body: &Value) -> &mut Vec<(String, i64)> {
        let name = body["QueueUrl"].as_str().unwrap().rsplit('/').next().unwrap();
        self.queues.entry(name.to_owned()).or_default()
    }

    fn queue_attributes(&mut self, body: &Value) -> Value {
        let waiting = self.queue(body).len().to_string();
        json!({ "Attributes": { "ApproximateNumberOfMessages": waiting,
            "ApproximateNumberOfMessagesNotVisible": "0" } })
    }

    fn send_message(&mut self, body: &Value) -> Value {
        let message = body["MessageBody"].as_str().unwrap().to_owned();
        self.queue(body).push((message, 0));
        json!({ "MessageId": "m" })
    }

    /// Uses the body of a message as its receipt handle. A received message stays hidden until it
    /// is released.
    fn receive_message(&mut self, body: &Value) -> Value {
        let queue = self.queue(body).clone();
        let is_visible = |(text, _): &(String, i64)| self.hidden.insert(text.clone());
        let page: Vec<_> = queue.into_iter().filter(is_visible).take(10).collect();
        let message = |(text, sent): &(String, i64)| {
            json!({ "MessageId": "m", "Body": text, "ReceiptHandle": text,
                "Attributes": { "SentTimestamp": sent.to_string() } })
        };
        json!({ "Messages": page.iter().map(message).collect::<Vec<_>>() })
    }

    fn change_message_visibility(&mut self, body: &Value) -> Value {
        assert_eq!(body["VisibilityTimeout"], 0);
        self.hidden.remove(body["ReceiptHandle"].as_str().unwrap());
        json!({})
    }

    fn delete_message(&mut self, body: &Value) -> Value {
        let receipt = body["ReceiptHandle"].as_str().unwrap().to_owned();
        self.queue(body).retain(|(text, _)| *text != receipt);
        json!({})
    }

    /// Returns three lines per page.
    fn filter_log_events(&self, body: &Value) -> (u16, Value) {
        let Some(lines) = self.logs.get(body["logGroupName"].as_str().unwrap()) else {
            return (
                400,
                json!({ "__type": "ResourceNotFoundException", "message": "no such log" }),
            );
        };
        let (start, end) = (body["startTime"].as_i64().unwrap(), body["endTime"].as_i64().unwrap());
        let word = body["filterPattern"].as_str().unwrap();
        let is_wanted =
            |(at, line): &&(i64, String)| (start..end).contains(at) && line.contains(word);
        let found: Vec<_> = lines.iter().filter(is_wanted).collect();
        let first: usize = body["nextToken"].as_str().map_or(0, |token| token.parse().unwrap());
        let page = &found[first..found.len().min(first + 3)];
        let events: Vec<_> =
            page.iter().map(|(at, line)| json!({ "timestamp": at, "message": line })).collect();
        let next = (first + 3 < found.len()).then(|| (first + 3).to_string());
        (200, json!({ "events": events, "nextToken": next }))
    }

    fn invoke(&mut self, function: &str, body: &[u8]) -> Answer {
        let function = function.strip_suffix("/invocations").unwrap().to_owned();
        self.invoked.push((function, serde_json::from_slice(body).unwrap()));
        let (error, text) =
            self.answers.pop_front().unwrap_or((None, r#"{"batchItemFailures":[]}"#));
        let answer = Answer::of(200, text);
        match error {
            Some(kind) => answer.with("X-Amz-Function-Error", kind),
            None => answer,
        }
    }

    fn list(&mut self, bucket: &str, query: &str) -> Answer {
        self.listed.push(query.to_owned());
        let parameter = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.into_iter().find(|(it, _)| *it == name).map(|(_, value)| decoded(value))
        };
        let prefix = parameter("prefix").unwrap_or_default();
        let after =
            parameter("continuation-token").or(parameter("start-after")).unwrap_or_default();
        let start = format!("{bucket}/");
        let keys = self
            .objects
            .iter()
            .filter_map(|(path, bytes)| Some((path.strip_prefix(&start)?, bytes.len())));
        let is_listed =
            |(key, _): &(&str, usize)| key.starts_with(&prefix) && *key > after.as_str();
        let found: Vec<_> = keys.filter(is_listed).collect();
        let page = &found[..found.len().min(PAGE)];
        let mut contents = String::new();
        for (key, bytes) in page {
            let key = key.replace('&', "&amp;");
            write!(
                contents,
                "<Contents><Key>{key}</Key><Size>{bytes}</Size>\
                 <LastModified>2026-11-20T10:00:00.000Z</LastModified></Contents>"
            )
            .unwrap();
        }
        let more = match page.last() {
            Some((key, _)) if page.len() < found.len() => {
                format!(
                    "<IsTruncated>true</IsTruncated><NextContinuationToken>{key}</NextContinuationToken>"
                )
            }
            _ => "<IsTruncated>false</IsTruncated>".to_owned(),
        };
        Answer::of(200, format!("<ListBucketResult>{more}{contents}</ListBucketResult>"))
    }

    fn get(&mut self, path: &str, query: &str, range: Option<&String>) -> Answer {
        self.read.push(path.to_owned());
        let version = query.split('&').find_map(|pair| pair.strip_prefix("versionId="));
        let path = version.map_or(path.to_owned(), |version| format!("{path}?versionId={version}"));
        let Some(bytes) = self.objects.get(&path) else {
            return Answer::of(404, "<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>");
        };
        let Some(range) = range else {
            return Answer::of(200, bytes).with("ETag", etag(bytes));
        };
        let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
        if start >= bytes.len() {
            return Answer::of(416, "<Error><Code>InvalidRange</Code></Error>");
        }
        let end = end.min(bytes.len() - 1);
        Answer::of(206, &bytes[start..=end])
            .with("ETag", "\"e\"")
            .with("Content-Range", format!("bytes {start}-{end}/{}", bytes.len()))
    }

    /// Returns true if a condition of a put does not hold.
    fn is_conflict(&self, path: &str, request: &Request) -> bool {
        let present = self.objects.get(path).map(|bytes| etag(bytes));
        let wanted = request.headers.get("if-match");
        if wanted.is_some() && self.is_changed_by_others {
            return true;
        }
        let must_be_new = request.headers.contains_key("if-none-match");
        must_be_new && present.is_some() || wanted.is_some_and(|it| present.as_ref() != Some(it))
    }

    fn put_object(&mut self, path: &str, body: &[u8]) -> Answer {
        if let Some((prefix, left)) = &mut self.full
            && path.starts_with(*prefix)
        {
            if *left == 0 {
                return Answer::of(
                    403,
                    "<Error><Code>AccessDenied</Code><Message>no</Message></Error>",
                );
            }
            *left -= 1;
        }
        self.objects.insert(path.to_owned(), body.to_vec());
        Answer::of(200, "").with("ETag", "\"e\"")
    }
}

/// Returns the outputs of the stack `dev`.
fn describe_stacks(body: &str, has_windows: bool) -> Answer {
    let parameters: BTreeSet<_> = body.split('&').collect();
    assert!(parameters.contains("Action=DescribeStacks"), "{body}");
    if !parameters.contains("StackName=dev") {
        let error =
            "<Code>ValidationError</Code><Message>Stack with id prod does not exist</Message>";
        return Answer::of(400, format!("<ErrorResponse><Error>{error}</Error></ErrorResponse>"));
    }
    let output = |(key, value): (&str, &str)| {
        format!("<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>")
    };
    let outputs = [
        ("RawBucketName", "lake"),
        ("AnalyticsBucketName", "analytics"),
        ("ConfigBucketName", "config"),
        ("RawStreamName", "raw"),
        ("EventsRedeliveryStreamName", "again"),
        ("IngestS3FunctionName", "dev-ingest-s3"),
        ("TransformFunctionName", "dev-transform"),
        ("MetricsFunctionName", "dev-metrics"),
        ("AlertsFunctionName", "dev-alerts"),
        ("MetricsNamespace", "Tributary/dev"),
        ("IngestQueueUrl", "http://sqs.us-east-1.localhost/1/ingest"),
        ("IngestDeadLetterQueueUrl", "http://sqs.us-east-1.localhost/1/dead-letters"),
    ];
    let windows = has_windows.then_some(("WindowsFunctionName", "dev-windows"));
    let outputs: String = outputs.into_iter().chain(windows).map(output).collect();
    let stack = format!(
        "<StackName>dev</StackName>\
         <StackId>arn:aws:cloudformation:us-east-1:123456789012:stack/dev/5f1c2d3e</StackId>\
         <CreationTime>2026-11-20T10:00:00Z</CreationTime>\
         <StackStatus>CREATE_COMPLETE</StackStatus><Outputs>{outputs}</Outputs>"
    );
    let stacks = format!("<Stacks><member>{stack}</member></Stacks>");
    let result = format!("<DescribeStacksResult>{stacks}</DescribeStacksResult>");
    Answer::of(200, format!("<DescribeStacksResponse>{result}</DescribeStacksResponse>"))
        .with("Content-Type", "text/xml")
}

/// Returns the entity tag of a whole object.
fn etag(bytes: &[u8]) -> String {
    format!("\"{}-{}\"", bytes.len(), bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>())
}

/// Decodes `%xx` escapes.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if let (b'%', [high, low, tail @ ..]) = (first, tail) {
            let digits = [*high, *low];
            bytes.push(u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap());
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap()
}
