use std::collections::BTreeSet;

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

const MAX_BYTES: usize = 255 * 1024;

fn alert(index: usize, key: &str) -> Alert {
    let second = i64::try_from(index).unwrap();
    let at = Timestamp::from_second(1_700_000_000 + second).unwrap();
    Alert {
        alert_id: Id::of_text(&[key, &index.to_string()]),
        cooldown: SignedDuration::ZERO,
        rule: "severe-accident".to_owned(),
        severity: Severity::Critical,
        dataset: "accidents".to_owned(),
        status: AlertStatus::Firing,
        key: key.to_owned(),
        digest: 10,
        events: 1 + index as u64 % 3,
        from: at,
        to: at,
        title: format!("Severe accident {index}"),
        message: "{}".to_owned(),
    }
}

fn planned(alerts: &[Alert], messages: usize) -> Plan {
    plan(&alerts.iter().collect::<Vec<_>>(), messages, MAX_BYTES)
}

fn ids(message: &str) -> Vec<String> {
    let message: Value = serde_json::from_str(message).unwrap();
    let keys = message["keys"].as_array().unwrap().iter();
    let ids = keys.flat_map(|key| key["alert_ids"].as_array().unwrap());
    ids.map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// Returns alerts with distinct keys, each as long as an event id.
fn storm(count: usize) -> Vec<Alert> {
    (0..count).map(|index| alert(index, &format!("{index:032}"))).collect()
}

#[test]
fn few_alerts_are_sent_singly() {
    assert_eq!(planned(&storm(10), 10), Plan { singles: 10, digests: Vec::new() });
    assert_eq!(planned(&[], 10), Plan::default());
    assert_eq!(planned(&storm(3), 0), Plan::default(), "no messages, no alerts");
}

#[test]
fn digest_message_lists_keys_and_examples() {
    let alerts: Vec<_> = (0..8).map(|index| alert(index, ["I-75", "I-71"][index % 2])).collect();

    let plan = planned(&alerts, 3);

    assert_eq!(plan.singles, 2);
    assert_eq!(plan.digests.len(), 1);
    assert_eq!(plan.digests[0].alerts, 2..8);
    let message: Value = serde_json::from_str(&plan.digests[0].message).unwrap();
    insta::assert_json_snapshot!(message);
}

#[test]
fn alert_storm_uses_as_few_digests_as_possible() {
    let plan = planned(&storm(10_000), 10);

    assert_eq!((plan.singles, plan.digests.len()), (5, 5), "a hundred bytes an alert");
    assert!(plan.digests.iter().all(|digest| digest.message.len() <= MAX_BYTES));
}

#[test]
fn alerts_beyond_all_digests_are_left_out() {
    let alerts = storm(10_000);

    let plan = planned(&alerts, 2);

    assert_eq!((plan.singles, plan.digests.len()), (0, 2));
    let reported: usize = plan.digests.iter().map(|digest| ids(&digest.message).len()).sum();
    assert_eq!(reported, plan.digests[1].alerts.end);
    assert!((3_000..10_000).contains(&reported), "{reported}");
}

#[test]
fn long_keys_are_shortened_but_counted_separately() {
    let long = "\u{1}".repeat(100_000);
    let alerts: Vec<_> =
        (0..50).map(|index| alert(index, &format!("{long}{}", index / 5))).collect();

    let plan = planned(&alerts, 1);

    assert_eq!(plan.digests[0].alerts, 0..50);
    let message: Value = serde_json::from_str(&plan.digests[0].message).unwrap();
    assert_eq!(
        message["keys"].as_array().unwrap().len(),
        10,
        "they differ in the part that was cut"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn plan_covers_each_alert_once_within_limits(
        keys in prop::collection::vec("\\PC{0,300}", 1..40),
        count in 0usize..6_000,
        messages in 0usize..8,
    ) {
        let alerts: Vec<_> = (0..count).map(|it| alert(it, &keys[it % keys.len()])).collect();

        let plan = planned(&alerts, messages);

        prop_assert!(plan.singles + plan.digests.len() <= messages);
        let mut next = plan.singles;
        for digest in &plan.digests {
            prop_assert_eq!(digest.alerts.start, next);
            prop_assert!(digest.message.len() <= MAX_BYTES);
            let reported: BTreeSet<_> = ids(&digest.message).into_iter().collect();
            let meant = alerts[digest.alerts.clone()].iter().map(|it| it.alert_id.to_string());
            prop_assert_eq!(reported, meant.collect::<BTreeSet<_>>());
            next = digest.alerts.end;
        }
        prop_assert!(next == count || plan.singles == 0, "alerts left out although not all messages are digests");
    }
}
