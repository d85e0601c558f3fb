//! What targets stand on: the functions over sinks in memory, a clock that stands, and what a run
//! came to.

use std::future::Future;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tributary_aws::deadline::Deadline;
use tributary_aws::firehose;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::log::MetricsLog;
use tributary_aws::put::Limits;
use tributary_config::{PIPELINE, PipelineConfig};
use tributary_model::bad_row;
use tributary_model::counts::BatchCounts;
use tributary_model::id::Id;
use tributary_pipeline::transform::Transformer;
use tributary_testkit::{Answer, MemorySink};

pub(crate) type Records = MemorySink<StreamRecord>;
pub(crate) type Lines = MemorySink<Vec<u8>>;

const STREAM: Limits = Limits { entries: 500, bytes: 5 << 20, entry_bytes: 1 << 20 };

/// The configuration that is deployed.
pub(crate) static PIPELINE_CONFIG: LazyLock<PipelineConfig> =
    LazyLock::new(|| PipelineConfig::from_toml(PIPELINE).unwrap());

/// A step from rows to events, as deployed.
pub(crate) fn transformer() -> Transformer {
    PIPELINE_CONFIG.transformer().unwrap()
}

/// The time of day, which stands.
pub(crate) fn now() -> Timestamp {
    Timestamp::constant(1_795_168_800, 123_000_000)
}

pub(crate) fn stream() -> Records {
    MemorySink::new(STREAM, StreamRecord::size)
}

pub(crate) fn delivery_stream() -> Lines {
    MemorySink::new(firehose::LIMITS, Vec::len)
}

/// A sink that takes all but the first entry of each call, and the one at `index`, over and over: with
/// index 1 two of them are left in the end, else one.
pub(crate) fn failing(index: usize) -> [Answer; 1] {
    [Answer::Fail(vec![0, index])]
}

/// Runs an invocation of ten seconds to its end; no time passes outside of it.
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

/// The lines of a journal.
#[derive(Clone, Default)]
pub(crate) struct CapturedLog(Arc<Mutex<Vec<Value>>>);

impl CapturedLog {
    pub(crate) fn metrics_log(&self, function: &'static str) -> MetricsLog {
        let lines = self.0.clone();
        MetricsLog::new(function, "Tributary/fuzz".into()).with_writer(move |line| {
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
        })
    }

    /// Passes over what was written since the last time.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The books of the one batch since the last time; they balance.
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

/// A line of the quarantine.
#[derive(Debug)]
pub(crate) struct BadLine {
    pub code: String,
    pub source: String,
    pub record_id: String,
    /// The exact bytes, where they were not too many.
    pub payload: Option<Vec<u8>>,
}

/// Reads what Firehose was given: each is one line of JSON of a size that it takes.
pub(crate) fn bad_lines(lines: Vec<Vec<u8>>) -> Vec<BadLine> {
    let read = |line: Vec<u8>| {
        assert!(line.len() <= bad_row::MAX_BYTES + 1, "{} bytes for Firehose", line.len());
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

/// A number below `end` that the input decides, and any change of it changes.
pub(crate) fn picked(input: &[u8], end: usize) -> usize {
    let digits = Id::of([input]).to_string();
    usize::from_str_radix(&digits[..8], 16).unwrap() % end.max(1)
}

/// The records of an input: what stands between lines of two hyphens.
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

/// The input with `<long>` written out, up to four times: so that short inputs reach the limits.
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

/// A Kinesis payload of records with this data, whose sequence numbers count from 1.
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
