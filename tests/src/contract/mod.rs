//! Contract between `template.yaml`, the code, and the properties of AWS that both rely on.
//!
//! Each check returns its faults, one line each: the resource, then what is missing or wrong.

pub mod alarms;
pub mod catalogue;
pub mod deployment;
pub mod environment;
pub mod evaluation;
pub mod functions;
pub mod kafka;
pub mod mappings;
mod math;
pub mod mutation;
pub mod roles;
pub mod samples;
pub mod storage;
pub mod template;
