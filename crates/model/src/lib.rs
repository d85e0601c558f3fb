//! Data contracts of Tributary: the records of its streams, and the names and ids in them.
//!
//! A [raw record](raw) becomes an [event] or a [bad row](bad_row). A batch reports its
//! [counts]. [`domain`] declares the possible values of an event's fields.
//!
//! Out of scope: APIs of AWS services, `async`, clocks, I/O.

pub mod bad_row;
pub mod config_error;
pub mod counts;
pub mod domain;
pub mod event;
pub mod id;
pub mod json;
pub mod pairs;
pub mod raw;
pub mod time;
