//! Generated feeds: the JSON objects that devices would send, from a seed.
//!
//! A [`Simulation`] is a sequence of records in sending order. The same [`Settings`] give the same
//! bytes on every machine: time is an argument, chance comes from the seed, and only arithmetic
//! that is exact everywhere is used.
//!
//! ```
//! use tributary_datagen::{FeedKind, Settings, Simulation};
//!
//! let mut simulation = Simulation::new(FeedKind::Flood, &Settings::of(FeedKind::Flood))?;
//!
//! let record = simulation.next().unwrap();
//! assert!(record.json.starts_with(br#"{"sensor_id":""#));
//! assert_eq!(record.key, "river-0000-gauge-1");
//! # Ok::<(), tributary_datagen::SettingsError>(())
//! ```
//!
//! This crate must **not** contain the clock, files, streams, or the rate at which records are
//! sent.

mod delayed;
mod faults;
mod model;
mod places;
pub mod random;
mod settings;
mod simulation;
mod text;
mod weather;

pub use faults::{FaultKind, Label};
pub use settings::{FeedKind, Rates, Settings, SettingsError};
pub use simulation::{Counts, Record, Simulation};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
