//! Filter of `tributary tap`: the first line of an input is the expression, the rest a record.

use tributary_rules::filter::Filter;

use crate::{Target, seeds};

pub(super) const TARGET: Target = Target { name: "filters", check, seeds: seeds::filters };

/// Maximum length of an expression: operators run their own filters, so a longer one is a mistake
/// and not an attack.
const MAX_BYTES: usize = 400;

thread_local! {
    /// Pairs of opposite filters: at most one of a pair matches a record, and a value that cannot
    /// be compared fails both.
    static OPPOSITES: Vec<[Filter; 2]> = [
        ["event.dataset == 'flood'", "event.dataset != 'flood'"],
        ["event.payload.water_level > 3.0", "event.payload.water_level <= 3.0"],
        ["has(event.payload)", "!has(event.payload)"],
        ["event.payload.list[1] == null", "event.payload.list[1] != null"],
    ]
    .map(|pair| pair.map(|text| Filter::compile("--where", text).unwrap()))
    .into();
}

fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let (expression, record) = text.split_once('\n').unwrap_or((text, ""));
    OPPOSITES.with(|pairs| {
        for pair in pairs {
            let [one, other] = pair.each_ref().map(|filter| filter.holds(record));
            assert!(!(one == Ok(true) && other == Ok(true)), "{pair:?}");
            assert_eq!(one.is_err(), other.is_err(), "{pair:?}");
        }
    });
    if expression.len() > MAX_BYTES {
        return;
    }
    match Filter::compile("--where", expression) {
        Ok(filter) => {
            let held = filter.holds(record);
            assert_eq!(held, filter.holds(record), "a repeated evaluation agrees");
        }
        Err(error) => assert!(error.to_string().starts_with("--where: "), "{error}"),
    }
}
