//! Event: one shape for every dataset, so that metrics, rules, windows, the lake and the dashboards
//! are written once.

mod json;

use std::borrow::Cow;

use h3o::{LatLng, Resolution};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::json::is_object;
use crate::pairs::Pairs;
use crate::time::{as_millis, as_rfc3339};

/// H3 resolution of [`Location::cell`]: cells of about 250 km².
///
/// See <https://h3geo.org/docs/core-library/restable>.
pub const CELL_RESOLUTION: Resolution = Resolution::Five;

/// Text of an event. It borrows from the source record unless the record holds it in escaped form.
pub type Text<'a> = Cow<'a, str>;

/// Named finite numbers. The name ends with the unit (`temperature_c`, `distance_km`).
pub type Measures<'a> = Pairs<Text<'a>, f64>;

/// Named strings. They always include the natural key.
pub type Attributes<'a> = Pairs<Text<'a>, Text<'a>>;

/// Kinds of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A row or reading, from `transform`.
    Reading,
    /// The aggregate of a window, from `windows`.
    Window,
    /// A heartbeat of a device.
    Heartbeat,
}

impl Kind {
    /// Returns the name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Window => "window",
            Self::Heartbeat => "heartbeat",
        }
    }
}

/// An enriched row or reading.
///
/// On the wire it is one JSON object on one line. All fields except `location` and `window` are
/// always present; an absent value is left out, never null and never 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event<'a> {
    /// Kind of the event.
    pub kind: Kind,
    /// Name of the dataset.
    #[serde(borrow)]
    pub dataset: Text<'a>,
    /// Hash of the dataset's natural key: stable across retries and replays.
    #[serde(borrow)]
    pub event_id: Text<'a>,
    /// Entity of the reading (a sensor, a county). Readings are ordered and grouped into windows by
    /// it.
    #[serde(borrow)]
    pub entity: Text<'a>,
    /// Event time.
    #[serde(with = "as_rfc3339")]
    pub event_time: Timestamp,
    /// Arrival time: when Tributary received the row.
    #[serde(with = "as_millis")]
    pub received_at: Timestamp,
    /// Location of the reading.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location<'a>>,
    /// Measured values.
    #[serde(borrow)]
    pub measures: Measures<'a>,
    /// Other values, as text.
    #[serde(borrow)]
    pub attributes: Attributes<'a>,
    /// Derived flags.
    #[serde(borrow)]
    pub tags: Vec<Text<'a>>,
    /// Bad optional fields of the row, which the event lacks: `humidity_pct:out_of_range`.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Text<'a>>,
    /// Window of a [`Kind::Window`] event.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowSpan<'a>>,
}

/// Maximum lead of an event's time over its arrival time. An event further ahead is of a device
/// with a wrong clock: it is kept and tagged [`CLOCK_AHEAD`], but moves no watermark and uses up no
/// alert period of the future.
pub const MAX_CLOCK_AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// Tag of an event that is more than [`MAX_CLOCK_AHEAD`] ahead of its arrival.
pub const CLOCK_AHEAD: &str = "clock_ahead";

/// Returns true if `time` is more than [`MAX_CLOCK_AHEAD`] after `received_at`.
#[must_use]
pub fn is_clock_ahead(time: Timestamp, received_at: Timestamp) -> bool {
    time.duration_since(received_at) > MAX_CLOCK_AHEAD
}

/// A place on Earth, WGS 84.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Location<'a> {
    /// Latitude in degrees, -90 to 90.
    pub lat: f64,
    /// Longitude in degrees, -180 to 180.
    pub lon: f64,
    /// H3 cell at [`CELL_RESOLUTION`], as 15 hex digits.
    #[serde(borrow)]
    pub cell: Text<'a>,
}

impl Location<'_> {
    /// Returns the location at `lat` and `lon` degrees with its H3 cell, or `None` if either is not
    /// finite.
    ///
    /// The caller must check the ranges.
    #[must_use]
    pub fn new(lat: f64, lon: f64) -> Option<Self> {
        let cell = LatLng::new(lat, lon).ok()?.to_cell(CELL_RESOLUTION);
        Some(Self { lat, lon, cell: Cow::Owned(cell.to_string()) })
    }
}

/// Window that a window event reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSpan<'a> {
    /// Id of the window spec.
    #[serde(borrow)]
    pub spec: Text<'a>,
    /// Start, inclusive.
    #[serde(with = "as_rfc3339")]
    pub start: Timestamp,
    /// End, exclusive.
    #[serde(with = "as_rfc3339")]
    pub end: Timestamp,
    /// Revision: 0 when the window first closed, plus 1 for each late update.
    pub revision: u32,
}

impl<'a> Event<'a> {
    /// Reads an event from a record of the EVENTS stream, borrowing its text.
    ///
    /// # Errors
    ///
    /// If the bytes are not one event of this shape.
    pub fn from_json(data: &'a [u8]) -> Result<Self, serde_json::Error> {
        if is_object(data) {
            serde_json::from_slice(data)
        } else {
            Err(serde::de::Error::custom("not an object"))
        }
    }
}
