//! Tests against aggregates of another library (`fixtures/kpl`), against a list of records as the
//! model, and against damaged aggregates.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde::Deserialize;

use super::wire::{put_bytes, put_number};
use super::*;

/// User record of a fixture, as `fixtures/kpl/make.mjs` writes it to JSON.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Written {
    partition_key: String,
    explicit_hash_key: Option<String>,
    #[serde(rename = "data_base64", deserialize_with = "base64")]
    data: Vec<u8>,
}

fn base64<'de, D: serde::Deserializer<'de>>(text: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(text)?;
    Ok(base64_simd::STANDARD.decode_to_vec(text).unwrap())
}

impl Written {
    fn record(&self) -> UserRecord<'_> {
        UserRecord {
            partition_key: &self.partition_key,
            explicit_hash_key: self.explicit_hash_key.as_deref(),
            data: &self.data,
        }
    }
}

/// Returns each aggregate of `fixtures/kpl` as aws-kinesis-agg wrote it, with the records that
/// aws-kinesis-agg reads from it.
fn fixtures() -> Vec<(PathBuf, Vec<u8>, Vec<Written>)> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/kpl"));
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let fixtures: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "bin"))
        .map(|path| {
            let read = fs::read_to_string(path.with_extension("json")).unwrap();
            let aggregate = fs::read(&path).unwrap();
            (path, aggregate, serde_json::from_str(&read).unwrap())
        })
        .collect();
    assert!(fixtures.len() >= 11, "{} fixtures", fixtures.len());
    fixtures
}

fn aggregate(records: &[Written]) -> Vec<u8> {
    let mut aggregator = Aggregator::new(usize::MAX);
    for record in records {
        assert!(aggregator.push(&record.record()));
    }
    aggregator.finish()
}

/// Returns an aggregate with a correct MD5 over any message, well formed or not.
fn signed(message: &[u8]) -> Vec<u8> {
    [&MAGIC, message, Md5::digest(message).as_slice()].concat()
}

/// Returns the fault of a broken aggregate.
fn fault(record: &[u8]) -> String {
    user_records(record).unwrap().unwrap_err().to_string()
}

#[test]
fn aggregates_of_another_library_are_read() {
    for (path, bytes, written) in fixtures() {
        let read = user_records(&bytes).unwrap().unwrap();

        let expected: Vec<_> = written.iter().map(Written::record).collect();
        assert_eq!(read, expected, "{}", path.display());
    }
}

/// Equal bytes mean that aws-kinesis-agg reads our aggregates as it reads its own.
#[test]
fn aggregates_match_another_library_byte_for_byte() {
    for (path, bytes, written) in fixtures() {
        assert!(aggregate(&written) == bytes, "{}", path.display());
    }
}

#[test]
fn record_without_magic_number_is_not_an_aggregate() {
    for record in [&b""[..], b"{}", &MAGIC[..3], b"\xf3\x89\x9a\xc3 and more than sixteen bytes"] {
        assert_eq!(user_records(record), None);
    }
}

#[test]
fn truncated_aggregate_is_broken() {
    for (path, bytes, _) in fixtures() {
        for end in (MAGIC.len()..bytes.len()).step_by(1 + bytes.len() / 300) {
            let message = fault(&bytes[..end]);
            assert!(message.contains("MD5"), "{} cut at {end}: {message}", path.display());
        }
    }
}

