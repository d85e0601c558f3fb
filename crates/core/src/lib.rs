//! What Tributary decides, without touching the world.
//!
//! Rows become [events](event::Event) or [bad rows](bad_row::BadRow), events meet [rules](rule)
//! and add up to [metrics](metric) and [windows](window). Nothing here does I/O, reads a clock, an environment variable
//! or a random number: bytes and times come in as arguments, values go out.
//!
//! What must **not** go here: anything that names an AWS service's API, anything `async`.

pub mod alert;
pub mod anomaly;
pub mod bad_row;
pub mod balance;
pub mod books;
pub mod cell;
pub mod config;
pub mod datasets;
pub mod domain;
pub mod event;
mod expression;
pub mod filter;
pub mod id;
pub mod ingest;
pub mod kpl;
pub mod metric;
pub mod pairs;
pub mod parked;
pub mod quarantine;
pub mod raw;
pub mod rows;
pub mod rule;
pub mod time;
pub mod transform;
pub mod window;
