//! KPL aggregates: reading of arbitrary bytes, and reading of what was written.

use md5::{Digest, Md5};
use tributary_aws::aggregating::Aggregating;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::producer::{Outbound, Producer};
use tributary_kpl::{
    Aggregator, BrokenAggregate, MAGIC, MAX_USER_RECORDS, UserRecord, user_records,
};
use tributary_model::bad_row::{Code, Rejection};

use super::judged::check_rejection;
use crate::bench::{Records, invoke, picked, stream};
use crate::{Target, seeds};

pub(super) const READER: Target =
    Target { name: "kpl-reader", check: check_reader, seeds: seeds::aggregates };
pub(super) const WRITER: Target =
    Target { name: "kpl-writer", check: check_writer, seeds: seeds::user_records };

/// Checks the reader with the input as the message of an aggregate: the checksum is added, as it
/// could not be guessed.
fn check_reader(input: &[u8]) {
    let record = [&MAGIC, input, &Md5::digest(input)[..]].concat();

    match user_records(&record).unwrap() {
        Ok(read) => {
            assert!(read.len() <= MAX_USER_RECORDS);
            let bytes: usize = read.iter().map(|it| it.data.len()).sum();
            assert!(bytes <= input.len(), "no byte is read twice");
            assert_eq!(user_records(&written(&read)).unwrap().as_ref(), Ok(&read));
        }
        Err(fault) => is_broken(fault),
    }

    let mut damaged = record.clone();
    let at = MAGIC.len() + picked(input, record.len() - MAGIC.len());
    damaged[at] ^= 1 << picked(input, 8);
    is_broken(user_records(&damaged).unwrap().unwrap_err());
    let end = MAGIC.len() + picked(input, record.len() - MAGIC.len());
    is_broken(user_records(&record[..end]).unwrap().unwrap_err());
    // Without magic number and checksum, only an input that starts with the magic number is an
    // aggregate.
    assert_eq!(user_records(input).is_some(), input.starts_with(&MAGIC));
}

fn is_broken(fault: BrokenAggregate) {
    check_rejection(&Rejection::row(Code::BrokenAggregate, fault.to_string()));
}

fn written(records: &[UserRecord<'_>]) -> Vec<u8> {
    let mut aggregator = Aggregator::new(usize::MAX);
    assert!(records.iter().all(|record| aggregator.push(record)));
    aggregator.finish()
}

thread_local! {
    static STREAM: Producer<Aggregating<Records>> =
        Producer::new(Aggregating::new(stream(), true)).with_jitter_seed(0);
}

/// Checks the writer. The first byte of an input is the maximum length of the aggregate in tens of
/// bytes; each line after it is a record: its key, a tab, optionally a hash key and another tab,
/// and the data.
fn check_writer(input: &[u8]) {
    let (max, lines) = input.split_first().map_or((0, input), |(n, rest)| (usize::from(*n), rest));
    let text = String::from_utf8_lossy(lines);
    let records: Vec<_> = text.split('\n').map(record).collect();

    let mut aggregator = Aggregator::new(max * 10);
    let empty = aggregator.bytes();
    let mut taken = Vec::new();
    for record in &records {
        let before = aggregator.bytes();
        if aggregator.push(record) {
            taken.push(*record);
            assert!(aggregator.bytes() > before && aggregator.bytes() <= max * 10);
        } else {
            assert_eq!(aggregator.bytes(), before, "a rejected record changes nothing");
        }
    }
    let bytes = aggregator.bytes();
    let aggregate = aggregator.finish();
    assert_eq!(aggregate.len(), bytes);
    assert!(!taken.is_empty() || bytes == empty);
    assert_eq!(user_records(&aggregate).unwrap(), Ok(taken));

    STREAM.with(|producer| put_together(producer, &records));
}

fn record(line: &str) -> UserRecord<'_> {
    let mut parts = line.splitn(3, '\t');
    let (partition_key, second, third) = (parts.next().unwrap(), parts.next(), parts.next());
    let (explicit_hash_key, data) = match third {
        Some(data) => (second, data),
        None => (None, second.unwrap_or_default()),
    };
    UserRecord { partition_key, explicit_hash_key, data: data.as_bytes() }
}

/// Asserts that a stream that aggregates small records stores all of them, in order and with their
/// keys.
fn put_together(producer: &Producer<Aggregating<Records>>, records: &[UserRecord<'_>]) {
    let entry = |it: &UserRecord<'_>| StreamRecord::new(it.partition_key, it.data.to_vec());
    let sent: Vec<_> = records.iter().map(entry).collect();
    let outbound: Vec<_> = sent
        .iter()
        .enumerate()
        .map(|(position, entry)| Outbound { position, entry: entry.clone() })
        .collect();
    producer.target().target().restart([]);

    let delivery = invoke(|deadline| producer.send(&outbound, deadline)).unwrap();

    assert!(delivery.undelivered.is_empty());
    let mut arrived = Vec::new();
    for record in producer.target().target().restart([]) {
        match user_records(&record.data) {
            None => arrived.push(record),
            Some(read) => {
                for it in read.unwrap() {
                    arrived.push(StreamRecord::new(it.partition_key, it.data.to_vec()));
                }
            }
        }
    }
    assert!(arrived == sent, "all of them, in order");
}
