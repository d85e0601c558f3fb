//! Values of rows under schemas other than the shipped ones: which column counts, and what is lost.

use std::collections::BTreeMap;

use serde_json::json;

use tributary_datasets::ingest::{Feed, Step};
use tributary_datasets::{Dataset, Datasets, LookupFiles};
use tributary_model::bad_row::Code;
use tributary_rows::Limits;

use crate::schemas::{STATION, compile, event, with};

#[test]
fn part_of_natural_key_is_required() {
    let text = with("\"time\"]", "\"day\"]") + "day = { from = \"day\", as = \"date\" }\n";
    let error = Dataset::compile("station", &text, &LookupFiles::new()).unwrap_err();
    assert!(error.to_string().ends_with("a part of the key is `required`"), "{error}");

    let text = text.replace("as = \"date\"", "as = \"date\", required = true");
    assert_eq!(event(&text, &json!({})).unwrap_err().code, Code::MissingField);
    assert!(event(&text, &json!({"day": "2026-07-01T00:00:00Z"})).is_ok());
}

#[test]
fn derived_measure_is_finite() {
    let schema = STATION.replace(
        "[attributes]",
        "base = \"base\"\nshare_pct = { call = \"percent\", args = [\"temp_c\", \"base\"] }\n[attributes]",
    );
    let found = event(&schema, &json!({"temp": "1e100", "base": "1e-300"})).unwrap();
    assert_eq!(found["measures"].get("share_pct"), None);
    let found = event(&schema, &json!({"temp": 1, "base": 4})).unwrap();
    assert_eq!(found["measures"]["share_pct"], 25.0);
}

#[test]
fn blank_number_or_place_yields_to_next_column() {
    let schema = with(
        "{ from = \"temp\" }",
        "{ from = [\"temp\", \"t\"], decimal = \",\", missing = [\"-999\"] }",
    ) + "[location]\nfrom = [\"gps\", \"pos\"]\n";

    for changes in [
        json!({"temp": "", "t": 12.5}),
        json!({"temp": -999, "t": "12,5"}),
        json!({"temp": "-999,0", "t": "12,5"}),
        json!({"temp": "NA", "t": "12,5"}),
    ] {
        let found = event(&schema, &changes).unwrap();
        assert_eq!(found["measures"]["temp_c"], 12.5, "{changes}");
    }
    for blank in [json!(""), json!("NA"), json!(null)] {
        let found = event(&schema, &json!({"gps": blank, "pos": "52.1,4.9"})).unwrap();
        assert_eq!(found["location"]["lat"], 52.1);
    }
}

#[test]
fn whole_json_number_selects_like_text() {
    let schema = STATION.to_owned()
        + "level = { from = \"level\", words = { low = [\"1\"], none = [\"none\", \"-\"] } }\n\
           sky = { from = \"sky\", words = { open = [\"öffen\"] } }\n";

    for (level, expected) in [(json!(1.0), "low"), (json!("1"), "low"), (json!("-"), "none")] {
        assert_eq!(
            event(&schema, &json!({"level": level})).unwrap()["attributes"]["level"],
            expected
        );
    }
    assert_eq!(event(&schema, &json!({"sky": "ÖFFEN"})).unwrap()["attributes"]["sky"], "open");
}

#[test]
fn required_location_may_come_from_lookup() {
    let schema = STATION.to_owned()
        + "[lookups.places]\nfile = \"places.csv\"\nkey = \"code\"\nfrom = \"station\"\n\
           [location]\nfrom = \"gps\"\notherwise = [\"places.lat\", \"places.lon\"]\nrequired = true\n";

    let found = event(&schema, &json!({"station": "A", "gps": null})).unwrap();
    assert_eq!(found["location"]["lat"], 52.0);
    assert_eq!(event(&schema, &json!({"station": "B"})).unwrap_err().code, Code::MissingField);
}

#[test]
fn coordinates_have_decimal_mark_of_file() {
    let schema =
        STATION.to_owned() + "[file]\ndecimal = \",\"\n[location]\nlat = \"lat\"\nlon = \"lon\"\n";

    for (lat, lon) in [(json!("52,1"), json!("5,25")), (json!(52.1), json!(5.25))] {
        let found = event(&schema, &json!({"lat": lat, "lon": lon})).unwrap();
        assert_eq!(
            (&found["location"]["lat"], &found["location"]["lon"]),
            (&json!(52.1), &json!(5.25))
        );
    }
}

