//! Static check of rules: each compiles, names existing fields, and can fire.

pub(crate) mod bounds;
mod facts;
mod names;
mod reachability;
mod readings;
pub(crate) mod source;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue, operators};

use self::source::Source;
pub use self::source::written_at;
use super::template;
use super::{AlertsConfig, RuleSpec, Rules};
use crate::expression::{Expression, Invalid};
use crate::predicate::translate;
use crate::tree;
use tributary_model::domain::{Fields, Schemas};
use tributary_windows::fields::WindowFields;

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The rules must not be used.
    Error,
    /// A person should look at it.
    Warning,
}

/// Code of a finding: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// It is no TOML, or none of this shape, or has no rules.
    Unreadable,
    /// Its fields contradict each other, or its id is repeated.
    Contradiction,
    /// No dataset has this name.
    UnknownDataset,
    /// No window spec of its dataset has this name.
    UnknownWindow,
    /// An expression that is no CEL.
    Unparsable,
    /// An event of this dataset, or a window of this spec, does not have this field or tag.
    UnknownField,
    /// An expression that is too large, or too deep, to be looked into.
    TooLarge,
    /// CEL does not have this function.
    UnknownFunction,
    /// Types that cannot be compared, or calculated with.
    WrongType,
    /// A condition that no event can fulfil.
    Dead,
    /// A condition that every event fulfils.
    Always,
    /// A condition that needs more readings than a window has at the usual interval.
    TooFewReadings,
    /// No example shows when it fires, or none when it does not.
    NoExample,
}

/// Finding in a rules file, with its position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Severity of the finding.
    pub level: Level,
    /// Code of the finding.
    pub code: Code,
    /// The id of the rule, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The line, from 1.
    pub line: usize,
    /// The character of the line, from 1.
    pub column: usize,
    /// Message of the finding.
    pub message: String,
}

/// `18:9: rule severe-accident: never holds: severity is 1 to 4`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if let Some(rule) = &self.rule {
            write!(f, "rule {rule}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Fault at a byte of an expression.
#[derive(Clone, Debug, PartialEq)]
struct Fault {
    level: Level,
    code: Code,
    offset: usize,
    message: String,
}

impl Fault {
    fn error(code: Code, offset: usize, message: String) -> Self {
        Self { level: Level::Error, code, offset, message }
    }
}

/// Result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Findings, in the order of the file.
    pub findings: Vec<Finding>,
    /// The ids of the rules, each with line and column of its id.
    pub rules: Vec<(String, usize, usize)>,
}

impl Checked {
    /// Returns true if there are no errors.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.errors().next().is_none()
    }

    /// Returns the findings that are errors.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.level == Level::Error)
    }

    /// Rejects each rule that lacks an example that fires or one that does not. `examples` returns
    /// the number of each for the id of a rule.
    pub fn require_examples(&mut self, examples: impl Fn(&str) -> (usize, usize)) {
        for (rule, line, column) in &self.rules {
            let lacks = match examples(rule) {
                (0, 0) => "neither an example that fires nor one that does not",
                (0, _) => "no example that fires",
                (_, 0) => "no example that does not fire",
                _ => continue,
            };
            self.findings.push(Finding {
                level: Level::Error,
                code: Code::NoExample,
                rule: Some(rule.clone()),
                line: *line,
                column: *column,
                message: format!("has {lacks}"),
            });
        }
        self.findings.sort_by_key(|finding| (finding.line, finding.column));
    }
}

/// Checks the text of an `alerts.toml` against the datasets and the windows there are.
#[must_use]
pub fn check(text: &str, schemas: &Schemas, windows: &WindowFields) -> Checked {
    let source = Source::new(text);
    let mut check = Check { source: &source, schemas, windows, checked: Checked::default() };
    match toml::from_str::<AlertsConfig>(text) {
        Ok(config) => check.all(&config),
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            let rule = source.rule_at(offset).and_then(|rule| source.id(rule));
            let message = error.message().lines().next().unwrap_or_default().to_owned();
            check.report(rule, Code::Unreadable, offset, message);
        }
    }
    let mut checked = check.checked;
    checked.findings.sort_by_key(|finding| (finding.line, finding.column));
    checked
}

/// Checks the rules in the file of a dataset, which do not state their dataset.
#[must_use]
pub fn check_own(text: &str, dataset: &str, schemas: &Schemas, windows: &WindowFields) -> Checked {
    let source = Source::new(text);
    let mut check = Check { source: &source, schemas, windows, checked: Checked::default() };
    let mut config = AlertsConfig::default();
    for (index, rule) in source.tables().enumerate() {
        match RuleSpec::of_dataset(rule, dataset) {
            Ok(rule) => config.rules.push(rule),
            Err(message) => {
                let offset = check.source.key(index, "id");
                let message = message.lines().next().unwrap_or_default().to_owned();
                check.report(source.id(index), Code::Unreadable, offset, message);
                return check.checked;
            }
        }
    }
    if !config.rules.is_empty() {
        check.all(&config);
    }
    let mut checked = check.checked;
    checked.findings.sort_by_key(|finding| (finding.line, finding.column));
    checked
}

/// Returns the errors of a condition over events with `fields`, each with its byte in the text.
#[must_use]
pub fn condition_errors(fields: &Fields, condition: &str) -> Vec<(usize, String)> {
    let errors = faults(fields, condition).into_iter().filter(|it| it.level == Level::Error);
    errors.filter(|it| it.code != Code::Dead).map(|it| (it.offset, it.message)).collect()
}

struct Check<'c> {
    source: &'c Source<'c>,
    schemas: &'c Schemas,
    windows: &'c WindowFields,
    checked: Checked,
}

