//! The gate: `transform`'s handler over sinks in memory and the row reader, at four batch sizes.
//!
//! `cargo bench -p tributary-benches --bench gate` prints the time of one batch. Compare two revisions in one run on
//! one machine: absolute times of different runs mean little.

#![expect(clippy::expect_used, reason = "a bench that cannot go on should stop")]

use std::fmt::Write as _;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use fn_transform::handler::Transform;
use serde_json::json;
use tributary_aws::deadline::Deadline;
use tributary_aws::firehose;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::log::MetricsLog;
use tributary_aws::producer::Producer;
use tributary_aws::put::Limits as PutLimits;
use tributary_aws::takeover::KnownDatasets;
use tributary_config::Configuration;
use tributary_rows::{Limits, Next, ObjectReader};
use tributary_testkit::MemorySink;

/// Records of one batch. Lambda hands a function 6 MB at most: 7,264 raw records of this kind.
const RECORDS: [usize; 4] = [10, 100, 1_000, 7_264];

const STREAM: PutLimits = PutLimits { entries: 500, bytes: 5 << 20, entry_bytes: 1 << 20 };

fn main() {
    divan::main();
}

/// Writes the fields of one telemetry reading.
fn reading(number: usize) -> (String, f64, f64) {
    let phase = f64::from(u8::try_from(number % 97).unwrap_or_default());
    (format!("sensor-{:03}", number % 250), 18.0 + phase / 10.0, 40.0 + phase / 4.0)
}

/// Builds a Kinesis payload of raw telemetry records, as Lambda hands it over.
fn payload(records: usize) -> String {
    let record = |number: usize| {
        let (sensor, temperature, humidity) = reading(number);
        let raw = json!({
            "dataset": "telemetry",
            "record_id": format!("{number:032x}"),
            "source": format!("kafka:telemetry-0#offset={number}"),
            "received_at": "2026-11-20T10:00:00.123Z",
            "payload": {
                "sensor_id": sensor, "timestamp": 1_795_168_800 + number, "temperature": temperature,
                "humidity": humidity, "pressure": 1_013.2, "location": "hall 4", "status": "ok",
            },
        });
        json!({
            "eventSource": "aws:kinesis", "eventVersion": "1.0", "eventName": "aws:kinesis:record",
            "eventID": format!("shardId-000000000000:{number}"), "awsRegion": "eu-central-1",
            "invokeIdentityArn": "arn:aws:iam::123456789012:role/role",
            "eventSourceARN": "arn:aws:kinesis:eu-central-1:123456789012:stream/raw",
            "kinesis": {
                "kinesisSchemaVersion": "1.0", "partitionKey": sensor, "sequenceNumber": format!("{number:056}"),
                "data": base64_simd::STANDARD.encode_to_string(raw.to_string()),
                "approximateArrivalTimestamp": 1_795_168_800.5,
            },
        })
    };
    json!({ "Records": (0..records).map(record).collect::<Vec<_>>() }).to_string()
}

/// Builds a CSV object of telemetry rows.
fn csv(rows: usize) -> String {
    let mut text = "sensor_id,timestamp,temperature,humidity,pressure,location,status\n".to_owned();
    for number in 0..rows {
        let (sensor, temperature, humidity) = reading(number);
        let time = 1_795_168_800 + number;
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "{sensor},{time},{temperature},{humidity},1013.2,\"hall 4, north\",ok");
    }
    text
}

#[divan::bench(args = RECORDS)]
fn transform(bencher: Bencher<'_, '_>, records: usize) {
    let payload = payload(records);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let pipeline = Configuration::shipped().expect("the shipped configuration");
    let transform = || Transform {
        events: Producer::new(MemorySink::new(STREAM, StreamRecord::size)),
        quarantine: Producer::new(MemorySink::new(firehose::LIMITS, Vec::len)),
        transformer: pipeline.transformer().expect("the shipped configuration"),
        known: KnownDatasets::default(),
        metrics_log: MetricsLog::new("transform", "Tributary/bench".into()).with_writer(|_| {}),
        clock: || "2026-11-20T10:00:01Z".parse().expect("a time"),
    };
    bencher.counter(ItemsCount::new(records)).with_inputs(transform).bench_refs(|transform| {
        let deadline = Deadline::after(Duration::from_mins(1));
        let answer = runtime.block_on(transform.handle(&payload, deadline)).expect("an answer");
        assert!(answer.batch_item_failures.is_empty());
        assert_eq!(transform.events.target().stored().len(), records);
    });
}

#[divan::bench(args = RECORDS)]
fn rows(bencher: Bencher<'_, '_>, rows: usize) {
    let object = csv(rows);
    bencher.counter(ItemsCount::new(rows)).bench(|| {
        let mut reader = ObjectReader::new(Limits::default());
        reader.push(object.as_bytes());
        reader.finish();
        let (mut json, mut count) = (Vec::new(), 0);
        loop {
            match reader.next().expect("a readable object") {
                Next::Row(row) => {
                    json.clear();
                    row.write_json(&mut json);
                    count += 1;
                }
                Next::Header(_) | Next::Broken(_) | Next::NeedInput => {}
                Next::End => break,
            }
        }
        assert_eq!(count, rows);
    });
}