#[test]
fn aggregate_with_one_flipped_bit_is_not_read() {
    for (path, mut bytes, _) in fixtures() {
        // An odd step reaches every bit position of a byte. In a small aggregate every bit is
        // flipped.
        for bit in (0..bytes.len() * 8).step_by((bytes.len() / 100) | 1) {
            bytes[bit / 8] ^= 1 << (bit % 8);
            match user_records(&bytes) {
                None => assert!(bit < 32, "{} bit {bit}", path.display()),
                Some(read) => assert!(read.is_err(), "{} bit {bit}", path.display()),
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn faults_under_a_valid_md5_are_reported() {
    let record = |fields: &[(u64, u64)], data: Option<&[u8]>| {
        let mut record = Vec::new();
        for (field, value) in fields {
            put_number(&mut record, *field, *value);
        }
        if let Some(data) = data {
            put_bytes(&mut record, DATA, data);
        }
        let mut message = Vec::new();
        put_bytes(&mut message, PARTITION_KEY_TABLE, b"only key");
        put_bytes(&mut message, RECORDS, &record);
        signed(&message)
    };

    let good = record(&[(PARTITION_KEY_INDEX, 0)], Some(b""));
    assert_eq!(user_records(&good).unwrap().unwrap().len(), 1);

    for index in [1, 2, u64::MAX] {
        let no_key = record(&[(PARTITION_KEY_INDEX, index)], Some(b""));
        assert_eq!(fault(&no_key), "a user record has a key that is not in the table");
    }
    let hash_key = record(&[(PARTITION_KEY_INDEX, 0), (EXPLICIT_HASH_KEY_INDEX, 0)], Some(b""));
    assert_eq!(fault(&hash_key), "a user record has a key that is not in the table");
    assert_eq!(fault(&record(&[], Some(b""))), "a user record has no partition key");
    assert_eq!(fault(&record(&[(PARTITION_KEY_INDEX, 0)], None)), "a user record has no data");
    assert_eq!(
        fault(&record(&[(PARTITION_KEY_INDEX, 0), (DATA, 7)], None)),
        "a field of the aggregate has the wrong type"
    );
    assert_eq!(fault(&signed(b"\x0a\x02\xc3\x28")), "a key of the aggregate is not UTF-8");
    assert_eq!(fault(&signed(b"\x0a\x05four")), "a field of the aggregate ends too early");
    assert_eq!(fault(&signed(b"\x1a\x03\x0a\x01k")), "an index of the aggregate is not a number");
    assert_eq!(fault(&MAGIC), "the aggregate ends before its MD5");
}

#[test]
fn empty_aggregate_has_no_user_records() {
    assert_eq!(user_records(&signed(b"")).unwrap().unwrap(), []);
    assert_eq!(Aggregator::new(usize::MAX).finish(), signed(b""));
}

#[test]
fn late_tables_and_unknown_fields_are_accepted() {
    let mut record = Vec::new();
    put_number(&mut record, PARTITION_KEY_INDEX, 9);
    put_number(&mut record, PARTITION_KEY_INDEX, 1);
    put_bytes(&mut record, DATA, b"{}");
    put_bytes(&mut record, 4, b"\x0a\x03tag");
    let mut message = Vec::new();
    put_bytes(&mut message, RECORDS, &record);
    put_bytes(&mut message, 15, b"of a later version");
    put_bytes(&mut message, PARTITION_KEY_TABLE, b"first");
    put_bytes(&mut message, PARTITION_KEY_TABLE, b"second");

    let record = UserRecord { partition_key: "second", explicit_hash_key: None, data: b"{}" };
    assert_eq!(user_records(&signed(&message)).unwrap().unwrap(), [record]);
}

#[test]
fn aggregate_over_max_user_records_is_rejected() {
    let mut message = Vec::new();
    put_bytes(&mut message, PARTITION_KEY_TABLE, b"k");
    let table = message.len();
    for _ in 0..MAX_USER_RECORDS {
        put_bytes(&mut message, RECORDS, b"\x08\x00\x1a\x00");
    }
    let user_record = message.len() - (message.len() - table) / MAX_USER_RECORDS;
    assert_eq!(user_records(&signed(&message)).unwrap().unwrap().len(), MAX_USER_RECORDS);

    let one = message[user_record..].to_vec();
    message.extend(one);

    assert_eq!(fault(&signed(&message)), "the aggregate has more than 100,000 user records");
}

#[test]
fn aggregate_is_filled_to_its_exact_limit() {
    let record = UserRecord { partition_key: "k", explicit_hash_key: Some("0"), data: &[0; 100] };
    let mut all = Aggregator::new(usize::MAX);
    assert!(all.push(&record) && all.push(&record));
    let two = all.finish();

    let (mut exact, mut short) = (Aggregator::new(two.len()), Aggregator::new(two.len() - 1));

    assert!(exact.push(&record) && exact.push(&record) && !exact.push(&record));
    assert_eq!(exact.bytes(), two.len());
    assert_eq!(exact.finish(), two);
    assert!(short.push(&record) && !short.push(&record));
    assert_eq!(user_records(&short.finish()).unwrap().unwrap(), [record]);
}

/// AWS defines the hash key of a partition key as its MD5 read as one big-endian number.
#[test]
fn hash_key_is_md5_of_partition_key() {
    assert_eq!(hash_key("abc"), 0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72);
    assert_eq!(hash_key(""), 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e);
}

/// `SplitMix64` generator: the same seed gives the same damage on every machine.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, max: usize) -> usize {
        (self.next() % max.max(1) as u64) as usize
    }
}

/// Damage under a valid MD5 gets past the checksum and reaches the reader itself. Whatever the
/// damage, the user records lie within the record, and anything else is a single fault.
#[test]
fn damage_under_a_valid_md5_never_panics() {
    let mut seeded = Seeded(7);
    let fixtures = fixtures();
    let (mut good, mut broken) = (0, 0);
    for round in 0..10_000 {
        let (_, bytes, _) = &fixtures[round % fixtures.len()];
        // All of a small aggregate, the beginning of a large one: that is where the structure is.
        let end = (bytes.len() - MD5_BYTES).min(1_000);
        let mut message = bytes[MAGIC.len()..end].to_vec();
        for _ in 0..=seeded.below(4) {
            let at = seeded.below(message.len());
            match seeded.below(5) {
                0 => message.truncate(at),
                1 => message.insert(at, seeded.next() as u8),
                2 if at < message.len() => drop(message.remove(at)),
                3 => message.extend_from_within(at..),
                _ if at < message.len() => message[at] ^= 1 << seeded.below(8),
                _ => {}
            }
        }

        let record = signed(&message);
        match user_records(&record).unwrap() {
            Ok(records) => {
                good += 1;
                let bytes: usize = records.iter().map(|record| record.data.len()).sum();
                assert!(bytes <= record.len());
            }
            Err(_) => broken += 1,
        }
    }
    // Damage that is always harmless or always fatal would make this test meaningless.
    assert!(good > 500 && broken > 500, "{good} good, {broken} broken");
}

fn any_record() -> impl Strategy<Value = Written> {
    let hash_key = proptest::option::of(any::<u128>().prop_map(|key| key.to_string()));
    let data = proptest::collection::vec(any::<u8>(), 0..300);
    ("[a-c]{0,2}|\\PC{0,20}", hash_key, data).prop_map(
        |(partition_key, explicit_hash_key, data)| Written {
            partition_key,
            explicit_hash_key,
            data,
        },
    )
}

proptest! {
    #[test]
    fn written_aggregates_are_read_back(records in proptest::collection::vec(any_record(), 0..200)) {
        let bytes = aggregate(&records);

        let expected: Vec<_> = records.iter().map(Written::record).collect();
        prop_assert_eq!(user_records(&bytes).unwrap().unwrap(), expected);
    }

    #[test]
    fn aggregate_stays_within_limit_and_loses_nothing(
        records in proptest::collection::vec(any_record(), 1..100),
        max in 0_usize..5_000,
    ) {
        let mut aggregator = Aggregator::new(max);
        let taken = records.iter().take_while(|one| aggregator.push(&one.record())).count();
        let bytes = aggregator.finish();

        prop_assert!(taken == 0 || bytes.len() <= max);
        let expected: Vec<_> = records[..taken].iter().map(Written::record).collect();
        prop_assert_eq!(user_records(&bytes).unwrap().unwrap(), expected);
    }

    #[test]
    fn reading_any_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        let _ = user_records(&bytes);
        let _ = user_records(&[&MAGIC, &bytes[..]].concat());
        let _ = user_records(&signed(&bytes));
    }
}
