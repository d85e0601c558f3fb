//! One value of a row, and the typed readings of it.
//!
//! An empty or blank value is absent: `Ok(None)`, never 0. A value that is there and wrong is a
//! [`Rejection`] that names its field; it is never guessed at and never dropped.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use tributary_model::bad_row::{Code, Rejection, shown};

/// A value of a payload: a CSV field, or a JSON string, number, boolean or null.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum FieldValue<'a> {
    /// Not there, or null.
    #[default]
    Absent,
    /// A scalar as text; numbers and booleans of a JSON payload as JSON writes them.
    Text(Cow<'a, str>),
    /// An object or an array, which no scalar field accepts.
    Nested,
    /// JSON text of an object or array, if the field was read by [`verbatim`].
    Json(&'a str),
}

impl<'a> FieldValue<'a> {
    /// The trimmed text, `None` where it is absent or blank.
    ///
    /// # Errors
    ///
    /// [`Code::UnknownValue`] for an object or an array.
    pub(super) fn text(&self, field: &'static str) -> Result<Option<&str>, Rejection> {
        match self {
            Self::Absent => Ok(None),
            Self::Text(text) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            Self::Nested | Self::Json(_) => Err(Rejection::field(
                Code::UnknownValue,
                field,
                "is an object or an array and should be a single value",
            )),
        }
    }

    /// Like [`FieldValue::text`], and keeps the text for as long as the payload lives.
    ///
    /// # Errors
    ///
    /// [`Code::UnknownValue`] for an object or an array.
    pub(super) fn into_text(self, field: &'static str) -> Result<Option<Cow<'a, str>>, Rejection> {
        Ok(match self {
            Self::Text(Cow::Borrowed(text)) => {
                Some(Cow::Borrowed(text.trim())).filter(|text| !text.is_empty())
            }
            other => other.text(field)?.map(|text| Cow::Owned(text.to_owned())),
        })
    }

    /// Like [`FieldValue::into_text`], where the field must be there.
    ///
    /// # Errors
    ///
    /// [`Code::MissingField`] where it is absent or blank.
    pub(super) fn required(self, field: &'static str) -> Result<Cow<'a, str>, Rejection> {
        self.into_text(field)?.ok_or_else(|| missing(field))
    }

    /// A finite number inside `range`.
    ///
    /// # Errors
    ///
    /// [`Code::InvalidNumber`] for what is not a finite decimal number, [`Code::OutOfRange`] for
    /// one outside `range`.
    pub(super) fn number(
        &self,
        field: &'static str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, Rejection> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        // Rust reads "inf" and "nan" as numbers, and 1e999 as infinity: none of them is finite.
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        let number = number
            .ok_or_else(|| wrong(Code::InvalidNumber, field, text, "is not a finite number"))?;
        if range.contains(&number) {
            return Ok(Some(number));
        }
        let (low, high) = range.into_inner();
        let what = match (low.is_finite(), high.is_finite()) {
            (true, true) => format!("is outside {low} to {high}"),
            (true, false) => format!("is below {low}"),
            _ => format!("is above {high}"),
        };
        Err(wrong(Code::OutOfRange, field, text, &what))
    }

    /// Like [`FieldValue::number`], where the field must be there.
    ///
    /// # Errors
    ///
    /// As [`FieldValue::number`], and [`Code::MissingField`] where it is absent or blank.
    pub(super) fn required_number(
        &self,
        field: &'static str,
        range: RangeInclusive<f64>,
    ) -> Result<f64, Rejection> {
        self.number(field, range)?.ok_or_else(|| missing(field))
    }

    /// A whole number inside `range`; `2.0` is whole.
    ///
    /// # Errors
    ///
    /// As [`FieldValue::number`], and [`Code::InvalidNumber`] for one that is not whole.
    pub(super) fn whole(
        &self,
        field: &'static str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, Rejection> {
        let Some(number) = self.number(field, f64::MIN..=f64::MAX)? else { return Ok(None) };
        if number.fract() != 0.0 {
            let message = format!("{number} is not a whole number");
            return Err(Rejection::field(Code::InvalidNumber, field, message));
        }
        self.number(field, range)
    }

    /// Like [`FieldValue::whole`], where the field must be there.
    ///
    /// # Errors
    ///
    /// As [`FieldValue::whole`], and [`Code::MissingField`] where it is absent or blank.
    pub(super) fn required_whole(
        &self,
        field: &'static str,
        range: RangeInclusive<f64>,
    ) -> Result<f64, Rejection> {
        self.whole(field, range)?.ok_or_else(|| missing(field))
    }

    /// One of a few words, in any case: the value beside it.
    ///
    /// # Errors
    ///
    /// [`Code::UnknownValue`] for any other word.
    pub(super) fn one_of<T: Copy>(
        &self,
        field: &'static str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Rejection> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        found.map(|&(_, value)| Some(value)).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            wrong(Code::UnknownValue, field, text, &format!("is none of {}", words.join(", ")))
        })
    }

    /// `true` or `false`, in any case.
    ///
    /// # Errors
    ///
    /// [`Code::UnknownValue`] for any other word.
    pub(super) fn flag(&self, field: &'static str) -> Result<Option<bool>, Rejection> {
        self.one_of(field, &[("true", true), ("false", false)])
    }
}

/// The rejection of a row that lacks a required field.
#[must_use]
pub(super) fn missing(field: &'static str) -> Rejection {
    Rejection::field(Code::MissingField, field, "is required and empty")
}

/// The rejection of a row for the `text` of a field.
pub(super) fn wrong(code: Code, field: &'static str, text: &str, what: &str) -> Rejection {
    Rejection::field(code, field, format!("{} {what}", shown(text)))
}

impl<'de: 'a, 'a> Deserialize<'de> for FieldValue<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldValueVisitor)
    }
}

struct FieldValueVisitor;

impl<'de> Visitor<'de> for FieldValueVisitor {
    type Value = FieldValue<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(FieldValue::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(FieldValue::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(FieldValue::Text(Cow::Borrowed(if flag { "true" } else { "false" })))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(FieldValue::Text(Cow::Owned(number.to_string())))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(FieldValue::Text(Cow::Owned(number.to_string())))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(FieldValue::Text(Cow::Owned(number.to_string())))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(FieldValue::Absent)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(FieldValue::Nested)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(FieldValue::Nested)
    }
}

/// Reads a field value of `serde_json` verbatim, for `deserialize_with`.
///
/// For fields that are mostly numbers, which then cost no allocation and keep every digit, and for
/// fields that may be an object. If nearly all values are strings, plain deserialization is faster.
///
/// # Errors
///
/// Errors of `deserializer`.
pub(super) fn verbatim<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<FieldValue<'a>, D::Error> {
    let raw = <&'de RawValue>::deserialize(deserializer)?.get();
    Ok(match raw.as_bytes().first() {
        Some(b'"') => FieldValue::Text(match raw.get(1..raw.len() - 1) {
            Some(inside) if !inside.contains('\\') => Cow::Borrowed(inside),
            _ => Cow::Owned(serde_json::from_str(raw).map_err(de::Error::custom)?),
        }),
        Some(b'{' | b'[') => FieldValue::Json(raw),
        Some(b'n') | None => FieldValue::Absent,
        Some(_) => FieldValue::Text(Cow::Borrowed(raw)),
    })
}
