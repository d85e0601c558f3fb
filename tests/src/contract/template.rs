//! The template as data: `CloudFormation`'s short tags in their long form, and ways to walk it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use crate::repository;

/// SAM template with its loops expanded, its mappings looked up and every short tag in its long
/// form: `!Ref A` is `{"Ref": "A"}`, and `!GetAtt A.B` is `{"Fn::GetAtt": ["A", "B"]}`.
#[derive(Clone, Debug)]
pub struct Template(pub Value);

/// Function of the template.
#[derive(Clone, Debug)]
pub struct Function {
    /// Logical id.
    pub id: String,
    /// Binary that `sam build` packages; empty if the template does not name one.
    pub binary: String,
    /// The resource as written, for attributes beside `Properties`.
    pub resource: Value,
    /// Properties, merged over `Globals`.
    pub properties: Value,
}

impl Template {
    /// Reads `template.yaml` of this repository, its loops expanded with the defaults of its
    /// parameters.
    ///
    /// # Errors
    ///
    /// When the Python tools are not installed, or the template cannot be expanded.
    pub fn read() -> Result<Self, String> {
        static DEFAULT: OnceLock<Result<Value, String>> = OnceLock::new();
        DEFAULT.get_or_init(|| expanded(&BTreeMap::new())).clone().map(Self)
    }

    /// Reads the template, its loops expanded with these parameters.
    ///
    /// # Errors
    ///
    /// As for [`Template::read`].
    pub fn read_with(parameters: &BTreeMap<String, String>) -> Result<Self, String> {
        expanded(parameters).map(Self)
    }

    /// Returns a resource by its logical id; null if there is none.
    #[must_use]
    pub fn resource(&self, id: &str) -> &Value {
        &self.0["Resources"][id]
    }

    /// Returns every resource with its logical id.
    pub fn resources(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0["Resources"].as_object().into_iter().flatten().map(|(id, it)| (id.as_str(), it))
    }

    /// Returns the resources of a type.
    pub fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.resources().filter(move |(_, resource)| resource["Type"] == kind)
    }

    /// Returns true if the logical id is a resource of the type.
    #[must_use]
    pub fn is_a(&self, id: &str, kind: &str) -> bool {
        self.resource(id)["Type"] == kind
    }

    /// Returns the functions.
    #[must_use]
    pub fn functions(&self) -> Vec<Function> {
        self.of_type("AWS::Serverless::Function")
            .map(|(id, resource)| {
                let binary = resource["Metadata"]["BuildProperties"]["Binary"].as_str();
                Function {
                    id: id.to_owned(),
                    binary: binary.unwrap_or_default().to_owned(),
                    resource: resource.clone(),
                    properties: over(&self.0["Globals"]["Function"], &resource["Properties"]),
                }
            })
            .collect()
    }

    /// Returns true when no stack has both resources, because one's condition is the other's negation.
    #[must_use]
    pub fn are_alternatives(&self, id: &str, other: &str) -> bool {
        let condition = |id: &str| self.resource(id)["Condition"].as_str();
        let negates = |condition: &str, other: &str| {
            self.0["Conditions"][condition] == json!({ "Fn::Not": [{ "Condition": other }] })
        };
        match (condition(id), condition(other)) {
            (Some(one), Some(two)) => negates(one, two) || negates(two, one),
            _ => false,
        }
    }

    /// Resolves a value before any stack exists: to the default of a parameter, and to the id or
    /// text of anything that only a stack has.
    #[must_use]
    pub fn sample(&self, value: &Value) -> String {
        self.sample_with(value, &BTreeMap::new())
    }

    /// Resolves a value with parameters that differ from their defaults.
    #[must_use]
    pub fn sample_with(&self, value: &Value, parameters: &BTreeMap<String, String>) -> String {
        if let Some([condition, yes, no]) = value["Fn::If"].as_array().map(Vec::as_slice) {
            let holds = self.holds(&json!({ "Condition": condition }), parameters);
            return self.sample_with(if holds == Some(true) { yes } else { no }, parameters);
        }
        if let Some([Value::String(between), parts]) =
            value["Fn::Join"].as_array().map(Vec::as_slice)
        {
            let Value::Array(parts) = parts else {
                return self.sample_with(parts, parameters).replace(',', between);
            };
            let parts = parts.iter().map(|part| self.sample_with(part, parameters));
            return parts.collect::<Vec<_>>().join(between);
        }
        let Some(name) = value["Ref"].as_str() else {
            return match &value["Fn::Sub"] {
                Value::Null => text(value),
                substituted => text(substituted),
            };
        };
        match (parameters.get(name), &self.0["Parameters"][name]["Default"]) {
            (Some(given), _) => given.clone(),
            (None, Value::Null) => name.to_owned(),
            (None, default) => text(default),
        }
    }

    /// Returns a number, or the default of the parameter in its place.
    #[must_use]
    pub fn number(&self, value: &Value) -> Option<i64> {
        self.sample(value).parse().ok()
    }

    /// Returns true if a stack with these parameters has the resource.
    #[must_use]
    pub fn has(&self, resource: &Value, parameters: &BTreeMap<String, String>) -> bool {
        let condition = &resource["Condition"];
        condition.is_null()
            || self.holds(&json!({ "Condition": condition }), parameters) == Some(true)
    }

    /// Evaluates a condition with these parameters; `None` if it cannot be evaluated.
    #[must_use]
    pub fn holds(&self, condition: &Value, parameters: &BTreeMap<String, String>) -> Option<bool> {
        let (operator, operand) = condition.as_object()?.iter().next()?;
        match (operator.as_str(), operand) {
            ("Condition", Value::String(name)) => {
                self.holds(&self.0["Conditions"][name], parameters)
            }
            ("Fn::Equals", Value::Array(sides)) => Some(
                self.sample_with(sides.first()?, parameters)
                    == self.sample_with(sides.get(1)?, parameters),
            ),
            ("Fn::Not", Value::Array(inner)) => Some(!self.holds(inner.first()?, parameters)?),
            ("Fn::And", Value::Array(all)) => {
                all.iter().try_fold(true, |so_far, it| Some(self.holds(it, parameters)? && so_far))
            }
            ("Fn::Or", Value::Array(any)) => {
                any.iter().try_fold(false, |so_far, it| Some(self.holds(it, parameters)? || so_far))
            }
            _ => None,
        }
    }
}

