//! Measures of columns of numbers.

use super::super::is_nearly_all;
use super::super::naming::{self, Unit};
use super::super::plan::{Line, quoted, range, table};
use super::super::profile::Numbers;
use super::{MeasureField, Schema};
use crate::schema::DecimalMark;
use crate::units::{self, Conversion};

/// Meaning of the numbers of a column, as far as its name states it.
struct Meaning {
    unit: Option<Unit>,
    /// Highest number of degrees of a coordinate.
    max_degrees: Option<f64>,
    why: String,
}

impl Meaning {
    fn of(path: &str, numbers: &Numbers) -> Self {
        let tokens = naming::tokens(path);
        let has = |words: &[&str]| tokens.iter().any(|token| words.contains(&token.as_str()));
        let is_lat = has(&["lat", "latitude"]);
        let is_lon = has(&["lon", "lng", "longitude"]);
        let unit = naming::unit(path);
        let max_degrees = is_lat.then_some(90.0).or_else(|| is_lon.then_some(180.0));
        let max_degrees = max_degrees.filter(|_| unit.is_none());
        let why = match (&unit, max_degrees) {
            (Some(unit), _) => format!("unit from the name: {}", unit.from.unwrap_or(unit.target)),
            (None, Some(_)) => "degrees, from the name".to_owned(),
            (None, None) if numbers.is_integer => "whole numbers, no unit in the name".to_owned(),
            (None, None) => "numbers, no unit in the name".to_owned(),
        };
        Self { unit, max_degrees, why }
    }

    fn name(&self, path: &str) -> String {
        match (&self.unit, self.max_degrees) {
            (Some(unit), _) => unit.measure.clone(),
            (None, Some(_)) => format!("{}_deg", naming::snake(path)),
            (None, None) => naming::snake(path),
        }
    }

    fn conversion(&self) -> Option<Conversion> {
        let unit = self.unit.as_ref()?;
        units::conversion(unit.from?, unit.target)
    }

    /// Returns the lowest and the highest physical value.
    fn limits(&self) -> Option<[f64; 2]> {
        let degrees = self.max_degrees.map(|max| [-max, max]);
        self.unit.as_ref().map_or(degrees, |unit| naming::range(unit.target))
    }
}

impl Schema {
    /// Adds the measure of a column of numbers.
    pub(super) fn add_number(&mut self, at: usize, path: &str, numbers: &Numbers) {
        let meaning = Meaning::of(path, numbers);
        let name = self.names.give(&meaning.name(path));
        let conversion = meaning.conversion();
        let convert = |value: &Option<f64>| match conversion {
            None => *value,
            Some(conversion) => value.map(|value| conversion.apply(value)),
        };
        let mut values: Vec<_> = numbers.values.iter().map(convert).collect();
        let limits = meaning.limits().filter(|limits| self.fits(path, &name, &values, *limits));
        if let Some([low, high]) = limits {
            let is_inside = |value: &f64| (low..=high).contains(value);
            for value in &mut values {
                *value = value.filter(is_inside);
            }
        }
        let mut entries = vec![("from", quoted(path))];
        if numbers.is_integer && conversion.is_none() {
            entries.push(("type", quoted("integer")));
        }
        entries.extend(meaning.unit.as_ref().and_then(|unit| Some(("unit", quoted(unit.from?)))));
        entries.extend(limits.map(|limits| ("range", range(limits))));
        match numbers.decimal {
            DecimalMark::Point if self.has_decimal_comma() => {
                entries.push(("decimal", quoted(".")));
            }
            DecimalMark::Comma if !self.has_decimal_comma() => {
                entries.push(("decimal", quoted(",")));
            }
            DecimalMark::Point | DecimalMark::Comma => {}
        }
        entries.extend(self.own_missing(&numbers.missing));
        if let Some((example, count)) = &numbers.wrong {
            self.check(format!(
                "{path}: {count} values are no number, such as {example:?}: each costs the field"
            ));
        }
        self.plan.measures.push(Line::new(&name, table(&entries), meaning.why.clone()));
        self.assume(path, &format!("measures.{name}"), meaning.why.clone());
        let is_coordinate = meaning.max_degrees.is_some();
        let field = MeasureField { name, column: at, values, is_elapsed: false, is_coordinate };
        self.measures.push(field);
    }

    /// Returns `true` if nearly all values are within physical limits.
    fn fits(
        &mut self,
        path: &str,
        name: &str,
        values: &[Option<f64>],
        [low, high]: [f64; 2],
    ) -> bool {
        let known = values.iter().flatten().count();
        let is_inside = |value: &&f64| (low..=high).contains(*value);
        let inside = values.iter().flatten().filter(is_inside).count();
        let (outside, fits) = (known - inside, is_nearly_all(inside, known));
        match (outside, fits) {
            (0, _) => {}
            (_, true) => self.check(format!(
                "{path}: {outside} values are beyond what {name} can have: each costs the field"
            )),
            (_, false) => self
                .check(format!("{path}: values are beyond what {name} can have: no range is set")),
        }
        fits
    }

    fn has_decimal_comma(&self) -> bool {
        self.plan.file.iter().any(|line| line.key == "decimal")
    }
}
