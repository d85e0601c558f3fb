//! Mutations of the template, to test that each check reports its fault.

use serde_json::Value;

use super::template::Template;

/// Returns the template with the resource value at `path` changed, as in
/// `Alerts/Properties/Events/Events/Properties/BatchSize`. In a list, `Sid=Trace` selects the
/// element with that field.
///
/// # Panics
///
/// When the change has no effect: the test would prove nothing.
#[must_use]
#[track_caller]
pub fn changed(path: &str, change: impl FnOnce(&mut Value)) -> Template {
    let mut template = Template::read().unwrap_or(Template(Value::Null));
    let mut at = &mut template.0["Resources"];
    for part in path.split('/') {
        at = match (at, part.split_once('=')) {
            (Value::Array(items), Some((field, value))) => {
                let found = items.iter().position(|it| it[field] == value);
                assert!(found.is_some(), "{path}: nothing has {part}");
                &mut items[found.unwrap_or_default()]
            }
            (Value::Array(items), None) => &mut items[part.parse::<usize>().unwrap_or(usize::MAX)],
            (at, _) => &mut at[part],
        };
    }
    let before = at.clone();
    change(at);
    assert_ne!(*at, before, "{path} is as it was");
    template
}

/// Returns the template with a value replaced.
#[must_use]
#[track_caller]
pub fn with(path: &str, value: Value) -> Template {
    changed(path, |at| *at = value)
}

/// Returns the template with a value removed.
#[must_use]
#[track_caller]
pub fn without(path: &str) -> Template {
    with(path, Value::Null)
}
