//! Replay of quarantined rows.
//!
//! A bad row is read and repaired, then evaluated as ingest and `transform` would. The result is a
//! raw record under the row's original record id.
//!
//! ```
//! use tributary_config::Configuration;
//! use tributary_operate::quarantine::{Fixes, Repair, QuarantinedRow, Replayer, ReplayVerdict};
//!
//! // A value of a topic, with a comma for a decimal point.
//! let line = r#"{"code":"invalid_number","message":"…","dataset":"flood","record_id":"00ff",
//!     "source":"kafka:flood-0#offset=7","rejected_at":"2026-11-20T10:00:00.500Z",
//!     "payload_base64":"eyJzZW5zb3JfaWQiOiJzLTEiLCJ0aW1lc3RhbXAiOjE3NjIzNDQwMDAsIndhdGVyX2xldmVsIjoiMSw1In0="}"#;
//! let row = QuarantinedRow::from_json(line.as_bytes())?;
//! let transformer = Configuration::shipped()?.transformer()?;
//! let mut replayer = Replayer::new(transformer, 1 << 20);
//!
//! let verdict = replayer.evaluate(&row, None, &Repair::default());
//! assert!(matches!(verdict, ReplayVerdict::Rejected(rejection, _) if rejection.code.as_str() == "invalid_number"));
//!
//! let set = ["water_level=payload.water_level.replace(',', '.')".to_owned()];
//! replayer.fixes = Fixes::compile(None, &set)?;
//! let ReplayVerdict::Event(record) = replayer.evaluate(&row, None, &Repair::default()) else { panic!() };
//! assert_eq!(record.partition_key, "s-1");
//! assert!(record.data.ends_with(br#""water_level":"1.5"}}"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod fix;
mod replay;
mod row;
#[cfg(test)]
mod tests;

pub use fix::Fixes;
pub use replay::{CsvHeader, NotReplayable, RebuiltRecord, Repair, ReplayVerdict, Replayer};
pub use row::{ObjectPosition, QuarantinedRow, SourceKind};
