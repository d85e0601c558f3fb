//! Schemas other than the shipped ones: what they can express, and their errors.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use tributary_datasets::{Dataset, Datasets, LookupFiles};
use tributary_model::bad_row::{Code, Rejection};

/// A weather station of the tests.
pub(crate) const STATION: &str = r#"
entity = "{station}"
event_id = ["entity", "time"]
partition = "station"

[time]
from = "at"

[measures]
temp_c = { from = "temp" }

[attributes]
station = { from = "station", required = true }
"#;

fn lookups() -> LookupFiles {
    let table =
        "code,name,zone,low,high,lat,lon\nA,Alpha,Europe/Amsterdam,1,2,52,5\nB,Beta,UTC,,,,\n";
    LookupFiles::from([("places.csv".to_owned(), table.to_owned())])
}

pub(crate) fn compile(text: &str) -> Dataset {
    Dataset::compile("station", text, &lookups()).unwrap()
}

/// Returns [`STATION`] with a replacement, which must occur.
pub(crate) fn with(from: &str, to: &str) -> String {
    assert!(STATION.contains(from), "{from}");
    STATION.replace(from, to)
}

pub(crate) fn event(schema: &str, changes: &Value) -> Result<Value, Rejection> {
    let mut row = json!({"station": "s", "at": "2026-07-01T12:00:00Z", "temp": "20"});
    row.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let dataset = compile(schema);
    dataset.event(&row.to_string(), None).map(|event| json!(event))
}

#[test]
fn column_unit_converts_to_unit_of_name() {
    for (unit, value, expected) in
        [("F", "68", 20.0), ("°F", "68", 20.0), ("K", "293.15", 20.0), ("C", "20", 20.0)]
    {
        let schema =
            with("{ from = \"temp\" }", &format!("{{ from = \"temp\", unit = {unit:?} }}"));
        let event = event(&schema, &json!({"temp": value})).unwrap();
        assert_eq!(event["measures"]["temp_c"], expected, "{unit}");
    }
}

#[test]
fn declared_decimal_comma_is_read() {
    let schema = with("{ from = \"temp\" }", "{ from = \"temp\", decimal = \",\" }");

    assert_eq!(event(&schema, &json!({"temp": "20,5"})).unwrap()["measures"]["temp_c"], 20.5);
    assert_eq!(event(&schema, &json!({"temp": 20.5})).unwrap()["measures"]["temp_c"], 20.5);
    let faults = &event(&schema, &json!({"temp": "20.5"})).unwrap()["faults"];
    assert_eq!(*faults, json!(["temp_c:invalid_number"]));
}

#[test]
fn first_column_with_value_counts() {
    let schema = with("from = \"temp\"", "from = [\"temp\", \"t\", \"sensor.t\"]");

    for (changes, expected) in [
        (json!({"temp": "", "t": 3}), 3.0),
        (json!({"temp": null, "sensor": {"t": 4}}), 4.0),
        (json!({"temp": 5, "t": 6}), 5.0),
    ] {
        let event = event(&schema, &changes).unwrap();
        assert_eq!(event["measures"]["temp_c"], expected);
    }
}

#[test]
fn local_time_is_in_declared_zone() {
    let schema = with(
        "from = \"at\"",
        "from = \"at\"\nformats = [\"%d.%m.%Y %H:%M\"]\nzone = \"Europe/Amsterdam\"",
    );

    let time = |at: &str| event(&schema, &json!({"at": at}));
    assert_eq!(time("1.7.2026 12:00").unwrap()["event_time"], "2026-07-01T10:00:00Z");
    let fold = time("25.10.2026 02:30").unwrap();
    assert_eq!(fold["tags"], json!(["dst_fold"]));
    assert_eq!(time("2026-07-01").unwrap_err().code, Code::InvalidTime);
}

