//! Initial inputs, made of `fixtures/` and `events/` and cut short: small inputs are fast.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tributary_kpl::{MAGIC, user_records as read_aggregate};

/// File name and bytes.
type Seed = (String, Vec<u8>);

/// Length of the MD5 at the end of an aggregate.
const MD5_BYTES: usize = 16;

/// Files of one dataset that each have one peculiarity.
const SPECIAL: &[&str] = &[
    "blank-lines-only.csv",
    "broken-json-line.jsonl",
    "corrupt.csv.gz",
    "duplicate-column.csv",
    "header-only.csv",
    "plain.csv.gz",
    "truncated.csv.gz",
    "two-members.csv.gz",
    "unclosed-quote-in-the-middle.csv",
    "unknown-columns.csv",
];

fn repository() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), ".."].iter().collect()
}

fn fixture(path: &str) -> Vec<u8> {
    fs::read(repository().join(path)).unwrap()
}

/// Returns the files of a folder with this ending and at most `max` bytes, by name.
fn files(folder: &str, end: &str, max: usize) -> Vec<Seed> {
    let entries = fs::read_dir(repository().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(end)).collect();
    names.retain(|name| !name.ends_with(".expected.json"));
    names.sort();
    let files = names.into_iter().map(|name| (name.clone(), fixture(&format!("{folder}/{name}"))));
    files.filter(|(_, bytes)| bytes.len() <= max).collect()
}

/// Returns the first lines of a file.
/// Datasets whose fixtures are seeds: a further one needs none.
const DATASETS: [&str; 4] = ["accidents", "covid", "flood", "telemetry"];

fn head(bytes: &[u8], lines: usize) -> Vec<u8> {
    bytes.split_inclusive(|&byte| byte == b'\n').take(lines).collect::<Vec<_>>().concat()
}

pub(crate) fn objects() -> Vec<Seed> {
    let mut seeds: Vec<_> = SPECIAL
        .iter()
        .map(|name| {
            ((*name).to_owned(), fixture(&format!("fixtures/datasets/accidents/files/{name}")))
        })
        .collect();
    for dataset in DATASETS {
        // A row of accidents is longer than a whole file of the others.
        let lines = if dataset == "accidents" { 2 } else { 5 };
        for end in [".csv", ".jsonl"] {
            let files = files(&format!("fixtures/datasets/{dataset}"), end, usize::MAX).into_iter();
            let rows = files.filter(|(name, _)| {
                ["valid", "bad-rows", "faults"].contains(&name.trim_end_matches(end))
            });
            seeds.extend(
                rows.map(|(name, bytes)| (format!("{dataset}-{name}"), head(&bytes, lines))),
            );
        }
    }
    seeds
}

pub(crate) fn named_objects() -> Vec<Seed> {
    let keyed = |(name, bytes): Seed| {
        let dataset = DATASETS.iter().find(|it| name.starts_with(*it));
        let key = format!("{}/{name}\n", dataset.unwrap_or(&"uploads"));
        (name, [key.as_bytes(), &bytes].concat())
    };
    objects().into_iter().map(keyed).collect()
}

pub(crate) fn payloads() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for dataset in DATASETS {
        let max = if dataset == "accidents" { 2 } else { 12 };
        for (name, bytes) in files(&format!("fixtures/datasets/{dataset}"), ".jsonl", usize::MAX) {
            for (index, line) in bytes.split(|&byte| byte == b'\n').take(max).enumerate() {
                let name = name.trim_end_matches(".jsonl");
                seeds.push((format!("{dataset}-{name}-{index}.json"), line.to_vec()));
            }
        }
    }
    seeds.retain(|(_, line)| !line.is_empty());
    let long = br#"{"sensor_id":"<long>","timestamp":1762344000,"temperature":99,"status":"FAIL"}"#;
    seeds.push(("long.json".to_owned(), long.to_vec()));
    seeds
}

/// Returns the data of the records of the payloads in `folder`, at most three of each, joined.
fn batches(folder: &str) -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (name, payload) in files(folder, ".json", 25_000) {
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        let data = payload["Records"].as_array().into_iter().flatten().filter_map(|record| {
            base64_simd::STANDARD.decode_to_vec(record["kinesis"]["data"].as_str()?).ok()
        });
        let data: Vec<_> = data.filter(|data| data.len() < 1_500).take(3).collect();
        seeds.push((name.replace(".json", ".bin"), data.join(b"\n--\n".as_slice())));
    }
    seeds.retain(|(_, bytes)| !bytes.is_empty());
    seeds
}

