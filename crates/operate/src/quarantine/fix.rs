//! What an operator changes in rows before they are replayed.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use tributary_model::config_error::ConfigError;
use tributary_model::pairs::Pairs;
use tributary_rules::expression::{Expression, Scope};

/// Changes to rows, in this order: to the text of the row before it is read, to fields of its payload
/// one after the other.
#[derive(Debug, Default)]
pub struct Fixes {
    row: Option<Expression>,
    sets: Vec<Set>,
}

/// A field that an expression says.
#[derive(Debug)]
struct Set {
    field: String,
    value: Expression,
}

impl Fixes {
    /// Compiles them: `row` is CEL for the text of a row, each of `sets` is `FIELD=CEL`. Expressions are
    /// over `payload`, the row as an object, and `row`, its text, and have CEL's functions on text
    /// (`replace`, `split`, `trim`, `substring`, …).
    ///
    /// # Errors
    ///
    /// Names what does not parse, and where.
    pub fn compile(row: Option<&str>, sets: &[String]) -> Result<Self, ConfigError> {
        let row = row.map(|text| Expression::compile_for_row("--row", text)).transpose()?;
        let sets = sets.iter().map(|text| Set::compile(text)).collect::<Result<_, _>>()?;
        Ok(Self { row, sets })
    }

    /// The text that takes the place of `row`; `None` where none does.
    pub(super) fn row(&self, row: &str) -> Result<Option<String>, String> {
        let Some(expression) = &self.row else { return Ok(None) };
        match expression.value(&Scope::of_row(row, None)) {
            Ok(Value::String(text)) => Ok((text != row).then_some(text)),
            Ok(other) => Err(format!("--row is {other} and should be text")),
            Err(error) => Err(format!("--row: {error}")),
        }
    }

    /// The payload that takes the place of `payload`, of the row with this text; `None` where nothing
    /// changes. A field that nothing changes keeps its exact text.
    pub(super) fn payload(&self, payload: &str, row: &str) -> Result<Option<String>, String> {
        if self.sets.is_empty() {
            return Ok(None);
        }
        let unreadable = |error: serde_json::Error| format!("the payload cannot be read: {error}");
        let before: Map<String, Value> = serde_json::from_str(payload).map_err(unreadable)?;
        let mut after = before.clone();
        for Set { field, value } in &self.sets {
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
        let texts: Pairs<String, Box<RawValue>> =
            serde_json::from_str(payload).map_err(unreadable)?;
        let mut out = Pairs::<String, Box<RawValue>>::with_capacity(after.len());
        for (name, value) in after {
            // Of several with one name the last is the one that was read.
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

impl Set {
    fn compile(text: &str) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::new("--set", format!("{text:?} is not FIELD=CEL"));
        let (field, value) = text.split_once('=').ok_or_else(wrong)?;
        let field = field.trim();
        if field.is_empty() {
            return Err(wrong());
        }
        let value = Expression::compile_for_row(&format!("--set {field}"), value)?;
        Ok(Self { field: field.to_owned(), value })
    }
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
    fn a_field_is_set_and_the_others_keep_every_digit() {
        let mended = set(&["t=payload.t.replace(',', '.')"]).unwrap().unwrap();

        assert_eq!(mended, PAYLOAD.replace("1,5", "1.5"));
    }

    #[test]
    fn sets_follow_one_another_and_null_takes_a_field_away() {
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
    fn what_changes_nothing_says_so() {
        assert_eq!(set(&["t=payload.t", "more=null"]), Ok(None));
        assert_eq!(Fixes::default().row("a"), Ok(None));
    }

    #[test]
    fn what_does_not_fit_a_row_is_told_of_that_row() {
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
    fn what_does_not_compile_is_told_once() {
        for sets in ["t", "=1", "t=", "t=(", "t=event.x"] {
            assert!(Fixes::compile(None, &[sets.to_owned()]).is_err(), "{sets}");
        }
        assert!(Fixes::compile(Some("payload"), &[]).is_ok());
        assert!(Fixes::compile(Some("line"), &[]).is_err());
    }
}
