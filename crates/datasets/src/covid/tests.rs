use serde_json::json;

use super::*;

fn row(changes: &[(&str, &str)]) -> String {
    let mut row = json!({"date": "2030-01-01", "county": "Autauga", "state": "Alabama",
        "fips": "01001", "cases": "1000", "deaths": "25"});
    for (field, value) in changes {
        row[*field] = json!(value);
    }
    row.to_string()
}

fn read(payload: &str) -> Result<Event<'_>, Rejection> {
    Covid.event(payload, Some(Timestamp::UNIX_EPOCH))
}

#[test]
fn every_column_finds_its_place() {
    insta::assert_json_snapshot!(read(&row(&[])).unwrap());
}

#[test]
fn id_depends_on_county_and_day_only() {
    let id = |changes: &[(&str, &str)]| read(&row(changes)).unwrap().event_id.into_owned();

    assert_eq!(id(&[]), id(&[("cases", "1001"), ("deaths", ""), ("county", "Other")]));
    assert_eq!(id(&[]), id(&[("fips", "1001"), ("state", "al")]));
    assert_ne!(id(&[]), id(&[("date", "2030-01-02")]));
    assert_ne!(id(&[("fips", "")]), id(&[("fips", ""), ("state", "Texas")]));
}

#[test]
fn county_without_code_belongs_to_its_state() {
    let payload = row(&[("fips", ""), ("county", "Unknown"), ("state", "Puerto Rico")]);

    assert_eq!(read(&payload).unwrap().entity, "PR/Unknown");
}

#[test]
fn a_share_of_no_cases_is_no_number() {
    for changes in [&[("cases", "0")][..], &[("deaths", "")]] {
        let payload = row(changes);
        assert_eq!(read(&payload).unwrap().measures.get("case_fatality_pct"), None);
    }
}