#[test]
fn missing_values_can_be_declared() {
    let schema = with("partition", "missing = [\"-999\", \"n/v\"]\npartition");

    for absent in ["-999", "-999.0", "n/v", "N/V"] {
        let event = event(&schema, &json!({"temp": absent})).unwrap();
        assert_eq!((event["measures"].clone(), event.get("faults")), (json!({}), None), "{absent}");
    }
    let faults = &event(&schema, &json!({"temp": "NA"})).unwrap()["faults"];
    assert_eq!(*faults, json!(["temp_c:invalid_number"]));
}

#[test]
fn number_beyond_store_limits_is_out_of_range() {
    let faults = &event(STATION, &json!({"temp": "1e200"})).unwrap()["faults"];
    assert_eq!(*faults, json!(["temp_c:out_of_range"]));
}

#[test]
fn derived_number_beyond_store_limits_is_fault() {
    let measures = "low_c = { from = \"low\" }\n\
                    part_pct = { call = \"percent\", args = [\"temp_c\", \"low_c\"] }\n";
    let schema = with("[attributes]", &format!("{measures}\n[attributes]"));

    for (temp, low) in [("1e100", "1e-100"), ("1e108", "1e-300")] {
        let event = event(&schema, &json!({"temp": temp, "low": low})).unwrap();
        assert_eq!(event["faults"], json!(["part_pct:out_of_range"]));
        assert_eq!(event["measures"].get("part_pct"), None);
    }
}

#[test]
fn required_number_beyond_limits_is_bad_row() {
    let schema = with("from = \"temp\"", "from = \"temp\", required = true");

    let rejection = event(&schema, &json!({"temp": "-1e200"})).unwrap_err();

    assert_eq!((rejection.code, rejection.field.as_deref()), (Code::OutOfRange, Some("temp_c")));
}

#[test]
fn unknown_columns_follow_policy() {
    let policy = |policy: &str| {
        let schema = with("partition", &format!("unknown_columns = {policy:?}\npartition"));
        event(&schema, &json!({"wind": 3}))
    };

    assert_eq!(policy("ignore").unwrap().get("faults"), None);
    assert_eq!(policy("count").unwrap()["faults"], json!(["row:unknown_column"]));
    let rejection = policy("refuse").unwrap_err();
    assert_eq!((rejection.code, rejection.field.as_deref()), (Code::UnknownColumn, Some("wind")));
}

#[test]
fn bands_take_levels_from_numbers() {
    let schema = format!(
        "{STATION}\n[attributes.heat]\nband_of = \"temp_c\"\nbelow = \"cool\"\n\
         bands = [{{ value = \"warm\", from = 20 }}, {{ value = \"hot\", from = 30.5 }}]\n\
         [tags]\nheat = {{ of = \"heat\", prefix = \"heat_\" }}\n"
    );
    for (temp, heat) in [("19.9", "cool"), ("20", "warm"), ("30.5", "hot")] {
        let event = event(&schema, &json!({"temp": temp})).unwrap();
        assert_eq!(event["attributes"]["heat"], heat);
        assert_eq!(event["tags"], json!([format!("heat_{heat}")]));
    }
    let event = event(&schema, &json!({"temp": ""})).unwrap();
    assert_eq!(event["attributes"].get("heat"), None);
}

#[test]
fn lookup_gives_texts_zone_and_location() {
    let schema = with(
        "from = \"at\"",
        "from = \"at\"\nzone = { from = \"tz\", otherwise = \"places.zone\", tag = \"zone_guessed\" }",
    ) + "place = { of = \"places.name\" }\n[location]\nfrom = \"gps\"\notherwise = [\"places.lat\", \"places.lon\"]\n\
           [lookups.places]\nfile = \"places.csv\"\nkey = [\"code\", \"name\"]\nfrom = \"place\"\nignore_case = true\n";

    let found = event(&schema, &json!({"place": "alpha", "at": "2026-07-01 12:00"})).unwrap();
    assert_eq!(found["attributes"]["place"], "Alpha");
    assert_eq!(found["event_time"], "2026-07-01T10:00:00Z");
    assert_eq!(found["tags"], json!(["zone_guessed"]));
    assert_eq!(found["location"]["lat"], 52.0);
    let found = event(&schema, &json!({"place": "B", "gps": {"lat": 1, "lng": 2}})).unwrap();
    assert_eq!(found["location"]["lon"], 2.0);
    let unknown = event(&schema, &json!({"place": "C", "at": "2026-07-01 12:00"})).unwrap_err();
    assert_eq!(unknown.code, Code::UnknownValue);
}