#[test]
fn zone_name_in_time_counts() {
    let schema = with("from = \"at\"", "from = \"at\"\nformats = [\"%Y-%m-%d %H:%M %Q\"]");
    let found = event(&schema, &json!({"at": "2026-07-01 12:00 America/New_York"})).unwrap();
    assert_eq!(found["event_time"], "2026-07-01T16:00:00Z");
}

#[test]
fn partition_key_is_first_value_of_any_spelling() {
    let schema =
        with("partition = \"station\"", "header = \"id\"\npartition = [\"device.id\", \"id\"]")
            .replace("from = \"station\"", "from = [\"station\", \"device.id\"]");
    let dataset = compile(&schema);

    for (payload, expected) in [
        (r#"{"device":{"id":" d-1 "},"id":2}"#, Some("d-1")),
        (r#"{"Device":{"ID":"d-1"}}"#, Some("d-1")),
        (r#"{"device.id":"d-1"}"#, Some("d-1")),
        (r#"{"device":{"id":""},"ID":7.0}"#, Some("7")),
        (r#"{"device":"d-1"}"#, None),
        ("[]", None),
    ] {
        assert_eq!(dataset.partition_key(payload).as_deref(), expected, "{payload}");
    }
}

#[test]
fn columns_of_header_and_partition_are_no_drift() {
    let schema = with(
        "partition = \"station\"",
        "header = \"wind\"\npartition = \"wind\"\nunknown_columns = \"refuse\"",
    );
    assert!(event(&schema, &json!({"wind": 3})).is_ok());
    assert_eq!(event(&schema, &json!({"rain": 3})).unwrap_err().code, Code::UnknownColumn);
}

#[test]
fn continued_feed_has_dialect_of_its_first_segment() {
    let schema = STATION.to_owned() + "[file]\ndelimiter = \";\"\n";
    let schemas = BTreeMap::from([("station".to_owned(), schema)]);
    let datasets = Datasets::compile(&schemas, &LookupFiles::new(), &BTreeMap::new()).unwrap();
    let station = datasets.by_name("station").cloned();
    let steps = |mut feed: Feed| {
        feed.push(b"station,at,temp\ns,2026-07-01T12:00:00Z,1\n\"s,2026-07-01T12:00:00Z,2\n");
        feed.finish();
        let mut steps = Vec::new();
        loop {
            steps.push(match feed.step() {
                Ok(Step::Started) => "started".to_owned(),
                Ok(Step::Row(row)) => format!("row of {}", row.dataset().name()),
                Ok(Step::Bad(bad)) => format!("bad row of {}", bad.dataset.unwrap().name()),
                Ok(Step::NeedInput | Step::End) => return steps,
                Err(refused) => {
                    steps.push(refused.rejection.code.to_string());
                    return steps;
                }
            });
        }
    };

    let first = steps(Feed::new(&datasets, None, Limits::default()));
    assert_eq!(first, ["started", "row of station", "bad row of station"]);
    let feed = Feed::new(&datasets, None, Limits::default()).known(station.clone());
    assert_eq!(steps(feed), first);
    let feed = Feed::new(&datasets, station, Limits::default());
    assert_eq!(steps(feed), ["missing_column"]);
}

#[test]
fn event_ahead_of_receipt_is_tagged() {
    let dataset = compile(STATION);
    let row = json!({"station": "s", "at": "2026-07-01T12:00:00Z", "temp": "20"}).to_string();
    let tags = |received_at: Option<&str>| {
        let received_at = received_at.map(|time| time.parse().unwrap());
        let event = dataset.event(&row, received_at).unwrap();
        json!(event.tags)
    };

    assert_eq!(tags(Some("2026-07-01T11:54:59Z")), json!(["clock_ahead"]));
    assert_eq!(tags(Some("2026-07-01T11:55:00Z")), json!([]));
    assert_eq!(tags(Some("2027-07-01T12:00:00Z")), json!([]));
    assert_eq!(tags(None), json!([]));
    assert!(dataset.fields().tags.contains("clock_ahead"));
}
