//! Test bench of the targets: the functions over sinks in memory, a fixed clock, and the output of
//! a run.

use std::future::Future;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tributary_aws::deadline::Deadline;
use tributary_aws::firehose::{self, MAX_RECORD_BYTES};
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::log::MetricsLog;
use tributary_aws::put::Limits;
use tributary_config::Configuration;
use tributary_model::counts::BatchCounts;
use tributary_model::id::Id;
use tributary_pipeline::transform::Transformer;
use tributary_testkit::{Answer, MemorySink};

pub(crate) type Records = MemorySink<StreamRecord>;
pub(crate) type Lines = MemorySink<Vec<u8>>;

const STREAM: Limits = Limits { entries: 500, bytes: 5 << 20, entry_bytes: 1 << 20 };

/// Configuration of the deployment.
pub(crate) static CONFIGURATION: LazyLock<Configuration> =
    LazyLock::new(|| Configuration::shipped().unwrap());

/// Returns a transformer with the deployed configuration.
pub(crate) fn transformer() -> Transformer {
    CONFIGURATION.transformer().unwrap()
}

/// Returns the time of the fixed clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::constant(1_795_168_800, 123_000_000)
}

pub(crate) fn stream() -> Records {
    MemorySink::new(STREAM, StreamRecord::size)
}

pub(crate) fn delivery_stream() -> Lines {
    MemorySink::new(firehose::LIMITS, Vec::len)
}

/// Returns the script of a sink that stores all but the first entry of each call, and then the one
/// at `index`, repeatedly: with index 1 two entries are left undelivered, else one.
pub(crate) fn failing(index: usize) -> [Answer; 1] {
    [Answer::Fail(vec![0, index])]
}

/// Runs an invocation with a deadline of 10 seconds; no time passes outside it.
pub(crate) fn invoke<T, F: Future<Output = T>>(invocation: impl FnOnce(Deadline) -> F) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
    }
    RUNTIME.with(|runtime| {
        runtime.block_on(async { invocation(Deadline::after(Duration::from_secs(10))).await })
    })
}

/// Lines of the metrics log.
#[derive(Clone, Default)]
pub(crate) struct CapturedLog(Arc<Mutex<Vec<Value>>>);

impl CapturedLog {
    pub(crate) fn metrics_log(&self, function: &'static str) -> MetricsLog {
        let lines = self.0.clone();
        MetricsLog::new(function, "Tributary/fuzz".into()).with_writer(move |line| {
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
        })
    }

    /// Discards the lines written since the last read.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns the counts of the one batch since the last read, and asserts that they balance.
    pub(crate) fn counts(&self) -> BatchCounts {
        let lines = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut batches = lines.iter().filter(|line| line["message"] == "batch");
        let batch = batches.next().unwrap();
        assert!(batches.next().is_none(), "a batch has one line in the log");
        let count = |name: &str| batch[name].as_u64().unwrap();
        let counts = BatchCounts {
            received: count("in"),
            delivered: count("out"),
            quarantined: count("quarantined"),
            filtered: count("filtered"),
            late: count("late"),
            undelivered: count("undelivered"),
        };
        assert!(counts.is_balanced(), "{counts:?}");
        counts
    }
}

/// One line of the quarantine.
#[derive(Debug)]
pub(crate) struct BadLine {
    pub code: String,
    pub source: String,
    pub record_id: String,
    /// Exact bytes of the row, unless they were too large.
    pub payload: Option<Vec<u8>>,
}

/// Parses the records sent to Firehose, and asserts that each is one line of JSON within the size
/// limit.
pub(crate) fn bad_lines(lines: Vec<Vec<u8>>) -> Vec<BadLine> {
    let read = |line: Vec<u8>| {
        assert!(line.len() <= MAX_RECORD_BYTES, "{} bytes for Firehose", line.len());
        let (end, json) = line.split_last().unwrap();
        assert!(*end == b'\n' && !json.contains(&b'\n'), "a bad row is one line");
        let mut json: Value = serde_json::from_slice(json).unwrap();
        assert!(!json["message"].as_str().unwrap().is_empty());
        let payload = json["payload_base64"].as_str();
        let payload = payload.map(|it| base64_simd::STANDARD.decode_to_vec(it).unwrap());
        BadLine {
            code: text(&mut json["code"]),
            source: text(&mut json["source"]),
            record_id: text(&mut json["record_id"]),
            payload,
        }
    };
    lines.into_iter().map(read).collect()
}

fn text(value: &mut Value) -> String {
    serde_json::from_value(value.take()).unwrap()
}

/// Returns a number below `end` that depends on every byte of the input.
pub(crate) fn picked(input: &[u8], end: usize) -> usize {
    let digits = Id::of([input]).to_string();
    usize::from_str_radix(&digits[..8], 16).unwrap() % end.max(1)
}

/// Splits an input into records at lines of two hyphens.
pub(crate) fn records(input: &[u8]) -> Vec<Vec<u8>> {
    const BETWEEN: &[u8] = b"\n--\n";
    let (mut records, mut rest) = (Vec::new(), input);
    while let Some(at) = rest.windows(BETWEEN.len()).position(|it| it == BETWEEN) {
        records.push(swollen(&rest[..at]));
        rest = &rest[at + BETWEEN.len()..];
    }
    records.push(swollen(rest));
    records
}

/// Expands `<long>` in the input, up to four times, so that short inputs reach the limits.
pub(crate) fn swollen(input: &[u8]) -> Vec<u8> {
    const LONG: &[u8] = b"<long>";
    const BYTES: usize = 300 * 1024;
    let (mut out, mut rest) = (Vec::new(), input);
    for _ in 0..4 {
        let Some(at) = rest.windows(LONG.len()).position(|it| it == LONG) else { break };
        out.extend_from_slice(&rest[..at]);
        out.resize(out.len() + BYTES, b'x');
        rest = &rest[at + LONG.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// Returns a Kinesis payload of records with this data, with sequence numbers from 1.
pub(crate) fn kinesis<'d>(data: impl IntoIterator<Item = &'d [u8]>) -> String {
    let record = |(index, data): (usize, &[u8])| {
        let number = index + 1;
        let data = base64_simd::STANDARD.encode_to_string(data);
        format!(
            r#"{{"eventID":"shardId-000000000000:{number}","kinesis":{{"partitionKey":"k","sequenceNumber":"{number}","data":"{data}","approximateArrivalTimestamp":1795168790.5}}}}"#
        )
    };
    let records: Vec<_> = data.into_iter().enumerate().map(record).collect();
    format!(r#"{{"Records":[{}]}}"#, records.join(","))
}