/// Each change of [`STATION`] with the position and the beginning of its error.
const WRONG: &[(&str, &str, &str)] = &[
    ("entity = \"{station}\"", "entiti = \"{station}\"", "2:1: unknown field `entiti`"),
    (
        "{station}\"\nevent",
        "{statoin}\"\nevent",
        "2:10: there is no attribute \"statoin\": expected one of station",
    ),
    ("{station}\"\nevent", "station\"\nevent", "2:10: names no attribute in braces"),
    ("{station}\"\nevent", "{station\"\nevent", "2:10: a brace is not closed"),
    ("\"time\"]", "\"tiem\"]", "3:23: there is no attribute \"tiem\""),
    ("from = \"at\"", "from = \"at\"\nformat = []", "8:1: unknown field `format`"),
    (
        "from = \"at\"",
        "from = \"at\"\nformats = [\"%H:%M\"]",
        "8:12: format \"%H:%M\": does not give a date",
    ),
    ("from = \"at\"", "from = \"at\"\nzone = \"Mars/Base\"", "8:8: \"Mars/Base\" is no time zone"),
    ("from = \"at\"", "from = []", "6:1: `from` names no column"),
    ("from = \"temp\"", "from = [\"temp\", \"temp\"]", "10:28: `from` names column \"temp\" twice"),
    ("{ from = \"temp\" }", "{ form = \"temp\" }", "10:12: unknown field `form`"),
    (
        "{ from = \"temp\" }",
        "{ from = \"temp\", unit = \"mi\" }",
        "10:34: \"mi\" does not convert to \"c\": expected one of C, F, K",
    ),
    (
        "temp_c = { from = \"temp\" }",
        "temp = { from = \"temp\", unit = \"F\" }",
        "10:1: \"temp\" does not end with a unit",
    ),
    (
        "{ from = \"temp\" }",
        "{ from = \"temp\", range = [2, 1] }",
        "10:35: 2 to 1 is no range of numbers",
    ),
    (
        "{ from = \"temp\" }",
        "{ from = \"temp\", range = [nan, 1] }",
        "10:35: NaN to 1 is no range of numbers",
    ),
    (
        "{ from = \"temp\" }",
        "{ from = \"temp\", clip = 1 }",
        "10:1: `clip` is a distance above `range`",
    ),
    ("{ from = \"temp\" }", "{ from = \"temp\", type = \"int\" }", "10:34: unknown variant `int`"),
    (
        "{ from = \"temp\" }",
        "{ call = \"dewpoint\", args = [\"a\", \"b\"] }",
        "10:19: there is no function \"dewpoint\": expected one of dew_point",
    ),
    (
        "{ from = \"temp\" }",
        "{ call = \"percent\", args = [\"a\", \"b\"] }",
        "10:38: there is no measure before this one \"a\"",
    ),
    (
        "{ from = \"temp\" }",
        "{ call = \"percent\", args = [\"a\"] }",
        "10:19: percent takes two measures",
    ),
    (
        "{ from = \"temp\" }",
        "{ from = \"temp\", as = \"elapsed\" }",
        "10:1: an elapsed time has a name that ends with",
    ),
    (
        "{ from = \"temp\" }",
        "{ call = \"percent\", args = [\"a\", \"b\"], required = true }",
        "10:1: `required` has no effect on a derived measure",
    ),
    ("{ from = \"temp\" }", "{ }", "10:1: `from` names no column"),
    ("temp_c =", "Temp-C =", "10:1: \"Temp-C\" is no name"),
    (
        "partition = \"station\"",
        "partition = \"station\"\nany_of = [\"x\"]",
        "5:11: there is no field with a column \"x\": expected one of temp_c, station",
    ),
    (
        "partition = \"station\"",
        "partition = \"station\"\ninterval = \"0s\"",
        "5:12: the interval between two readings must be above 0s",
    ),
    (
        "partition = \"station\"",
        "partition = \"station\"\nunknown_columns = \"drop\"",
        "5:19: unknown variant `drop`",
    ),
    (
        "partition = \"station\"",
        "partition = [\"station\", \"station\"]",
        "4:25: `partition` names column \"station\" twice",
    ),
    (
        "[attributes]",
        "[attributes]\nx = { of = \"places.name\" }",
        "13:12: there is no lookup \"places\"",
    ),
    (
        "[attributes]",
        "[attributes]\nx = { from = \"x\", of = \"places.name\" }",
        "13:1: an attribute has one of",
    ),
    (
        "[attributes]",
        "[attributes]\nx = { from = \"x\", otherwise = \"y\" }",
        "13:1: `otherwise` stands for",
    ),
    (
        "[attributes]",
        "[attributes]\nx = { from = \"x\", words = { a = [\"b\"], c = [\"B\"] } }",
        "13:40: the word \"B\" is there twice",
    ),
    (
        "[attributes]",
        "[attributes]\nx = { from = \"x\", unless = \"y\" }",
        "13:28: there is no attribute before this one \"y\"",
    ),
    ("[attributes]", "[attributes]\nx = { as = \"place_name\" }", "13:1: a place name comes from"),
    (
        "[attributes]",
        "[attributes]\nx = { band_of = \"y\", below = \"z\" }",
        "13:17: there is no measure \"y\"",
    ),
    (
        "[attributes]",
        "[tags]\nx = { days = [\"monday\"] }\n[attributes]",
        "13:15: there is no day \"monday\"",
    ),
    (
        "[attributes]",
        "[tags]\nx = { flag = \"a\", of = \"station\" }\n[attributes]",
        "13:1: a tag has one of",
    ),
    (
        "[attributes]",
        "[tags]\nx = { of = \"station\" }\n[attributes]",
        "13:12: \"station\" has no closed list",
    ),
    ("[attributes]", "[location]\nlat = \"a\"\n[attributes]", "12:1: a location has either"),
    (
        "[attributes]",
        "[lookups.p]\nfile = \"nowhere.csv\"\nkey = \"code\"\nfrom = \"p\"\n[attributes]",
        "13:8: there is no file lookups/nowhere.csv",
    ),
    (
        "[attributes]",
        "[lookups.p]\nfile = \"places.csv\"\nkey = \"kode\"\nfrom = \"p\"\n[attributes]",
        "13:8: lookups/places.csv has no column \"kode\"",
    ),
    (
        "[attributes]",
        "[lookups.p]\nfile = \"places.csv\"\nkey = \"zone\"\nfrom = \"p\"\n[location]\nfrom = \"l\"\notherwise = [\"p.low\", \"p.x\"]\n[attributes]",
        "18:23: lookups/places.csv has no column \"x\"",
    ),
    ("[time]", "[time", "6:"),
    ("partition = \"station\"", "partition = []", "1:1: `partition` names no column"),
    (
        "partition = \"station\"",
        "partition = [\"statoin\"]",
        "4:14: neither a field nor `header` names the column \"statoin\"",
    ),
    (
        "{ from = \"temp\" }",
        "{ from = \"temp\", range = [0, 1], plausible = [2, 3] }",
        "10:1: `range` and `plausible` have no number in common",
    ),
    (
        "{ from = \"station\", required = true }",
        "{ from = \"station\", required = true, below = \"x\" }",
        "13:1: `below` has no effect on this kind of attribute",
    ),
    (
        "{ from = \"station\", required = true }",
        "{ from = \"station\", digits = 5, as = \"date\" }",
        "13:1: an attribute has one of `words`, `digits` and `as`",
    ),
    ("[attributes]", "[attributes]\ntemp_c = \"x\"", "13:1: \"temp_c\" is a measure already"),
    (
        "[attributes]",
        "[tags]\nx = { flag = \"a\", prefix = \"b\" }\n[attributes]",
        "13:1: `prefix` has no effect on this kind of tag",
    ),
    ("from = \"at\"", "from = \"\"", "7:8: `from` names a column of 0 bytes"),
];

