//! `ingest-s3`: turns objects of a bucket into raw records. See the README beside this crate.

pub mod config;
pub mod handler;
pub mod message;
mod object;
