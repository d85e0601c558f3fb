//! Filters for records: CEL expressions over the JSON of a record.

use crate::expression::{Expression, Scope};
use tributary_model::config_error::ConfigError;

/// Compiled expression over the variable `event`, a record of any stream as stored.
///
/// An expression for the `when` of a rule means the same here, because events are stored under the
/// names that rules use. A raw record has `event.dataset`, `event.record_id`, `event.source`,
/// `event.received_at` and the whole row in `event.payload`. Values of a CSV row are strings;
/// `double(event.payload.Severity) >= 4.0` compares one as a number.
///
/// - A field that is missing or null makes the whole expression false; `has(event.x)` tests for it.
/// - Every number is a double. Comparing it with an integer works, adding an integer to it does
///   not.
///
/// ```
/// use tributary_rules::filter::Filter;
///
/// let hot = Filter::compile("--where", "event.measures.temperature_c > 30")?;
///
/// assert_eq!(hot.holds(r#"{"measures":{"temperature_c":31.5}}"#), Ok(true));
/// assert_eq!(hot.holds(r#"{"measures":{}}"#), Ok(false));
/// assert!(hot.holds(r#"{"measures":{"temperature_c":"hot"}}"#).is_err());
///
/// let wrong = Filter::compile("--where", "temperature > 30").unwrap_err();
/// assert_eq!(wrong.to_string(), "--where: names temperature, and only `event` is there");
/// # Ok::<(), tributary_model::config_error::ConfigError>(())
/// ```
///
/// The language: <https://github.com/google/cel-spec/blob/master/doc/langdef.md>.
#[derive(Debug)]
pub struct Filter(Expression);

impl Filter {
    /// Compiles `text`; error messages name its `owner`.
    ///
    /// # Errors
    ///
    /// Returns an error with line and column if `text` does not parse, or if it names a variable
    /// other than `event`.
    pub fn compile(owner: &str, text: &str) -> Result<Self, ConfigError> {
        Expression::compile(owner, text).map(Self)
    }

    /// Returns true if the expression holds for a record, the text of one JSON object.
    ///
    /// Only the fields that the expression uses are parsed. Text that is no JSON object has no
    /// fields.
    ///
    /// # Errors
    ///
    /// Returns an error if values cannot be compared or the result is no boolean.
    pub fn holds(&self, record: &str) -> Result<bool, String> {
        self.0.holds(&Scope::of_json(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_model::event::Event;

    const EVENT: &str = r#"{"kind":"window","dataset":"accidents","event_id":"e1","entity":"OH/Lucas",
        "event_time":"2026-11-20T10:00:00Z","received_at":"2026-11-20T10:00:01.500Z",
        "location":{"lat":41.6,"lon":-83.5,"cell":"852ab2c3fffffff"},
        "measures":{"severity":4.0,"temperature_c":-3.5},"attributes":{"city":"Tol\u0065do"},
        "tags":["night","weather_snow"],
        "window":{"spec":"1h","start":"2026-11-20T09:00:00Z","end":"2026-11-20T10:00:00Z","revision":2}}"#;

    const RAW: &str = r#"{"dataset":"flood","record_id":"00ff","source":"file:a#offset=0&row=1",
        "received_at":"2026-11-20T10:00:00.123Z",
        "payload":{"sensor_id":"s-1","water_level":"2.31","location":{"latitude":47.5},"none":null,
        "ok":true,"list":[1,"two",[3],{"four":4},null],"empty":""}}"#;

    fn holds(text: &str, record: &str) -> Result<bool, String> {
        Filter::compile("test", text).unwrap().holds(record)
    }

    #[test]
    fn filter_agrees_with_rule_on_event_json() {
        let event = Event::from_json(EVENT.as_bytes()).unwrap();
        for text in [
            "event.kind == 'window' && event.dataset == 'accidents' && event.event_id == 'e1'",
            "event.entity.startsWith('OH/')",
            "event.event_time == '2026-11-20T10:00:00Z' && event.received_at < '2026-11-20T10:01'",
            "event.location.lat > 41 && event.location.lon < 0.0 && event.location.cell != ''",
            "event.measures.severity >= 4 && event.measures['temperature_c'] == -3.5",
            "event.attributes.city in ['Toledo', 'Dayton']",
            "'night' in event.tags && event.tags.exists(tag, tag.startsWith('weather_'))",
            "size(event.tags) == 2",
            "event.window.spec == '1h' && event.window.revision == 2",
            "has(event.measures.severity) && !has(event.measures.depth) && 'city' in event.attributes",
            "event.measures.depth_m > 1.0",
            "event.colour == 'red'",
            "!(event.x == 1)",
        ] {
            let expression = Expression::compile("test", text).unwrap();

            assert_eq!(holds(text, EVENT), expression.holds(&Scope::of(&event)), "{text}");
        }
    }

    #[test]
    fn every_raw_record_field_is_readable() {
        for text in [
            "event.dataset == 'flood' && event.record_id == '00ff'",
            "event.source.contains('row=1') && event.received_at > '2026'",
            "event.payload.sensor_id == 's-1' && double(event.payload.water_level) > 2.0",
            "event.payload.location.latitude == 47.5 && event.payload.ok",
            "event.payload.list[0] == 1 && event.payload.list[1] == 'two'",
            "event.payload.list[2][0] == 3.0 && event.payload.list[3].four == 4",
            "event.payload.list[4] == null && size(event.payload.list) == 5",
            "!has(event.payload.none) && has(event.payload.empty)",
        ] {
            assert_eq!(holds(text, RAW), Ok(true), "{text}");
        }
        assert_eq!(holds("event.payload.none == null", RAW), Ok(false));
    }

    #[test]
    fn incomparable_values_are_an_error() {
        for text in ["event.payload.sensor_id > 3", "event.dataset", "event.payload > 1", "7"] {
            assert!(holds(text, RAW).is_err(), "{text}");
        }
    }

    #[test]
    fn compile_error_names_owner() {
        let reported = |text| Filter::compile("--where", text).unwrap_err().to_string();

        assert!(
            reported("event.a ==").starts_with("--where: does not parse:"),
            "{}",
            reported("event.a ==")
        );
        assert!(reported("event.a == b && c").contains("names b, c"));
    }

    #[test]
    fn malformed_records_do_not_panic() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        for record in ["", "7", "[1]", "{", "{\"a\"", "\"a\"", "null", "{\"a\":1e999}", &deep] {
            for text in ["event.a[0][0] == 1", "event.a == event.a", "'a' in event", "event == 7"] {
                let _ = holds(text, record);
            }
        }
    }
}
