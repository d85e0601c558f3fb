//! Feeds of schemas with one unusual part each.

use crate::schemas::{check, compile, settings};

const BASE: &str = r#"
entity = "{id}"
event_id = ["entity", "time"]
partition = "id"
[time]
from = "at"
[lookups.sites]
file = "sites.csv"
key = "name"
from = "id"
[measures]
level_m = { from = "level" }
[attributes]
id = { from = "id", required = true }
"#;

/// Checks the rows of [`BASE`] with each replacement of a part.
fn check_each<'t>(from: &str, replacements: impl IntoIterator<Item = &'t str>) {
    assert!(BASE.contains(from), "{from}");
    for to in replacements {
        let dataset = compile("base", &BASE.replace(from, to));
        check(&dataset, &settings(&dataset));
    }
}

#[test]
fn times_in_any_format_are_read() {
    check_each(
        "from = \"at\"",
        [
            r#"from = "at"
            formats = ["%m/%d/%Y %I:%M %p"]
            zone = "America/New_York""#,
            r#"from = "at"
            formats = ["%s"]"#,
            r#"from = "at"
            formats = ["%d.%m.%y"]
            zone = "Europe/Amsterdam""#,
            r#"from = "at"
            formats = ["%Y-%m-%dT%H:%M:%S%z"]"#,
            r#"from = ["at", "time"]
            formats = ["%Y-%m-%d %H"]
            zone = { from = "zone" }"#,
        ],
    );
}

#[test]
fn numbers_stay_in_any_range() {
    check_each(
        "{ from = \"level\" }",
        [
            r#"{ from = "level", range = [1e9, 1e12], type = "integer" }"#,
            r#"{ from = "level", range = [0.0001, 0.0002], required = true }"#,
            r#"{ from = "level", range = [-inf, -5], unit = "ft" }"#,
            r#"{ from = "level", range = [0, 1], type = "integer", missing = ["0"], required = true }"#,
            r#"{ from = "level", decimal = ",", unit = { from = "u", one_of = ["m", "cm"], otherwise = "ft" } }"#,
        ],
    );
}

#[test]
fn keys_and_entities_have_any_form() {
    check_each(
        "event_id = [\"entity\", \"time\"]",
        [r#"event_id = "id""#, r#"event_id = "entity""#],
    );
    check_each(
        "id = { from = \"id\", required = true }",
        [
            r#"id = { from = "id", required = true, digits = 4 }"#,
            r#"id = { from = "id", required = true, words = { a = ["true"], b = ["NA", "-"], c = ["Größe"] } }"#,
            r#"id = { of = "sites.code", required = true }"#,
        ],
    );
}

#[test]
fn columns_may_have_several_readers() {
    check_each(
        "[attributes]",
        [
            r#"[location]
            from = "place"
            [attributes]
            place = { as = "place_name", required = true }"#,
            r#"[location]
            from = "id.at"
            [attributes]"#,
            r#"[location]
            lat = "a.lat"
            lon = "a.lon"
            required = true
            [attributes]
            a = "a""#,
            r#"[tags]
            mode = { from = "mode", words = { on = ["1"], off = ["0"] } }
            [measures.mode]
            from = "mode"
            range = [0, 0.5]
            [attributes]
            day = { from = "at", as = "date" }
            seen = { from = "seen", as = "time" }"#,
        ],
    );
}
