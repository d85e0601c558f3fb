//! The United States: which states there are, and the time zone most of each lives in.

use std::sync::LazyLock;

use jiff::tz::TimeZone;

/// State or territory (USPS code), the zone of most of its people (IANA).
///
/// Codes: <https://pe.usps.com/text/pub28/28apb.htm>.
const STATES: &[(&str, &str)] = &[
    ("AK", "America/Anchorage"),
    ("AL", "America/Chicago"),
    ("AR", "America/Chicago"),
    ("AS", "Pacific/Pago_Pago"),
    ("AZ", "America/Phoenix"),
    ("CA", "America/Los_Angeles"),
    ("CO", "America/Denver"),
    ("CT", "America/New_York"),
    ("DC", "America/New_York"),
    ("DE", "America/New_York"),
    ("FL", "America/New_York"),
    ("GA", "America/New_York"),
    ("GU", "Pacific/Guam"),
    ("HI", "Pacific/Honolulu"),
    ("IA", "America/Chicago"),
    ("ID", "America/Boise"),
    ("IL", "America/Chicago"),
    ("IN", "America/Indiana/Indianapolis"),
    ("KS", "America/Chicago"),
    ("KY", "America/New_York"),
    ("LA", "America/Chicago"),
    ("MA", "America/New_York"),
    ("MD", "America/New_York"),
    ("ME", "America/New_York"),
    ("MI", "America/Detroit"),
    ("MN", "America/Chicago"),
    ("MO", "America/Chicago"),
    ("MP", "Pacific/Saipan"),
    ("MS", "America/Chicago"),
    ("MT", "America/Denver"),
    ("NC", "America/New_York"),
    ("ND", "America/Chicago"),
    ("NE", "America/Chicago"),
    ("NH", "America/New_York"),
    ("NJ", "America/New_York"),
    ("NM", "America/Denver"),
    ("NV", "America/Los_Angeles"),
    ("NY", "America/New_York"),
    ("OH", "America/New_York"),
    ("OK", "America/Chicago"),
    ("OR", "America/Los_Angeles"),
    ("PA", "America/New_York"),
    ("PR", "America/Puerto_Rico"),
    ("RI", "America/New_York"),
    ("SC", "America/New_York"),
    ("SD", "America/Chicago"),
    ("TN", "America/Chicago"),
    ("TX", "America/Chicago"),
    ("UT", "America/Denver"),
    ("VA", "America/New_York"),
    ("VI", "America/St_Thomas"),
    ("VT", "America/New_York"),
    ("WA", "America/Los_Angeles"),
    ("WI", "America/Chicago"),
    ("WV", "America/New_York"),
    ("WY", "America/Denver"),
];

/// The zones that nearly every row names, looked up once.
static ZONES: LazyLock<Vec<(&str, TimeZone)>> = LazyLock::new(|| {
    ["US/Eastern", "US/Central", "US/Mountain", "US/Pacific"]
        .into_iter()
        .filter_map(|name| Some((name, TimeZone::get(name).ok()?)))
        .collect()
});

/// The zone of most people in a state; `None` for a code that is no state's.
pub(super) fn zone_of_state(code: &str) -> Option<&'static str> {
    let index = STATES.binary_search_by_key(&code, |(state, _)| state).ok()?;
    Some(STATES[index].1)
}

/// The zone of an IANA name, links such as `US/Eastern` included.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    match ZONES.iter().find(|(known, _)| *known == name) {
        Some((_, zone)) => Some(zone.clone()),
        None => TimeZone::get(name).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_sorted_and_their_zones_exist() {
        assert!(STATES.is_sorted());
        for (state, name) in STATES {
            assert!(zone(name).is_some(), "{state}: {name}");
            assert_eq!(zone_of_state(state), Some(*name));
        }
    }
}
