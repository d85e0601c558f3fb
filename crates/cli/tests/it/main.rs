//! Integration tests of the `tributary` command.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod books;
mod cloud;
mod config;
mod http;
mod init;
mod kafka;
mod kafka_through;
mod kinesis;
mod late;
mod mistakes;
mod objects;
mod outputs;
mod pages;
mod quarantine;
mod redrive;
mod replay;
mod rules;
mod run;
mod server;
mod simulate;
mod stream;
mod support;
mod tap;
mod windows;
