//! Compiles measures, attributes and tags.

use std::ops::Range;

use jiff::civil::Weekday;
use toml::Spanned;

use tributary_model::domain::{NumberSet, TextSet};

use super::super::attribute::{Attribute, AttributeKind, Bands, Level};
use super::super::measure::{Measure, MeasureKind, Number, NumberUnit};
use super::super::tag::{Tag, TagKind};
use super::{Compiled, Compiler, fault, unknown, words};
use crate::functions::Function;
use crate::schema::{
    AttributeForm, AttributeSpec, LevelSpec, MeasureForm, MeasureSpec, NumberForm, Short, TagSpec,
    UnitSpec,
};
use crate::units::{self, Conversion};

impl Compiler {
    pub(super) fn measure(
        &mut self,
        name: &Spanned<String>,
        spec: &MeasureSpec,
    ) -> Compiled<Measure> {
        let span = name.span();
        let is_derived = spec.call.is_some() || spec.form.is_some();
        without(
            &span,
            "a derived measure",
            &[
                ("type", is_derived && spec.number_type == NumberForm::Integer),
                ("unit", is_derived && spec.unit.is_some()),
                ("range", is_derived && spec.range.is_some()),
                ("plausible", is_derived && spec.plausible.is_some()),
                ("clip", is_derived && spec.clip.is_some()),
                ("decimal", is_derived && spec.decimal.is_some()),
                ("required", is_derived && spec.required),
                ("missing", spec.call.is_some() && !spec.missing.is_empty()),
            ],
        )?;
        if spec.call.is_none() {
            without(&span, "a measure without `call`", &[("args", !spec.args.0.is_empty())])?;
        }
        let (kind, values) = match (&spec.call, &spec.form) {
            (Some(call), None) if spec.from.0.is_empty() => self.call(call, spec)?,
            (None, Some(form)) => {
                let MeasureForm::Elapsed = form.get_ref();
                let unit_seconds = match units::of_measure(name.get_ref()) {
                    Some("s") => 1.0,
                    Some("min") => 60.0,
                    Some("h") => 3_600.0,
                    _ => {
                        return fault(
                            span,
                            "an elapsed time has a name that ends with _s, _min or _h",
                        );
                    }
                };
                let source = self.source(&spec.from, &spec.missing, span, false)?;
                (MeasureKind::Elapsed { source, unit_seconds }, NumberSet::at_least(0.0))
            }
            (None, None) => {
                let number = self.number(name, spec)?;
                let values = number.values();
                (MeasureKind::Column(number), values)
            }
            _ => return fault(span, "a measure has `from`, or `call` and `args`"),
        };
        self.fields.measures.insert(name.get_ref().clone(), values);
        Ok(Measure { name: name.get_ref().clone(), kind })
    }

    fn call(
        &self,
        call: &Spanned<String>,
        spec: &MeasureSpec,
    ) -> Compiled<(MeasureKind, NumberSet)> {
        let name = call.get_ref();
        let Some(function) = Function::by_name(name) else {
            let message =
                format!("there is no function {name:?}: expected one of {}", Function::names());
            return fault(call.span(), message);
        };
        let [first, second] = spec.args.0.as_slice() else {
            return fault(call.span(), format!("{name} takes two measures in `args`"));
        };
        let argument = |arg: &Spanned<String>| {
            self.fields.measures.get(arg.get_ref()).ok_or_else(|| {
                let names: Vec<_> = self.fields.measures.keys().map(String::as_str).collect();
                super::Fault {
                    span: arg.span(),
                    message: unknown("measure before this one", arg.get_ref(), &names),
                }
            })
        };
        let values = function.results([argument(first)?, argument(second)?]);
        let args = [first, second].map(|arg| arg.get_ref().clone());
        Ok((MeasureKind::Call(function, args), values))
    }

