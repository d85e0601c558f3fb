//! The contracts of Tributary: what its streams hold, and the names and ids in it.
//!
//! A [raw record](raw) becomes an [event](event) or a [bad row](bad_row); a batch adds up to
//! [counts](books). [`domain`] states what the fields of an event can hold.
//!
//! What must **not** go here: an AWS service's API, anything `async`, a clock, I/O.

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
