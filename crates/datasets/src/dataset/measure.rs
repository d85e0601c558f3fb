//! Measures: numbers of a row in the unit of the event, and numbers derived from them.

use tributary_model::bad_row::{Code, Rejection};
use tributary_model::domain::NumberSet;
use tributary_model::event::Measures;

use super::clock::{Clock, TimeReader};
use super::source::Source;
use crate::functions::Function;
use crate::row::Row;
use crate::schema::DecimalMark;
use crate::units::Conversion;
use crate::value::{MAX_NUMBER, ValueError, number, outside, rounded};

/// A measure of the event.
#[derive(Debug)]
pub(crate) struct Measure {
    pub name: String,
    pub kind: MeasureKind,
}

#[derive(Debug)]
pub(crate) enum MeasureKind {
    Column(Number),
    /// A function of two earlier measures.
    Call(Function, [String; 2]),
    /// Time from the event time to the time in the column, in a unit of this many seconds.
    Elapsed {
        source: Source,
        unit_seconds: f64,
    },
}

/// A number in a column.
#[derive(Debug)]
pub(crate) struct Number {
    pub source: Source,
    pub decimal: DecimalMark,
    pub is_integer: bool,
    pub unit: NumberUnit,
    pub range: Option<[f64; 2]>,
    pub plausible: Option<[f64; 2]>,
    /// Distance above `range` up to which a value counts as its upper bound.
    pub clip: f64,
    pub is_required: bool,
}

/// Unit of a column.
#[derive(Debug)]
pub(crate) enum NumberUnit {
    /// That of the measure.
    Same,
    /// Unit as the schema names it, and the conversion from it.
    Fixed(String, Conversion),
    /// A column that names the unit of the row.
    Column {
        source: Source,
        units: Vec<(String, Conversion)>,
        /// Unit of a row that names none.
        otherwise: (String, Conversion),
    },
}

impl Measure {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_required(&self) -> bool {
        matches!(&self.kind, MeasureKind::Column(number) if number.is_required)
    }

    pub(super) fn number_mut(&mut self) -> Option<&mut Number> {
        match &mut self.kind {
            MeasureKind::Column(number) => Some(number),
            MeasureKind::Call(..) | MeasureKind::Elapsed { .. } => None,
        }
    }

    pub(super) fn source(&self) -> Option<&Source> {
        match &self.kind {
            MeasureKind::Column(Number { source, .. }) | MeasureKind::Elapsed { source, .. } => {
                Some(source)
            }
            MeasureKind::Call(..) => None,
        }
    }

    /// Returns the rejection of a row without this measure.
    pub(super) fn missing(&self) -> Rejection {
        let underived =
            || Rejection::row(Code::MissingField, format!("{} is not known", self.name));
        self.source().map_or_else(underived, Source::empty)
    }

    /// Returns the value, given the measures before it.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] if the value of the column is invalid.
    pub(super) fn read(
        &self,
        row: &Row<'_>,
        clock: &Clock,
        time: &TimeReader,
        measures: &Measures<'_>,
    ) -> Result<Option<f64>, Rejection> {
        match &self.kind {
            MeasureKind::Column(number) => number.read(row, &self.name),
            MeasureKind::Call(function, args) => {
                let [first, second] = args.each_ref().map(|name| measures.get(name).copied());
                let value = first.zip(second).and_then(|(a, b)| function.call([a, b]));
                match value.map(rounded) {
                    Some(value) if value.is_nan() || value.abs() > MAX_NUMBER => {
                        let message = format!("{} is too large a number", function.name());
                        Err(ValueError::new(Code::OutOfRange, message).reject(&self.name))
                    }
                    value => Ok(value),
                }
            }
            MeasureKind::Elapsed { source, unit_seconds } => {
                let Some((column, end)) = time.other(source, row)? else { return Ok(None) };
                let end = clock.end_of(end, time.source.column());
                let end = end.map_err(|error| error.reject(column))?;
                let seconds = end.duration_since(clock.instant).as_secs_f64();
                Ok(Some(rounded(seconds / unit_seconds)))
            }
        }
    }
}

impl Number {
    fn read(&self, row: &Row<'_>, measure: &str) -> Result<Option<f64>, Rejection> {
        let found = self.source.read_first(row, |value, text| {
            let value = number(text, self.decimal.of(value))?;
            if self.is_integer && value.fract() != 0.0 {
                let message = format!("{value} is not a whole number");
                return Err(ValueError::new(Code::InvalidNumber, message));
            }
            if self.source.missing_values().holds_number(value) {
                return Ok(None);
            }
            if matches!(self.unit, NumberUnit::Same) {
                let out = |what: String| ValueError::of(Code::OutOfRange, text, &what);
                return self.within_range(value).map(Some).map_err(out);
            }
            Ok(Some(value))
        })?;
        let Some((_, value)) = found else { return Ok(None) };
        let out = |what: String| ValueError::new(Code::OutOfRange, what).reject(measure);
        let value = match self.conversion(row)? {
            None => value,
            Some(conversion) => {
                let value = conversion.apply(value);
                self.within_range(value).map_err(|what| out(format!("{value} {what}")))?
            }
        };
        if value.abs() > MAX_NUMBER {
            return Err(out("is too large a number in its unit".to_owned()));
        }
        match self.plausible.filter(|[low, high]| !(*low..=*high).contains(&value)) {
            Some([low, high]) => Err(out(format!("{value} is outside {low} to {high}"))),
            None => Ok(Some(value)),
        }
    }

    /// Returns the value, or the upper bound where it is at most `clip` above that.
    fn within_range(&self, value: f64) -> Result<f64, String> {
        let Some(range @ [_, high]) = self.range else { return Ok(value) };
        if value > high && value - high <= self.clip {
            return Ok(high);
        }
        outside(value, range).map_or(Ok(value), Err)
    }

    fn conversion(&self, row: &Row<'_>) -> Result<Option<Conversion>, Rejection> {
        match &self.unit {
            NumberUnit::Same => Ok(None),
            NumberUnit::Fixed(_, conversion) => Ok(Some(*conversion)),
            NumberUnit::Column { source, units, otherwise } => {
                let named = source.read(row, |text| {
                    let unit = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
                    unit.map(|(_, conversion)| *conversion).ok_or_else(|| {
                        let names: Vec<_> = units.iter().map(|(name, _)| name.as_str()).collect();
                        let what = format!("is none of {}", names.join(", "));
                        ValueError::of(Code::UnknownValue, text, &what)
                    })
                })?;
                Ok(Some(named.map_or(otherwise.1, |(_, conversion)| conversion)))
            }
        }
    }

    /// Narrows the plausible range.
    pub(super) fn narrow(&mut self, [low, high]: [f64; 2]) {
        let [min, max] = self.plausible.unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
        self.plausible = Some([low.max(min), high.min(max)]);
    }

    /// Returns the possible values.
    pub(super) fn values(&self) -> NumberSet {
        let all = [f64::NEG_INFINITY, f64::INFINITY];
        let [low, high] = self.range.unwrap_or(all);
        let [min, max] = self.plausible.unwrap_or(all);
        let (low, high) = (low.max(min), high.min(max));
        let is_whole = self.is_integer && matches!(self.unit, NumberUnit::Same);
        if is_whole { NumberSet::whole(low, high) } else { NumberSet::between(low, high) }
    }
}
