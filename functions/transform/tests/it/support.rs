//! In-memory sinks and example payloads.

use tributary_aws::kinesis::StreamRecord;
use tributary_aws::put::Limits;
use tributary_testkit::MemorySink;

pub(crate) const STREAM: Limits = Limits { entries: 500, bytes: 5 << 20, entry_bytes: 1 << 20 };

pub(crate) type Events = MemorySink<StreamRecord>;
pub(crate) type Quarantine = MemorySink<Vec<u8>>;

/// Returns the payload `name` from `events/transform`.
pub(crate) fn case(name: &str) -> String {
    let path = format!("{}/../../events/transform/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}
