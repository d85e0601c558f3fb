//! `ingest-s3`: objects of a bucket in, raw records out. See the README beside this crate.

pub mod config;
pub mod handler;
pub mod message;
mod object;
