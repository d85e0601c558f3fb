//! `alerts`: events in, messages to people out. See the README beside this crate.

pub mod absent;
pub mod config;
pub mod handler;
pub mod message;
pub mod once;
mod round;
pub mod rulebook;
pub mod sustained;