#[test]
fn schema_error_names_line_and_column() {
    let wrong = WRONG.iter().filter_map(|(from, to, expected)| {
        let found = match Dataset::compile("station", &with(from, to), &lookups()) {
            Ok(_) => "compiles".to_owned(),
            Err(error) => error.to_string(),
        };
        let expected = format!("datasets/station.toml:{expected}");
        (!found.starts_with(&expected)).then(|| format!("{to}\n{found}\n{expected}"))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn datasets_with_equal_headers_are_refused() {
    let schemas = ["one", "two"].map(|name| (name.to_owned(), STATION.to_owned()));
    let compiled = Datasets::compile(&schemas.into(), &LookupFiles::new(), &BTreeMap::new());

    let error = compiled.unwrap_err().to_string();
    assert!(
        error.starts_with("datasets/two.toml: has the same required columns as one"),
        "{error}"
    );
}

#[test]
fn range_of_unknown_measure_is_refused() {
    let text = with("{ from = \"temp\" }", "{ from = \"temp\", range = [-50, 100] }");
    let schemas = BTreeMap::from([("station".to_owned(), text)]);
    let ranges = |dataset: &str, measure: &str, range| {
        let measures = BTreeMap::from([(measure.to_owned(), range)]);
        let ranges = BTreeMap::from([(dataset.to_owned(), measures)]);
        Datasets::compile(&schemas, &LookupFiles::new(), &ranges)
    };

    for (dataset, measure, range, expected) in [
        ("sation", "temp_c", [0.0, 1.0], "ranges: dataset \"sation\" is none of station"),
        (
            "station",
            "tmp_c",
            [0.0, 1.0],
            "ranges.station.tmp_c: there is no measure with a column \"tmp_c\"",
        ),
        (
            "station",
            "temp_c",
            [1.0, 1.0],
            "ranges.station.temp_c: 1 to 1 is no range of finite numbers",
        ),
        (
            "station",
            "temp_c",
            [200.0, 300.0],
            "ranges.station.temp_c: 200 to 300 has no possible value",
        ),
    ] {
        let error = ranges(dataset, measure, range).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let datasets = ranges("station", "temp_c", [0.0, 30.0]).unwrap();
    let row = r#"{"station":"s","at":1762344000,"temp":31}"#;
    let event = datasets.by_name("station").unwrap().event(row, None).unwrap();
    assert_eq!(event.faults, ["temp_c:out_of_range"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn any_schema_compiles_or_names_its_error(
        shipped in 0..4_usize,
        cut in any::<prop::sample::Index>(),
        length in 0..40_usize,
        put in prop::sample::select(vec![
            "", "from", "\"", "[", "]", "{", "}", "=", "1e400", "nan", "inf", "-1", "true", "\n", ".",
            "\"\"", "[]", "words = {}", "as = \"time\"", "required = true", "é", "{a}", "99999999999",
        ]),
        rows in prop::collection::vec(crate::payload(), 1..4),
    ) {
        let bundle = tributary_config::Bundle::shipped();
        let (name, text) = bundle.folder("datasets", "toml").into_iter().nth(shipped).unwrap();
        let start = text.floor_char_boundary(cut.index(text.len()));
        let end = text.ceil_char_boundary((start + length).min(text.len()));
        let text = format!("{}{put}{}", &text[..start], &text[end..]);
        let lookups = bundle.folder("lookups", "csv").into_iter();
        let lookups = lookups.map(|(name, text)| (format!("{name}.csv"), text)).collect();
        match Dataset::compile(&name, &text, &lookups) {
            Ok(dataset) => for row in rows {
                if let Ok(event) = dataset.event(&row, None) {
                    prop_assert_eq!(dataset.fields().mismatch(&event), None, "{}", row);
                    prop_assert!(!event.entity.is_empty());
                }
            },
            Err(error) => {
                let error = error.to_string();
                let place = format!("datasets/{name}.toml:");
                prop_assert!(error.starts_with(&place), "{}", error);
            }
        }
    }
}
