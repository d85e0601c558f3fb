//! Rows of any dataset, from its schema alone.

mod layout;
mod number;
mod plan;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use tributary_datasets::{Dataset, KeyTime, TimeText};

pub(crate) use self::plan::Plan;
use self::plan::{Column, Value};
use super::{Model, Reading, location};
use crate::DAY_MS;
use crate::places::PLACES;
use crate::random::{hash, signed, unit};
use crate::settings::{Settings, SettingsError};
use crate::text::push_decimal;

/// Number of rows that are tried before a feed starts.
const TRIED_ROWS: usize = 200;

/// Share of rows that have the first word of a list.
const FIRST_WORD_SHARE: f64 = 0.85;

/// Number of texts of a column without a list.
const LABELS: u64 = 5;

/// Longest time from an event to an end time, in minutes.
const MAX_MINUTES_TO_END: u64 = 60;

/// Model of a dataset.
pub(crate) struct SchemaModel {
    dataset: Arc<Dataset>,
    plan: Plan,
    seed: u64,
    /// Number of rows so far.
    rows: u64,
    /// Time of the last row of each device, as the dataset reads it.
    last: Vec<Option<(Timestamp, Date)>>,
}

impl SchemaModel {
    /// Creates the model, and tries its first rows.
    ///
    /// # Errors
    ///
    /// Returns an error if the settings are invalid, or the first rows are not of the dataset.
    pub(crate) fn checked(
        dataset: &Arc<Dataset>,
        settings: &Settings,
    ) -> Result<Self, SettingsError> {
        let name = dataset.name();
        let plan = Plan::new(dataset)?;
        settings.check_feed(name, plan.max_devices(), false)?;
        let shortest_ms = plan.resolution_ms(dataset);
        if settings.interval_ms < shortest_ms {
            let seconds = shortest_ms / 1_000;
            return Err(SettingsError(format!(
                "the times of {name} do not tell readings apart that are closer than {seconds} s: expected a \
                 longer interval"
            )));
        }
        let rates = &settings.rates;
        let message = match &plan {
            _ if rates.storm > 0.0 => "has no built-in model with a storm rate",
            _ if rates.drift > 0.0 => "has no built-in model with a drift rate",
            plan if rates.spike > 0.0 && !plan.has_spikes() => "has no numbers for a spike rate",
            plan if rates.noise > 0.0 && !plan.has_spikes() => "has no numbers for a noise rate",
            _ => "",
        };
        if !message.is_empty() {
            return Err(SettingsError(format!("{name} {message}")));
        }
        Self::new(dataset, &plan, settings).check(settings)?;
        Ok(Self::new(dataset, &plan, settings))
    }

    fn new(dataset: &Arc<Dataset>, plan: &Plan, settings: &Settings) -> Self {
        let last = vec![None; settings.devices as usize];
        Self {
            dataset: Arc::clone(dataset),
            plan: plan.clone(),
            seed: settings.seed,
            rows: 0,
            last,
        }
    }

    /// Checks that the first rows become events without faults and with ids of their own.
    fn check(mut self, settings: &Settings) -> Result<(), SettingsError> {
        let devices = (settings.devices as usize).min(TRIED_ROWS / 10);
        let (dataset, mut ids, mut out) = (Arc::clone(&self.dataset), HashSet::new(), Vec::new());
        let wrong = |what: &str| contradiction(&dataset, what);
        // The rounds of the devices cover a day, with its highest and lowest numbers.
        let rounds = i64::try_from(TRIED_ROWS / devices).unwrap_or(1);
        let step_ms = settings.interval_ms.max(DAY_MS / rounds);
        for row in 0..TRIED_ROWS {
            let round = i64::try_from(row / devices).unwrap_or_default();
            let time_ms = settings.start_ms.saturating_add(step_ms.saturating_mul(round));
            let reading = Reading { device: row % devices, time_ms, ..Reading::usual() };
            out.clear();
            if self.write(&reading, &mut out).is_none() {
                continue;
            }
            let payload = String::from_utf8_lossy(&out);
            let event = dataset.event(&payload, None).map_err(|rejection| {
                let field = rejection.field.as_deref().unwrap_or("row");
                wrong(&format!("{field} {}", rejection.message))
            })?;
            if let Some(fault) = event.faults.first() {
                return Err(wrong(fault));
            }
            if !ids.insert(event.event_id.into_owned()) {
                return Err(wrong("the values of its `event_id` do not tell rows apart"));
            }
        }
        Ok(())
    }

    /// Returns the event time of a reading; `None` if the rows of the device could not be told apart
    /// by it, as in an hour that a clock change repeats.
    fn time(&mut self, reading: &Reading, zone: Option<&str>) -> Option<TimeText> {
        let instant = Timestamp::from_millisecond(reading.time_ms).ok()?;
        let time = self.dataset.time_text(instant, zone)?;
        let last = &mut self.last[reading.device];
        let is_new = match (self.dataset.key_time(), *last) {
            (KeyTime::Absent, _) | (_, None) => true,
            (KeyTime::Time, Some((instant, _))) => time.instant > instant,
            (KeyTime::Date, Some((_, date))) => time.date > date,
        };
        if !is_new {
            return None;
        }
        *last = Some((time.instant, time.date));
        Some(time)
    }
}

impl Model for SchemaModel {
    fn write(&mut self, reading: &Reading, out: &mut Vec<u8>) -> Option<Range<usize>> {
        let zone = self.plan.zone.and_then(|at| self.plan.columns[at].constant(reading.device));
        let time = self.time(reading, zone.as_deref())?;
        self.rows += 1;
        let row = Row { model: self, reading, time: &time, zone: zone.as_deref() };
        let mut key = 0..0;
        self.plan.layout.write(out, &mut |column, out| {
            let written = row.push(column, out);
            if column == self.plan.key {
                key = written;
            }
        });
        Some(key)
    }
}