pub(crate) fn raw_records() -> Vec<Seed> {
    let mut seeds = batches("events/transform");
    let long = br#"{"dataset":"<long>","record_id":"<long>","source":"<long><long>","received_at":"2026-11-20T10:00:00Z","payload":{}}"#;
    seeds.push(("long.bin".to_owned(), long.to_vec()));
    seeds
}

pub(crate) fn event_records() -> Vec<Seed> {
    let mut seeds = [batches("events/metrics"), batches("events/alerts")].concat();
    let long = br#"{"kind":"reading","dataset":"accidents","event_id":"e","entity":"<long>","event_time":"2026-11-20T09:00:00Z","received_at":"2026-11-20T10:00:00Z","measures":{"severity":4},"attributes":{"state":"<long>"},"tags":[]}"#;
    seeds.push(("long.bin".to_owned(), long.to_vec()));
    seeds
}

pub(crate) fn kinesis_payloads() -> Vec<Seed> {
    files("events/transform", ".json", 5_600)
}

pub(crate) fn kafka_payloads() -> Vec<Seed> {
    files("events/ingest-kafka", ".json", 3_200)
}

pub(crate) fn http_requests() -> Vec<Seed> {
    files("events/ingest-http", ".json", 2_600)
}

pub(crate) fn queue_messages() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (name, payload) in files("events/ingest-s3", ".json", usize::MAX) {
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        let bodies = payload["Records"].as_array().into_iter().flatten();
        for (index, body) in bodies.filter_map(|record| record["body"].as_str()).enumerate() {
            seeds.push((format!("{index}-{name}"), body.as_bytes().to_vec()));
        }
    }
    seeds
}

pub(crate) fn http_bodies() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (name, payload) in files("events/ingest-http", ".json", usize::MAX) {
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        let Some(body) = payload["body"].as_str() else { continue };
        let is_base64 = payload["isBase64Encoded"] == true;
        let body = if is_base64 {
            base64_simd::STANDARD.decode_to_vec(body).unwrap()
        } else {
            body.into()
        };
        let choice = if name.contains("ndjson") { b'4' } else { b'0' };
        seeds.push((name.replace(".json", ".bin"), [&[choice], body.as_slice()].concat()));
    }
    for (index, dataset) in (1..).zip(["covid", "flood", "telemetry"]) {
        let lines = head(&fixture(&format!("fixtures/datasets/{dataset}/valid.jsonl")), 3);
        seeds.push((format!("{dataset}.bin"), [&[b'4' + index], lines.as_slice()].concat()));
    }
    seeds
}

/// Returns the messages of the small aggregates, without magic number and checksum.
pub(crate) fn aggregates() -> Vec<Seed> {
    let message =
        |(name, bytes): Seed| (name, bytes[MAGIC.len()..bytes.len() - MD5_BYTES].to_vec());
    files("fixtures/kpl", ".bin", 400).into_iter().map(message).collect()
}

pub(crate) fn user_records() -> Vec<Seed> {
    let lines = |(name, bytes): Seed| {
        let records = read_aggregate(&bytes).unwrap().unwrap();
        let line = |it: &tributary_kpl::UserRecord<'_>| {
            let data = String::from_utf8_lossy(it.data);
            match it.explicit_hash_key {
                Some(hash_key) => format!("{}\t{hash_key}\t{data}", it.partition_key),
                None => format!("{}\t{data}", it.partition_key),
            }
        };
        let lines: Vec<_> = records.iter().map(line).collect();
        (name, [b"\x28", lines.join("\n").as_bytes()].concat())
    };
    files("fixtures/kpl", ".bin", 400).into_iter().map(lines).collect()
}

pub(crate) fn filters() -> Vec<Seed> {
    let raw = String::from_utf8(head(&fixture("fixtures/datasets/flood/valid.jsonl"), 1)).unwrap();
    let raw = format!(r#"{{"dataset":"flood","record_id":"r","payload":{}}}"#, raw.trim());
    let expressions = [
        "event.dataset == 'flood' && double(event.payload.water_level) > 0.5",
        "has(event.payload.unit) || !('x' in event.payload) || event.source.startsWith('file:')",
        "event.tags.exists(tag, tag == 'night') ? size(event.tags) > 1 : event.list[0].a[1] == null",
        "event.payload.sensor_id.matches('^s-[0-9]+$') && int('7') % 2 == 1",
        "[1, 2.0, 'a'].map(x, x)[0] in {'k': 1u} || timestamp('2026-01-01T00:00:00Z') < event.at",
    ];
    let seed = |(index, text): (usize, &&str)| {
        (format!("{index}.txt"), format!("{text}\n{raw}").into_bytes())
    };
    expressions.iter().enumerate().map(seed).collect()
}
