//! Edits that an operator applies to rows before they are replayed.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use tributary_model::config_error::ConfigError;
use tributary_model::pairs::Pairs;
use tributary_rules::expression::{Expression, Scope};

/// Edits to rows, applied in this order: the text of the row before it is parsed, then fields of
/// its payload.
#[derive(Debug, Default)]
pub struct Fixes {
    row: Option<Expression>,
    /// Fields, each with the expression whose value is assigned to it.
    sets: Vec<(String, Expression)>,
}

impl Fixes {
    /// Returns `true` without any edit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.row.is_none() && self.sets.is_empty()
    }

    /// Compiles the edits: `row` is a CEL expression for the text of a row, each of `sets` is
    /// `FIELD=CEL`.
    ///
    /// Expressions may use `payload`, the row as an object, `row`, its text, and CEL's string
    /// functions (`replace`, `split`, `trim`, `substring`, …).
    ///
    /// # Errors
    ///
    /// Returns an error that names the expression and the position at which it does not parse.
    pub fn compile(row: Option<&str>, sets: &[String]) -> Result<Self, ConfigError> {
        let row = row.map(|text| Expression::compile_for_row("--row", text)).transpose()?;
        let sets = sets.iter().map(|text| compile_set(text)).collect::<Result<_, _>>()?;
        Ok(Self { row, sets })
    }

    /// Returns the edited text of `row`, or `None` if it is unchanged.
    pub(super) fn row(&self, row: &str) -> Result<Option<String>, String> {
        let Some(expression) = &self.row else { return Ok(None) };
        match expression.value(&Scope::of_row(row, None)) {
            Ok(Value::String(text)) => Ok((text != row).then_some(text)),
            Ok(other) => Err(format!("--row is {other} and should be text")),
            Err(error) => Err(format!("--row: {error}")),
        }
    }

    /// Returns the edited `payload` of the row with this text, or `None` if it is unchanged.
    ///
    /// Unchanged fields keep their exact text.
    pub(super) fn payload(&self, payload: &str, row: &str) -> Result<Option<String>, String> {
        if self.sets.is_empty() {
            return Ok(None);
        }
        let unreadable = |error: serde_json::Error| format!("the payload cannot be read: {error}");
        let texts: Pairs<String, Box<RawValue>> =
            serde_json::from_str(payload).map_err(unreadable)?;
        let mut before: Map<String, Value> = serde_json::from_str(payload).map_err(unreadable)?;
        for (name, text) in texts.iter().filter(|(_, text)| is_long_integer(text.get())) {
            before.insert(name.to_owned(), Value::String(text.get().to_owned()));
        }
        let mut after = before.clone();
        for (field, value) in &self.sets {
            let now = Value::Object(after).to_string();
            let value = value.value(&Scope::of_row(row, Some(&now)));
            let value = value.map_err(|error| format!("--set {field}: {error}"))?;
            after = serde_json::from_str(&now).map_err(unreadable)?;
            if value.is_null() {
                after.shift_remove(field);
            } else {
                after.insert(field.clone(), value);
            }
        }
        if after == before {
            return Ok(None);
        }
        let mut out = Pairs::<String, Box<RawValue>>::with_capacity(after.len());
        for (name, value) in after {
            // Of duplicate names, the parser used the last.
            let text = texts.iter().filter(|(it, _)| *it == name).last().map(|(_, text)| text);
            let kept = text.filter(|_| before.get(&name) == Some(&value)).cloned();
            let text = match kept {
                Some(text) => text,
                None => serde_json::value::to_raw_value(&value).map_err(unreadable)?,
            };
            out.push(name, text);
        }
        serde_json::to_string(&out).map(Some).map_err(unreadable)
    }
}

/// Returns `true` for an integer of more than 64 bits. Expressions get it as text, which keeps its
/// digits.
fn is_long_integer(text: &str) -> bool {
    let is_integer = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    is_integer && text.parse::<i64>().is_err() && text.parse::<u64>().is_err()
}

fn compile_set(text: &str) -> Result<(String, Expression), ConfigError> {
    let wrong = || ConfigError::new("--set", format!("{text:?} is not FIELD=CEL"));
    let (field, value) = text.split_once('=').ok_or_else(wrong)?;
    let field = field.trim();
    if field.is_empty() {
        return Err(wrong());
    }
    let value = Expression::compile_for_row(&format!("--set {field}"), value)?;
    Ok((field.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &str =
        r#"{"id":9007199254740993,"t":"1,5","n":12.50,"deep":{"a":1},"none":null}"#;

    fn set(sets: &[&str]) -> Result<Option<String>, String> {
        let sets: Vec<_> = sets.iter().map(|&set| set.to_owned()).collect();
        Fixes::compile(None, &sets).unwrap().payload(PAYLOAD, "the row")
    }

    #[test]
    fn set_keeps_other_fields_verbatim() {
        let mended = set(&["t=payload.t.replace(',', '.')"]).unwrap().unwrap();

        assert_eq!(mended, PAYLOAD.replace("1,5", "1.5"));
    }

    #[test]
    fn sets_apply_in_order_and_null_removes_field() {
        let mended =
            set(&["t=double(payload.t.replace(',', '.')) * 2.0", "twice=payload.t", "id=null"]);

        assert_eq!(
            mended.unwrap().unwrap(),
            r#"{"t":3,"n":12.50,"deep":{"a":1},"none":null,"twice":3}"#
        );
        assert_eq!(
            set(&["row=row.upperAscii()", "deep=[1, 'a', {'b': true}]"]).unwrap().unwrap(),
            r#"{"id":9007199254740993,"t":"1,5","n":12.50,"deep":[1,"a",{"b":true}],"none":null,"row":"THE ROW"}"#
        );
    }

    #[test]
    fn copied_integer_keeps_every_digit() {
        let fixes = Fixes::compile(None, &["device=payload.id".to_owned()]).unwrap();
        for id in ["18446744073709551617", "18446744073709551618", "-9223372036854775809"] {
            let edited = fixes.payload(&format!(r#"{{"id":{id}}}"#), "the row").unwrap().unwrap();
            assert_eq!(edited, format!(r#"{{"id":{id},"device":"{id}"}}"#));
        }
    }

    #[test]
    fn edit_without_effect_returns_none() {
        assert_eq!(set(&["t=payload.t", "more=null"]), Ok(None));
        assert_eq!(Fixes::default().row("a"), Ok(None));
    }

    #[test]
    fn failing_edit_names_its_field() {
        for sets in [
            &["t=payload.other"][..],
            &["t=payload.t * 2.0"],
            &["t=payload"],
            &["t=b'a'"],
            &["t=0.0/0.0"],
        ] {
            assert!(set(sets).is_err_and(|error| error.starts_with("--set t: ")), "{sets:?}");
        }
        assert!(Fixes::compile(Some("1"), &[]).unwrap().row("a").is_err());
    }

    #[test]
    fn invalid_expression_is_rejected_at_compile() {
        for sets in ["t", "=1", "t=", "t=(", "t=event.x"] {
            assert!(Fixes::compile(None, &[sets.to_owned()]).is_err(), "{sets}");
        }
        assert!(Fixes::compile(Some("payload"), &[]).is_ok());
        assert!(Fixes::compile(Some("line"), &[]).is_err());
    }
}