impl Check<'_> {
    fn report(&mut self, rule: Option<String>, code: Code, offset: usize, message: String) {
        self.put(rule, Fault::error(code, offset, message));
    }

    /// Reports a fault at a byte of the file.
    fn put(&mut self, rule: Option<String>, fault: Fault) {
        let (line, column) = self.source.place(fault.offset);
        let Fault { level, code, message, .. } = fault;
        self.checked.findings.push(Finding { level, code, rule, line, column, message });
    }

    fn all(&mut self, config: &AlertsConfig) {
        // An empty list of rules is more likely a mistake than a wish.
        if config.rules.is_empty() {
            self.report(None, Code::Unreadable, 0, "there are no rules".to_owned());
        }
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, rule) in config.rules.iter().enumerate() {
            let id = self.source.value(index, "id");
            let (line, column) = self.source.place(id);
            if let Some(first) = seen.insert(&rule.id, line) {
                let message = format!("is there twice, first in line {first}");
                self.report(Some(rule.id.clone()), Code::Contradiction, id, message);
            }
            self.checked.rules.push((rule.id.clone(), line, column));
            self.rule(index, rule);
        }
        if self.checked.is_usable()
            && let Err(error) = Rules::compile(&config.rules, self.schemas)
        {
            self.report(None, Code::Contradiction, 0, error.to_string());
        }
    }

    fn rule(&mut self, index: usize, rule: &RuleSpec) {
        let id = Some(rule.id.clone());
        if let Some((field, message)) = rule.contradiction() {
            let offset = self.source.key(index, field);
            self.report(id.clone(), Code::Contradiction, offset, message);
        }
        let Some(readings) = self.schemas.get(&rule.dataset) else {
            let offset = self.source.value(index, "dataset");
            let message = format!("dataset {:?} is none of {}", rule.dataset, self.schemas.names());
            return self.report(id, Code::UnknownDataset, offset, message);
        };
        let mut fields = readings;
        if let Some(window) = &rule.window {
            let of_window = self.windows.get(window).filter(|it| it.dataset == rule.dataset);
            let Some(of_window) = of_window else {
                let offset = self.source.value(index, "window");
                let names = self.windows.names(&rule.dataset);
                let message = format!("{window:?} is no window of {}: {names}", rule.dataset);
                return self.report(id, Code::UnknownWindow, offset, message);
            };
            fields = of_window;
        }
        if let Some(when) = &rule.when {
            for mut fault in faults(fields, when) {
                fault.offset = self.source.inside(index, "when", fault.offset);
                self.put(id.clone(), fault);
            }
        }
        for (field, text) in [("title", &rule.title), ("key", &rule.key)] {
            for mut fault in template_faults(fields, text) {
                fault.offset = self.source.inside(index, field, fault.offset);
                self.put(id.clone(), fault);
            }
        }
    }
}

/// Returns the faults of a `when` over events with `fields`: of its size first, then of its names,
/// its types, and of what each part of a predicate leaves to its fields.
fn faults(fields: &Fields, when: &str) -> Vec<Fault> {
    let program = match Expression::parse(when) {
        Ok(program) => program,
        Err(Invalid { code, offset, message }) => return vec![Fault::error(code, offset, message)],
    };
    let unknown = names::faults(fields, &program);
    if !unknown.is_empty() {
        return unknown;
    }
    let (predicate, types) = translate(&program);
    let wrong = |(offset, message)| Fault::error(Code::WrongType, offset, message);
    let root = program.expression();
    match predicate {
        _ if !types.is_empty() => types.into_iter().map(wrong).collect(),
        Some(predicate) => {
            let mut faults = reachability::faults(fields, &predicate);
            if faults.iter().all(|fault| fault.level != Level::Error) {
                faults.extend(readings::fault(fields, &predicate));
            }
            faults
        }
        None if is_never_boolean(root) => {
            vec![wrong((tree::start(&program, root), "should be a yes or no".to_owned()))]
        }
        None => Vec::new(),
    }
}

/// Returns true if the value of an expression for CEL is certainly no boolean.
fn is_never_boolean(node: &IdedExpr) -> bool {
    match &node.expr {
        Expr::Literal(literal) => !matches!(literal, LiteralValue::Boolean(_)),
        Expr::List(_) | Expr::Map(_) => true,
        // `map` and `filter` make a list.
        Expr::Comprehension(of) => matches!(of.accu_init.expr, Expr::List(_)),
        Expr::Call(call) => match call.func_name.as_str() {
            operators::CONDITIONAL => call.args.iter().skip(1).all(is_never_boolean),
            "size" | "double" | "int" | "uint" | "string" | "bytes" | "type" => true,
            operator => "_+_ _-_ _*_ _/_ _%_ -_".split(' ').any(|it| it == operator),
        },
        _ => false,
    }
}

/// Returns the faults of a title or a key.
fn template_faults(fields: &Fields, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find('{') {
        let start = at + open + 1;
        let Some(length) = text[start..].find('}') else {
            let message = "lacks a closing brace".to_owned();
            faults.push(Fault::error(Code::Unparsable, start - 1, message));
            break;
        };
        let name = &text[start..start + length];
        if !template::is_field(name) {
            let message = format!("{{{name}}} is none of {}", template::FIELDS);
            faults.push(Fault::error(Code::UnknownField, start, message));
        } else if fields.domain(name).is_none() {
            let (path, last) = name.rsplit_once('.').unwrap_or(("", name));
            faults.push(Fault::error(
                Code::UnknownField,
                start,
                names::no_field(fields, path, last),
            ));
        }
        at = start + length + 1;
    }
    faults
}

#[cfg(test)]
mod tests;
