//! Targets, one for each kind of input.

mod datasets;
mod events;
mod filters;
mod http_bodies;
mod http_requests;
mod judged;
mod kafka_payloads;
mod kinesis_payloads;
mod kpl;
mod objects;
mod queue_messages;
mod raw_records;
mod rows;

use crate::Target;

/// All targets.
pub const TARGETS: &[Target] = &[
    datasets::TARGET,
    events::TARGET,
    filters::TARGET,
    http_bodies::TARGET,
    http_requests::TARGET,
    kafka_payloads::TARGET,
    kinesis_payloads::TARGET,
    kpl::READER,
    kpl::WRITER,
    objects::TARGET,
    queue_messages::TARGET,
    raw_records::TARGET,
    rows::TARGET,
];
