//! `metrics`: events in, CloudWatch metrics out. See the README beside this crate.

pub mod config;
pub mod handler;