    fn number(&mut self, name: &Spanned<String>, spec: &MeasureSpec) -> Compiled<Number> {
        let span = name.span();
        for range in [&spec.range, &spec.plausible].into_iter().flatten() {
            let [low, high] = *range.get_ref();
            if low.is_nan() || high.is_nan() || low >= high {
                return fault(range.span(), format!("{low} to {high} is no range of numbers"));
            }
        }
        if spec.clip.is_some_and(|clip| spec.range.is_none() || !clip.is_finite() || clip < 0.0) {
            return fault(span, "`clip` is a distance above `range`, from 0 up");
        }
        let unit = match &spec.unit {
            None => NumberUnit::Same,
            Some(unit) => self.unit(name, unit)?,
        };
        let number = Number {
            source: self.source(&spec.from, &spec.missing, span.clone(), false)?,
            decimal: spec.decimal.unwrap_or(self.decimal),
            is_integer: spec.number_type == NumberForm::Integer,
            unit,
            range: spec.range.as_ref().map(|range| *range.get_ref()),
            plausible: spec.plausible.as_ref().map(|range| *range.get_ref()),
            clip: spec.clip.unwrap_or_default(),
            is_required: spec.required,
        };
        if number.values().is_empty() {
            return fault(span, "`range` and `plausible` have no number in common");
        }
        Ok(number)
    }

    fn unit(
        &mut self,
        measure: &Spanned<String>,
        spec: &Spanned<Short<UnitSpec>>,
    ) -> Compiled<NumberUnit> {
        let (span, spec) = (spec.span(), &spec.get_ref().0);
        let Some(target) = units::of_measure(measure.get_ref()) else {
            let message = format!(
                "{:?} does not end with a unit, such as _c or _km, so nothing can be converted to it",
                measure.get_ref()
            );
            return fault(measure.span(), message);
        };
        if let Some(name) = &spec.name {
            let conversion = conversion(name, target, span)?;
            return Ok(NumberUnit::Fixed(name.clone(), conversion));
        }
        let mut units = Vec::new();
        for name in &spec.one_of {
            let conversion = conversion(name.get_ref(), target, name.span())?;
            units.push((name.get_ref().clone(), conversion));
        }
        let Some(otherwise) = &spec.otherwise else {
            return fault(span, "`otherwise` is the unit of a row that names none");
        };
        let conversion = conversion(otherwise.get_ref(), target, otherwise.span())?;
        let otherwise = (otherwise.get_ref().clone(), conversion);
        let source = self.source(&spec.from, &[], span, true)?;
        Ok(NumberUnit::Column { source, units, otherwise })
    }

    pub(super) fn attribute(
        &mut self,
        name: &Spanned<String>,
        spec: &AttributeSpec,
    ) -> Compiled<Attribute> {
        let (span, kinds) = (
            name.span(),
            [
                !spec.from.0.is_empty(),
                spec.of.is_some(),
                spec.band_of.is_some(),
                spec.form.as_ref().is_some_and(|form| *form.get_ref() == AttributeForm::PlaceName),
            ],
        );
        if kinds.into_iter().filter(|is_set| *is_set).count() != 1 {
            return fault(
                span,
                "an attribute has one of `from`, `of`, `band_of` and `as = \"place_name\"`",
            );
        }
        if self.fields.measures.contains_key(name.get_ref()) {
            return fault(span, format!("{:?} is a measure already", name.get_ref()));
        }
        let (has_column, has_bands) = (kinds[0], kinds[2]);
        let readings = [!spec.words.is_empty(), spec.digits.is_some(), spec.form.is_some()];
        if has_column && readings.into_iter().filter(|is_set| *is_set).count() > 1 {
            return fault(span, "an attribute has one of `words`, `digits` and `as`");
        }
        let keys = [
            ("words", !has_column && !spec.words.is_empty()),
            ("digits", !has_column && spec.digits.is_some()),
            ("missing", !has_column && !spec.missing.is_empty()),
            ("below", !has_bands && spec.below.is_some()),
            ("bands", !has_bands && !spec.bands.is_empty()),
        ];
        without(&span, "this kind of attribute", &keys)?;
        if spec.otherwise.is_some() && spec.words.is_empty() {
            return fault(span, "`otherwise` stands for the words that `words` does not have");
        }
        let (kind, values) = self.attribute_kind(name, spec)?;
        if let Some(other) = &spec.unless {
            self.attribute_set(other)?;
        }
        self.fields.attributes.insert(name.get_ref().clone(), values);
        Ok(Attribute {
            name: name.get_ref().clone(),
            kind,
            otherwise: spec.otherwise.clone(),
            unless: spec.unless.as_ref().map(|other| other.get_ref().clone()),
            is_required: spec.required,
            is_strict: spec.required,
        })
    }

