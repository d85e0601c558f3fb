//! The United States: which states there are, and the time zone most of each lives in.

use std::sync::LazyLock;

use jiff::tz::TimeZone;

/// State or territory (USPS code), its name, the zone of most of its people (IANA).
///
/// Codes and names: <https://pe.usps.com/text/pub28/28apb.htm>.
pub(super) const STATES: &[(&str, &str, &str)] = &[
    ("AK", "Alaska", "America/Anchorage"),
    ("AL", "Alabama", "America/Chicago"),
    ("AR", "Arkansas", "America/Chicago"),
    ("AS", "American Samoa", "Pacific/Pago_Pago"),
    ("AZ", "Arizona", "America/Phoenix"),
    ("CA", "California", "America/Los_Angeles"),
    ("CO", "Colorado", "America/Denver"),
    ("CT", "Connecticut", "America/New_York"),
    ("DC", "District of Columbia", "America/New_York"),
    ("DE", "Delaware", "America/New_York"),
    ("FL", "Florida", "America/New_York"),
    ("GA", "Georgia", "America/New_York"),
    ("GU", "Guam", "Pacific/Guam"),
    ("HI", "Hawaii", "Pacific/Honolulu"),
    ("IA", "Iowa", "America/Chicago"),
    ("ID", "Idaho", "America/Boise"),
    ("IL", "Illinois", "America/Chicago"),
    ("IN", "Indiana", "America/Indiana/Indianapolis"),
    ("KS", "Kansas", "America/Chicago"),
    ("KY", "Kentucky", "America/New_York"),
    ("LA", "Louisiana", "America/Chicago"),
    ("MA", "Massachusetts", "America/New_York"),
    ("MD", "Maryland", "America/New_York"),
    ("ME", "Maine", "America/New_York"),
    ("MI", "Michigan", "America/Detroit"),
    ("MN", "Minnesota", "America/Chicago"),
    ("MO", "Missouri", "America/Chicago"),
    ("MP", "Northern Mariana Islands", "Pacific/Saipan"),
    ("MS", "Mississippi", "America/Chicago"),
    ("MT", "Montana", "America/Denver"),
    ("NC", "North Carolina", "America/New_York"),
    ("ND", "North Dakota", "America/Chicago"),
    ("NE", "Nebraska", "America/Chicago"),
    ("NH", "New Hampshire", "America/New_York"),
    ("NJ", "New Jersey", "America/New_York"),
    ("NM", "New Mexico", "America/Denver"),
    ("NV", "Nevada", "America/Los_Angeles"),
    ("NY", "New York", "America/New_York"),
    ("OH", "Ohio", "America/New_York"),
    ("OK", "Oklahoma", "America/Chicago"),
    ("OR", "Oregon", "America/Los_Angeles"),
    ("PA", "Pennsylvania", "America/New_York"),
    ("PR", "Puerto Rico", "America/Puerto_Rico"),
    ("RI", "Rhode Island", "America/New_York"),
    ("SC", "South Carolina", "America/New_York"),
    ("SD", "South Dakota", "America/Chicago"),
    ("TN", "Tennessee", "America/Chicago"),
    ("TX", "Texas", "America/Chicago"),
    ("UT", "Utah", "America/Denver"),
    ("VA", "Virginia", "America/New_York"),
    ("VI", "Virgin Islands", "America/St_Thomas"),
    ("VT", "Vermont", "America/New_York"),
    ("WA", "Washington", "America/Los_Angeles"),
    ("WI", "Wisconsin", "America/Chicago"),
    ("WV", "West Virginia", "America/New_York"),
    ("WY", "Wyoming", "America/Denver"),
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
    let index = STATES.binary_search_by_key(&code, |(state, ..)| state).ok()?;
    Some(STATES[index].2)
}

/// The zone of an IANA name, links such as `US/Eastern` included.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    match ZONES.iter().find(|(known, _)| *known == name) {
        Some((_, zone)) => Some(zone.clone()),
        None => TimeZone::get(name).ok(),
    }
}