/// Returns the error of a schema for which no row can be made.
fn contradiction(dataset: &Dataset, what: &str) -> SettingsError {
    SettingsError(format!("dataset {:?} cannot be simulated: {what}", dataset.name()))
}

/// Row to write.
struct Row<'r> {
    model: &'r SchemaModel,
    reading: &'r Reading,
    time: &'r TimeText,
    zone: Option<&'r str>,
}

impl Row<'_> {
    /// Appends the value of a column as JSON. Returns the range of its text.
    fn push(&self, index: usize, out: &mut Vec<u8>) -> Range<usize> {
        let (column, device) = (&self.model.plan.columns[index], self.reading.device);
        if let Some(text) = column.constant(device) {
            return quoted(out, &text);
        }
        match &column.value {
            Value::Serial(None) => {
                quoted(out, &format!("{}-{:08}", self.model.dataset.name(), self.model.rows))
            }
            Value::Serial(Some(digits)) => quoted(out, &code(self.model.rows, *digits)),
            Value::Label(stem) => {
                let number = self.bits(index, 0) % LABELS + 1;
                quoted(out, &format!("{stem}-{number}"))
            }
            Value::Word(words) => {
                let bits = self.bits(index, self.reading.time_ms.cast_unsigned());
                word(words, bits).map_or(0..0, |word| match word {
                    "true" | "false" => raw(out, word),
                    word => quoted(out, word),
                })
            }
            Value::Number(number) => {
                let text = number.text(self.model.seed, index, self.reading);
                if number.has_comma {
                    quoted(out, &text.replace('.', ","))
                } else {
                    raw(out, &text)
                }
            }
            Value::Time => quoted(out, &self.time.text),
            Value::EndTime => quoted(out, &self.end_time(index)),
            Value::Place { is_text } => self.place(*is_text, out),
            Value::Degrees { is_lat, has_comma } => {
                let [lat, lon] = self.spot();
                let mut text = Vec::new();
                push_decimal(&mut text, if *is_lat { lat } else { lon }, 5);
                let text = String::from_utf8_lossy(&text);
                if *has_comma { quoted(out, &text.replace('.', ",")) } else { raw(out, &text) }
            }
            Value::Name { .. } | Value::Choice { .. } | Value::Code(_) => 0..0,
        }
    }

    fn bits(&self, column: usize, what: u64) -> u64 {
        hash([self.model.seed, 50, column as u64, self.reading.device as u64, what])
    }

    /// Returns a time within an hour after the event.
    fn end_time(&self, column: usize) -> String {
        let minutes = self.bits(column, self.reading.time_ms.cast_unsigned()) % MAX_MINUTES_TO_END;
        let ms = i64::try_from(minutes).unwrap_or_default() * 60_000;
        let end = Timestamp::from_millisecond(self.reading.time_ms.saturating_add(ms)).ok();
        let end = end.and_then(|end| self.model.dataset.time_text(end, self.zone));
        end.filter(|end| end.instant >= self.time.instant)
            .map_or_else(|| self.time.text.clone(), |end| end.text)
    }

    /// Returns the coordinates of the device, near a city.
    fn spot(&self) -> [f64; 2] {
        let bits = |what: u64| hash([self.model.seed, 51, what, self.reading.device as u64]);
        let place = &PLACES[bits(0) as usize % PLACES.len()].spot;
        [place.lat + 0.15 * signed(bits(1)), place.lon + 0.15 * signed(bits(2))]
    }

    fn place(&self, is_text: bool, out: &mut Vec<u8>) -> Range<usize> {
        let [lat, lon] = self.spot();
        if !is_text {
            let start = out.len();
            out.extend_from_slice(&location(lat, lon));
            return start..out.len();
        }
        let mut text = Vec::new();
        push_decimal(&mut text, lat, 5);
        text.push(b',');
        push_decimal(&mut text, lon, 5);
        quoted(out, &String::from_utf8_lossy(&text))
    }
}

impl Column {
    /// Returns the value of a device, if all of its rows have the same text.
    fn constant(&self, device: usize) -> Option<String> {
        match &self.value {
            Value::Name { stem, choices } => {
                let number = device + 1;
                Some(choices.get(device).cloned().unwrap_or_else(|| format!("{stem}-{number:03}")))
            }
            Value::Choice { choices, stride } => {
                choices.get(device / stride % choices.len()).cloned()
            }
            Value::Code(digits) => Some(code(device as u64 + 1, *digits)),
            _ => None,
        }
    }
}

/// Returns a number from 1 up as a code of so many digits.
fn code(number: u64, digits: usize) -> String {
    let last = 10_u64.saturating_pow(u32::try_from(digits).unwrap_or(u32::MAX)) - 1;
    format!("{:0digits$}", (number - 1) % last + 1)
}

/// Returns a word of a list, mostly the first.
fn word(words: &[String], bits: u64) -> Option<&str> {
    let others = words.len().saturating_sub(1) as u64;
    let index = match unit(bits) {
        share if share < FIRST_WORD_SHARE || others == 0 => 0,
        _ => 1 + bits % others,
    };
    words.get(index as usize).map(String::as_str)
}

fn quoted(out: &mut Vec<u8>, text: &str) -> Range<usize> {
    out.push(b'"');
    let range = raw(out, text);
    out.push(b'"');
    range
}

fn raw(out: &mut Vec<u8>, text: &str) -> Range<usize> {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    start..out.len()
}