    fn attribute_kind(
        &mut self,
        name: &Spanned<String>,
        spec: &AttributeSpec,
    ) -> Compiled<(AttributeKind, TextSet)> {
        let span = name.span();
        if let Some(column) = &spec.of {
            let at = self.lookup_column(column.get_ref(), column.span())?;
            let values = TextSet::one_of(self.lookups.0[at.lookup].table.texts(at.column));
            return Ok((AttributeKind::Lookup(at), values));
        }
        if let Some(measure) = &spec.band_of {
            return self.bands(measure, spec, span);
        }
        let form = spec.form.as_ref().map(|form| *form.get_ref());
        if form == Some(AttributeForm::PlaceName) {
            if !self.has_place_name {
                return fault(
                    span,
                    "a place name comes from the column of [location], and there is none",
                );
            }
            return Ok((AttributeKind::PlaceName, TextSet::any()));
        }
        let is_text = form.is_none() && spec.words.is_empty() && spec.digits.is_none();
        let mut source = self.source(&spec.from, &spec.missing, span.clone(), is_text)?;
        if !spec.words.is_empty() {
            let words = words(&spec.words)?;
            source.keep(&words);
            let values = words.0.iter().map(|(_, value)| value).chain(&spec.otherwise);
            let values = TextSet::one_of(values.cloned());
            return Ok((AttributeKind::Words(source, words), values));
        }
        let kind = match (form, spec.digits) {
            (Some(AttributeForm::Time), None) => AttributeKind::Time(source),
            (Some(AttributeForm::Date), None) => AttributeKind::Date(source),
            (None, Some(1..=32)) => AttributeKind::Digits(source, spec.digits.unwrap_or_default()),
            (None, None) => AttributeKind::Text(source),
            _ => return fault(span, "`digits` is 1 to 32"),
        };
        Ok((kind, TextSet::any()))
    }

    fn bands(
        &self,
        measure: &Spanned<String>,
        spec: &AttributeSpec,
        span: Range<usize>,
    ) -> Compiled<(AttributeKind, TextSet)> {
        if !self.fields.measures.contains_key(measure.get_ref()) {
            let names: Vec<_> = self.fields.measures.keys().map(String::as_str).collect();
            return fault(measure.span(), unknown("measure", measure.get_ref(), &names));
        }
        let Some(below) = &spec.below else {
            return fault(span, "`below` is the value below the first band");
        };
        let mut bands = Vec::new();
        for band in &spec.bands {
            let level = match band.from.get_ref() {
                LevelSpec::Number(level) => Level::Number(*level),
                LevelSpec::Column(column) => {
                    let at = self.lookup_column(column, band.from.span())?;
                    let levels = self.lookups.0[at.lookup].table.numbers(at.column);
                    Level::Lookup(at.lookup, levels.or_else(|it| fault(band.from.span(), it))?)
                }
            };
            bands.push((band.value.clone(), level));
        }
        self.check_rising(&bands, span)?;
        let values = bands.iter().map(|(value, _)| value).chain([below]);
        let values = TextSet::one_of(values.cloned());
        let bands =
            Bands { measure: measure.get_ref().clone(), below: below.clone(), levels: bands };
        Ok((AttributeKind::Band(bands), values))
    }

    /// Checks that the levels rise, in each row of a lookup.
    fn check_rising(&self, bands: &[(String, Level)], span: Range<usize>) -> Compiled<()> {
        for ((lower, low), (higher, high)) in bands.iter().zip(bands.iter().skip(1)) {
            let message = || format!("the level of {higher:?} is not above that of {lower:?}");
            match (low, high) {
                (Level::Number(low), Level::Number(high)) if low < high => {}
                (Level::Lookup(lookup, lows), Level::Lookup(other, highs)) if lookup == other => {
                    let is_wrong = |(low, high): (&Option<f64>, &Option<f64>)| {
                        low.zip(*high).is_none_or(|(low, high)| low >= high)
                    };
                    if let Some(row) = lows.iter().zip(highs).position(is_wrong) {
                        let file = self.lookups.0[*lookup].table.file();
                        let row = row + 1;
                        return fault(span, format!("lookups/{file}: row {row}: {}", message()));
                    }
                }
                (Level::Number(_), Level::Number(_)) => return fault(span, message()),
                _ => {
                    return fault(
                        span,
                        "bands take all levels from one lookup, or all from numbers",
                    );
                }
            }
        }
        Ok(())
    }

    fn attribute_set(&self, name: &Spanned<String>) -> Compiled<&TextSet> {
        self.fields.attributes.get(name.get_ref()).ok_or_else(|| {
            let names: Vec<_> = self.fields.attributes.keys().map(String::as_str).collect();
            let message = unknown("attribute before this one", name.get_ref(), &names);
            super::Fault { span: name.span(), message }
        })
    }

