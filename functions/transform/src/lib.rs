//! `transform`: raw records in, events and bad rows out. See the README beside this crate.

pub mod config;
pub mod handler;
