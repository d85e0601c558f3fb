//! Which records somebody wants to see: a CEL expression over the JSON of a record.

use std::fmt;

use crate::expression::{Expression, Scope};
use tributary_model::config_error::ConfigError;

/// A compiled expression over the variable `event`, which is a record of any stream as it is stored.
///
/// What is written for the `when` of a rule means the same here, because an event is stored with the
/// names that rules use. A raw record has `event.dataset`, `event.record_id`, `event.source`,
/// `event.received_at` and all of the row in `event.payload`; of a CSV every value there is a string,
/// and `double(event.payload.Severity) >= 4.0` compares it as a number.
///
/// - A field that is not there, or null, makes the whole expression false; `has(event.x)` asks for it.
/// - Every number is a double. Comparing it with a whole number works, adding one to it does not.
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
pub struct Filter(Expression);

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Filter {
    /// Compiles `text`, which belongs to `owner` (for the message).
    ///
    /// # Errors
    ///
    /// When it does not parse, with line and column, or names a variable other than `event`.
    pub fn compile(owner: &str, text: &str) -> Result<Self, ConfigError> {
        Expression::compile(owner, text).map(Self)
    }

    /// Whether the expression holds for a record: the text of one JSON object, of which only the
    /// fields that are asked for are read. In text that is no JSON object, no field is found.
    ///
    /// # Errors
    ///
    /// What was compared that cannot be, or that the expression is no boolean.
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
    fn what_a_rule_says_of_an_event_a_filter_says_of_its_json() {
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
    fn every_field_of_a_raw_record_can_be_asked() {
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
    fn what_cannot_be_compared_is_an_error() {
        for text in ["event.payload.sensor_id > 3", "event.dataset", "event.payload > 1", "7"] {
            assert!(holds(text, RAW).is_err(), "{text}");
        }
    }

    #[test]
    fn what_does_not_compile_says_where() {
        let reported = |text| Filter::compile("--where", text).unwrap_err().to_string();

        assert!(
            reported("event.a ==").starts_with("--where: does not parse:"),
            "{}",
            reported("event.a ==")
        );
        assert!(reported("event.a == b && c").contains("names b, c"));
    }

    #[test]
    fn no_text_makes_it_panic_or_overflow() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        for record in ["", "7", "[1]", "{", "{\"a\"", "\"a\"", "null", "{\"a\":1e999}", &deep] {
            for text in ["event.a[0][0] == 1", "event.a == event.a", "'a' in event", "event == 7"] {
                let _ = holds(text, record);
            }
        }
    }
}
