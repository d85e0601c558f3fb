//! `alerts`: evaluates rules on events and publishes each alert once, to SNS. See the README beside
//! this crate.

mod admission;
pub mod config;
pub mod handler;
mod no_data;
pub mod rule_state;
mod sender;
