//! Readings that a rule about windows needs, against those that a window has at the usual interval.

use tributary_model::domain::{Fields, NumberSet};

use super::facts::Facts;
use super::{Code, Fault, Level};
use crate::predicate::Predicate;

/// Returns a warning if a condition can hold, but not in a window with as many readings as the
/// dataset's usual interval leaves room for.
///
/// It is no error: a device may send more often than is usual.
pub(super) fn fault(fields: &Fields, predicate: &Predicate) -> Option<Fault> {
    let (interval, readings) = (fields.interval?, fields.usual_readings?);
    Facts::of(fields).assume(predicate, true)?;
    let usual = with_readings(fields, readings);
    if Facts::of(&usual).assume(predicate, true).is_some() {
        return None;
    }
    let plural = if readings == 1 { "" } else { "s" };
    let message = format!(
        "needs more readings than a window of {} has: {readings} reading{plural} at the usual \
         interval of {interval:#}",
        fields.owner()
    );
    let offset = predicate.offset;
    Some(Fault { level: Level::Warning, code: Code::TooFewReadings, offset, message })
}

/// Returns the fields of windows of at most this many readings. One reading has no rate, and no
/// deviation.
fn with_readings(fields: &Fields, readings: u32) -> Fields {
    let mut fields = fields.clone();
    for (name, numbers) in &mut fields.measures {
        if name == "count" || name.starts_with("count_") {
            *numbers = numbers.and(&NumberSet::whole(1.0, readings.into()));
        } else if readings < 2 && name.ends_with("_per_h") {
            *numbers = NumberSet::whole(1.0, 0.0);
        } else if readings < 2 && name.ends_with("_std") {
            *numbers = NumberSet::of(0.0);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::check;
    use crate::shipped;

    #[test]
    fn rule_needing_more_readings_is_warned() {
        let text = tributary_config::ALERTS;
        let alone = |id: &str| {
            let rule = text.split("[[rules]]").find(|it| it.contains(&format!("id = \"{id}\"")));
            format!("[[rules]]{}", rule.unwrap())
        };
        let reported = |text: &str| -> Vec<String> {
            let checked = check(text, &shipped::schemas(), &shipped::windows());
            assert!(checked.is_usable(), "{:?}", checked.findings);
            assert!(checked.findings.iter().all(|it| it.code == Code::TooFewReadings));
            checked.findings.into_iter().map(|it| it.message).collect()
        };
        let rise = alone("flood-fast-rise");

        assert_eq!(reported(&rise), Vec::<String>::new());
        let message = "needs more readings than a window of flood-15m has: \
             1 reading at the usual interval of 15m";
        assert_eq!(reported(&rise.replace("flood-30m", "flood-15m")), [message]);
        let more = rise.replace("count >= 2.0", "count >= 3.0");
        assert_eq!(reported(&more), [message.replace("15m has: 1 reading", "30m has: 2 readings")]);
    }
}
