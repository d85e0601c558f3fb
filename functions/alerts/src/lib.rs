//! `alerts`: events in, messages to people out. See the README beside this crate.

pub mod active_rules;
pub mod config;
pub mod handler;
pub mod message;
pub mod no_data;
pub mod rule_state;
mod scheduled;
pub mod sender;
