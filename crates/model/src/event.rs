//! The event: one shape for every dataset, so that metrics, rules, windows, the lake and the
//! dashboards are written once.

use std::borrow::Cow;

use h3o::{LatLng, Resolution};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::json::is_object;
use crate::pairs::Pairs;
use crate::time::{as_millis, as_rfc3339};

/// The H3 resolution of [`Location::cell`]: cells of about 250 km².
///
/// See <https://h3geo.org/docs/core-library/restable>.
pub const CELL_RESOLUTION: Resolution = Resolution::Five;

/// Text that an event borrows from the record it was made of, wherever the record holds it as it is.
pub type Text<'a> = Cow<'a, str>;

/// Named finite numbers; the unit is the end of the name (`temperature_c`, `distance_km`).
pub type Measures<'a> = Pairs<Text<'a>, f64>;

/// Named strings; the natural key is always among them.
pub type Attributes<'a> = Pairs<Text<'a>, Text<'a>>;

/// What an event speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One row or reading, from `transform`.
    Reading,
    /// The aggregate of a window, from `windows`.
    Window,
    /// A sign of life.
    Heartbeat,
}

impl Kind {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Window => "window",
            Self::Heartbeat => "heartbeat",
        }
    }
}

/// One enriched row or reading.
///
/// On the wire it is one JSON object on one line; every field but `location` and `window` is always
/// there, and an absent value is left out, never null and never 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event<'a> {
    /// What the event speaks of.
    pub kind: Kind,
    /// The name of the dataset it belongs to.
    #[serde(borrow)]
    pub dataset: Text<'a>,
    /// Hash of the dataset's natural key: stable over every retry and replay.
    #[serde(borrow)]
    pub event_id: Text<'a>,
    /// What the reading is of (a sensor, a county): the key of order and of windows.
    #[serde(borrow)]
    pub entity: Text<'a>,
    /// When it happened.
    #[serde(with = "as_rfc3339")]
    pub event_time: Timestamp,
    /// When Tributary received it.
    #[serde(with = "as_millis")]
    pub received_at: Timestamp,
    /// Where it happened.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location<'a>>,
    /// What was measured.
    #[serde(borrow)]
    pub measures: Measures<'a>,
    /// What else is known, as text.
    #[serde(borrow)]
    pub attributes: Attributes<'a>,
    /// Derived flags.
    #[serde(borrow)]
    pub tags: Vec<Text<'a>>,
    /// The window, for [`Kind::Window`].
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowSpan<'a>>,
}

/// A place on Earth, WGS 84.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Location<'a> {
    /// Latitude in degrees, -90 to 90.
    pub lat: f64,
    /// Longitude in degrees, -180 to 180.
    pub lon: f64,
    /// The H3 cell at [`CELL_RESOLUTION`], as its 15 hex digits.
    #[serde(borrow)]
    pub cell: Text<'a>,
}

impl Location<'_> {
    /// The place at `lat` and `lon` degrees with its cell; `None` where one is not finite.
    ///
    /// The caller has checked the ranges.
    #[must_use]
    pub fn new(lat: f64, lon: f64) -> Option<Self> {
        let cell = LatLng::new(lat, lon).ok()?.to_cell(CELL_RESOLUTION);
        Some(Self { lat, lon, cell: Cow::Owned(cell.to_string()) })
    }
}

/// Which window a window event closes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSpan<'a> {
    /// The id of the window spec.
    #[serde(borrow)]
    pub spec: Text<'a>,
    /// First instant inside.
    #[serde(with = "as_rfc3339")]
    pub start: Timestamp,
    /// First instant after.
    #[serde(with = "as_rfc3339")]
    pub end: Timestamp,
    /// 0 when the window first closed, one more for each late update.
    pub revision: u32,
}

impl<'a> Event<'a> {
    /// Reads an event from a record of the EVENTS stream, borrowing its text.
    ///
    /// # Errors
    ///
    /// When the bytes are not one event of this shape.
    pub fn from_json(data: &'a [u8]) -> Result<Self, serde_json::Error> {
        if is_object(data) {
            serde_json::from_slice(data)
        } else {
            Err(serde::de::Error::custom("not an object"))
        }
    }
}