/// Returns the logical id that a `Ref` or `Fn::GetAtt` points to.
#[must_use]
pub fn target(value: &Value) -> Option<&str> {
    value["Ref"].as_str().or_else(|| value["Fn::GetAtt"][0].as_str())
}

/// Returns every logical id and parameter that a value names, also inside `Fn::Sub`.
#[must_use]
pub fn names(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect_names(value, &mut found);
    found
}

fn collect_names(value: &Value, found: &mut BTreeSet<String>) {
    found.extend(target(value).map(str::to_owned));
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                let template = if inner.is_array() { &inner[0] } else { inner };
                if name == "Fn::Sub" {
                    found.extend(placeholders(template.as_str().unwrap_or_default()));
                }
                collect_names(inner, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, found)),
        _ => {}
    }
}

/// Returns the ids in the `${Id}` and `${Id.Attribute}` of a text; `${!literal}` is none.
fn placeholders(text: &str) -> impl Iterator<Item = String> {
    text.split("${").skip(1).filter(|rest| !rest.starts_with('!')).map(|rest| {
        let inside = rest.split('}').next().unwrap_or_default();
        inside.split('.').next().unwrap_or_default().to_owned()
    })
}

/// Returns a list: a single value as a list of one, null as an empty list, and `Fn::If` as the
/// values of both branches, because a rule holds whatever the condition is.
#[must_use]
pub fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().flat_map(list).collect(),
        Value::Object(fields) if fields.contains_key("Fn::If") => {
            value["Fn::If"].as_array().into_iter().flatten().skip(1).flat_map(list).collect()
        }
        Value::Object(_) if value["Ref"] == "AWS::NoValue" => Vec::new(),
        single => vec![single],
    }
}

/// Returns the strings of a list.
#[must_use]
pub fn strings(value: &Value) -> Vec<&str> {
    list(value).into_iter().filter_map(Value::as_str).collect()
}

/// Returns a value as the text that `CloudFormation` makes of it.
#[must_use]
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Merges `upper` over `lower` as SAM merges properties over `Globals`: maps merge, lists
/// concatenate, anything else is replaced.
///
/// See
/// <https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification-template-anatomy-globals.html>.
fn over(lower: &Value, upper: &Value) -> Value {
    match (lower, upper) {
        (Value::Object(lower), Value::Object(upper)) => {
            let mut merged = lower.clone();
            for (name, value) in upper {
                let value = over(lower.get(name).unwrap_or(&Value::Null), value);
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(lower), Value::Array(upper)) => {
            Value::Array(lower.iter().chain(upper).cloned().collect())
        }
        (lower, Value::Null) => lower.clone(),
        (_, upper) => upper.clone(),
    }
}

/// Expands the template by `tools/expand_template.py`.
fn expanded(parameters: &BTreeMap<String, String>) -> Result<Value, String> {
    let python = repository().join(".venv/bin/python");
    let given = parameters.iter().map(|(name, value)| format!("{name}={value}"));
    let output = Command::new(&python)
        .args(["-m", "tools.expand_template"])
        .args(given)
        .current_dir(repository())
        .output()
        .map_err(|error| format!("{}: {error}: run make setup", python.display()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let template = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    Ok(folded(template))
}

/// Puts the values that a loop gave to the variables of `Fn::Sub` into its text: then it is text
/// alone, or a plain string where no variable is left.
fn folded(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(folded).collect()),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, folded(value)));
            let fields: Map<_, _> = fields.collect();
            fields.get("Fn::Sub").and_then(substituted).unwrap_or(Value::Object(fields))
        }
        value => value,
    }
}

/// Returns an `Fn::Sub` with its literal variables in the text; `None` if it has none.
fn substituted(sub: &Value) -> Option<Value> {
    let (mut text, mut left) = match sub {
        Value::String(text) => (text.clone(), Map::new()),
        sub => (sub[0].as_str()?.to_owned(), sub[1].as_object()?.clone()),
    };
    left.retain(|name, value| {
        let literal = value.as_str();
        if let Some(literal) = literal {
            text = text.replace(&format!("${{{name}}}"), literal);
        }
        literal.is_none()
    });
    Some(if !left.is_empty() {
        json!({ "Fn::Sub": [text, left] })
    } else if text.contains("${") {
        json!({ "Fn::Sub": text })
    } else {
        Value::String(text)
    })
}
