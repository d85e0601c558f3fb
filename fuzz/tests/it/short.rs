//! Short run: every input of the corpus, and a few thousand generated from it, the same ones each
//! time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tributary_fuzz::mutate::Mutator;
use tributary_fuzz::{TARGETS, Target, corpus, target};

/// Maximum size of the corpus: each clone of the repository contains it, and each test reads it.
const MAX_CORPUS_BYTES: usize = 300 * 1000;

/// Checks the corpus of a target and `inputs` generated ones.
#[track_caller]
fn holds(name: &str, inputs: usize) {
    let target = target(name).unwrap();
    let kept = corpus::inputs(target).unwrap();
    assert!(!kept.is_empty(), "{name} has no corpus");
    for (file, input) in &kept {
        check(target, input, file);
    }
    // Inputs that expand to hundreds of KiB are checked as they are; mutations of them would take
    // minutes.
    let is_long = |input: &[u8]| input.windows(6).any(|it| it == b"<long>");
    let mut kept: Vec<_> = kept.into_iter().map(|(_, input)| input).collect();
    kept.retain(|input| !is_long(input));
    let mut mutator = Mutator::new(&kept, 1);
    for index in 0..inputs {
        check(target, &mutator.input(), &format!("made-{index}"));
    }
}

/// Checks one input; one that breaks a property is saved to a file.
fn check(target: &Target, input: &[u8], name: &str) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.check)(input))) else { return };
    let file = format!("{}-{name}", target.name);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    std::fs::write(&path, input).unwrap();
    let why = panic.downcast_ref::<String>().map_or("", String::as_str);
    panic!("{why}\ncargo run -p tributary-fuzz -- check {} {}", target.name, path.display());
}

#[test]
fn payloads_become_events_or_rejections() {
    holds("datasets", 4_000);
}

#[test]
fn events_are_counted_and_alerted() {
    holds("events", 400);
}

#[test]
fn filters_accept_any_record() {
    holds("filters", 1_000);
}

#[test]
fn bodies_are_answered_per_item() {
    holds("http-bodies", 1_000);
}

#[test]
fn requests_are_answered() {
    holds("http-requests", 2_000);
}

#[test]
fn topic_records_are_all_accounted_for() {
    holds("kafka-payloads", 3_000);
}

#[test]
fn stream_batches_are_read() {
    holds("kinesis-payloads", 5_000);
}

#[test]
fn aggregates_are_read_or_reported_broken() {
    holds("kpl-reader", 10_000);
}

#[test]
fn aggregated_records_are_read_back() {
    holds("kpl-writer", 3_000);
}

#[test]
fn objects_become_raw_records_and_bad_rows() {
    holds("objects", 800);
}

#[test]
fn messages_name_objects() {
    holds("queue-messages", 10_000);
}

#[test]
fn raw_records_are_all_accounted_for() {
    holds("raw-records", 400);
}

#[test]
fn objects_are_read_to_the_last_byte() {
    holds("rows", 1_500);
}

#[test]
fn each_target_has_a_test() {
    for target in TARGETS {
        let call = format!("    holds(\"{}\", ", target.name);
        assert_eq!(include_str!("short.rs").matches(&call).count(), 1, "{}", target.name);
    }
}

#[test]
fn seeds_match_the_fixtures() {
    for target in TARGETS {
        let mut kept = corpus::inputs(target).unwrap();
        kept.retain(|(name, _)| name.starts_with(corpus::SEED));

        assert!(
            kept == corpus::seeds(target),
            "{}: cargo run -p tributary-fuzz -- seeds",
            target.name
        );
    }
}

#[test]
fn corpus_stays_small() {
    let bytes: usize = TARGETS
        .iter()
        .flat_map(|target| corpus::inputs(target).unwrap())
        .map(|(_, input)| input.len())
        .sum();

    assert!(bytes <= MAX_CORPUS_BYTES, "{bytes} bytes");
}