    pub(super) fn tag(&mut self, name: &Spanned<String>, spec: &TagSpec) -> Compiled<Tag> {
        let span = name.span();
        let kinds = [
            !spec.flag.0.is_empty(),
            !spec.days.is_empty(),
            !spec.from.0.is_empty(),
            spec.of.is_some(),
        ];
        if kinds.into_iter().filter(|is_set| *is_set).count() != 1 {
            return fault(span, "a tag has one of `flag`, `days`, `from` and `of`");
        }
        let [_, has_days, has_column, has_attribute] = kinds;
        let keys = [
            ("hours", !has_days && !spec.hours.is_empty()),
            ("words", !has_column && !spec.words.is_empty()),
            ("contains", !has_column && !spec.contains.is_empty()),
            ("otherwise", spec.contains.is_empty() && spec.otherwise.is_some()),
            ("prefix", !has_attribute && !spec.prefix.is_empty()),
        ];
        without(&span, "this kind of tag", &keys)?;
        let kind = if let Some(attribute) = &spec.of {
            self.tag_of(attribute, &spec.prefix)?
        } else if !spec.days.is_empty() {
            schedule(spec)?
        } else if !spec.flag.0.is_empty() {
            TagKind::Flag(self.source(&spec.flag, &[], span, false)?)
        } else {
            let is_text = !spec.contains.is_empty();
            let mut source = self.source(&spec.from, &[], span.clone(), is_text)?;
            match (spec.words.is_empty(), spec.contains.is_empty()) {
                (false, true) => {
                    let words = words(&spec.words)?;
                    source.keep(&words);
                    TagKind::Words(source, words)
                }
                (true, false) => {
                    let classes = spec.contains.iter();
                    let classes = classes.map(|class| (class.tag.clone(), class.words.clone()));
                    TagKind::Classes {
                        source,
                        classes: classes.collect(),
                        otherwise: spec.otherwise.clone(),
                    }
                }
                _ => return fault(span, "a tag with `from` has either `words` or `contains`"),
            }
        };
        Ok(Tag { name: name.get_ref().clone(), kind })
    }

    fn tag_of(&self, attribute: &Spanned<String>, prefix: &str) -> Compiled<TagKind> {
        let TextSet::OneOf(values) = self.attribute_set(attribute)? else {
            let message = format!("{:?} has no closed list of values", attribute.get_ref());
            return fault(attribute.span(), message);
        };
        let tags = values.iter().map(|value| (value.clone(), format!("{prefix}{value}")));
        Ok(TagKind::Attribute { attribute: attribute.get_ref().clone(), tags: tags.collect() })
    }
}

fn schedule(spec: &TagSpec) -> Compiled<TagKind> {
    const DAYS: [(&str, Weekday); 7] = [
        ("mon", Weekday::Monday),
        ("tue", Weekday::Tuesday),
        ("wed", Weekday::Wednesday),
        ("thu", Weekday::Thursday),
        ("fri", Weekday::Friday),
        ("sat", Weekday::Saturday),
        ("sun", Weekday::Sunday),
    ];
    let mut days = Vec::new();
    for day in &spec.days {
        let Some((_, weekday)) = DAYS.iter().find(|(name, _)| name == day.get_ref()) else {
            let names = DAYS.map(|(name, _)| name);
            return fault(day.span(), unknown("day", day.get_ref(), &names));
        };
        days.push(*weekday);
    }
    for hours in &spec.hours {
        let [from, to] = *hours.get_ref();
        if from < 0 || to > 23 || from > to {
            return fault(hours.span(), format!("{from} to {to} are no hours of 0 to 23"));
        }
    }
    Ok(TagKind::Schedule { days, hours: spec.hours.iter().map(|hours| *hours.get_ref()).collect() })
}

/// Checks that no key of another kind of field is there.
fn without(span: &Range<usize>, kind: &str, keys: &[(&str, bool)]) -> Compiled<()> {
    match keys.iter().find(|(_, is_there)| *is_there) {
        Some((key, _)) => fault(span.clone(), format!("`{key}` has no effect on {kind}")),
        None => Ok(()),
    }
}

fn conversion(name: &str, target: &'static str, span: Range<usize>) -> Compiled<Conversion> {
    units::conversion(name, target).ok_or_else(|| super::Fault {
        span,
        message: format!(
            "{name:?} does not convert to {target:?}: expected one of {}",
            units::names(target)
        ),
    })
}
