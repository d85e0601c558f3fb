//! Assertions over checks, and sinks in memory.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use system_tests::contract::alarms;
use system_tests::contract::template::Template;
use tributary_aws::deadline::Deadline;
use tributary_aws::firehose;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::producer::Producer;
use tributary_aws::put::Limits;
use tributary_config::Configuration;
use tributary_pipeline::transform::Transformer;
use tributary_testkit::MemorySink;

pub(crate) const STREAM: Limits = Limits { entries: 500, bytes: 5 << 20, entry_bytes: 1 << 20 };

pub(crate) type Check = fn(&Template) -> Vec<String>;

/// Check of the alarms of each function, in a stack with every default.
pub(crate) const EVERY_FUNCTION: Check =
    |template| alarms::watch_every_function(template, &BTreeMap::new());

/// Asserts that a check found nothing.
#[track_caller]
pub(crate) fn holds(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// Asserts that `check` finds exactly `fault` in `template`.
#[track_caller]
pub(crate) fn reports(check: Check, template: &Template, fault: &str) {
    assert_eq!(check(template), [fault]);
}

pub(crate) fn minute() -> Deadline {
    Deadline::after(Duration::from_mins(1))
}

pub(crate) fn stream() -> Producer<MemorySink<StreamRecord>> {
    Producer::new(MemorySink::new(STREAM, StreamRecord::size))
}

pub(crate) fn bad_rows() -> Producer<MemorySink<Vec<u8>>> {
    Producer::new(MemorySink::new(firehose::LIMITS, Vec::len))
}

pub(crate) fn shipped() -> &'static Configuration {
    static SHIPPED: LazyLock<Configuration> = LazyLock::new(|| Configuration::shipped().unwrap());
    &SHIPPED
}

pub(crate) fn transformer() -> Transformer {
    shipped().transformer().unwrap()
}
