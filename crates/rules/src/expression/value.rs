//! Conversion of CEL values to JSON.

use cel::Value;
use cel::objects::Key;
use serde_json::{Map, Number};

/// Largest double below which all integers are exact: 2^53.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_992.0;

/// Converts `value` to JSON.
///
/// A whole double is written without a decimal point: CEL turns every number of a payload into a
/// double, and `17` should stay `17`.
///
/// # Errors
///
/// Returns an error if JSON cannot represent the value: bytes, or a number that is not finite.
pub(super) fn json(value: &Value) -> Result<serde_json::Value, String> {
    Ok(match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(held) => (*held).into(),
        Value::String(text) => text.as_str().into(),
        Value::Int(number) => (*number).into(),
        Value::UInt(number) => (*number).into(),
        Value::Float(number) => float(*number)?.into(),
        Value::List(values) => values.iter().map(json).collect::<Result<Vec<_>, _>>()?.into(),
        Value::Map(map) => {
            let mut entries: Vec<_> = map.map.iter().collect();
            // CEL maps are unordered; the same expression should write the same bytes.
            entries.sort_by(|one, other| one.0.cmp(other.0));
            let entry = |(key, value): (&Key, &Value)| Ok((key.to_string(), json(value)?));
            entries.into_iter().map(entry).collect::<Result<Map<_, _>, String>>()?.into()
        }
        other => return Err(format!("is a {}, which JSON has not", other.type_of())),
    })
}

#[expect(clippy::cast_possible_truncation, reason = "it is whole, and small enough")]
fn float(number: f64) -> Result<Number, String> {
    if number.fract() == 0.0 && number.abs() < MAX_SAFE_INTEGER {
        return Ok((number as i64).into());
    }
    Number::from_f64(number).ok_or_else(|| format!("is {number}, which JSON has not"))
}
