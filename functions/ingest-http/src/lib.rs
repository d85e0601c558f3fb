//! `ingest-http`: turns requests of devices into raw records. See the README beside this crate.

pub mod answer;
pub mod body;
pub mod config;
pub mod handler;
pub mod item;
pub mod request;
