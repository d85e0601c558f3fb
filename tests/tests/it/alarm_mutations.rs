//! Mutations of alarms: one change to a correct template must cause exactly one fault.

use serde_json::json;
use system_tests::contract::alarms;
use system_tests::contract::mutation::{with, without};
use system_tests::contract::template::Template;

use crate::support::{EVERY_FUNCTION, reports};

#[test]
fn alarm_without_the_ops_topic() {
    let check = alarms::notify_ops_topic;
    let alarm = "AlertsErrorsAlarm/Properties";
    let nobody = "AlertsErrorsAlarm: its AlarmActions do not name OpsTopic";

    reports(check, &without(&format!("{alarm}/AlarmActions")), nobody);
    reports(
        check,
        &with(&format!("{alarm}/AlarmActions"), json!([{ "Ref": "AlertsTopic" }])),
        nobody,
    );
    reports(
        check,
        &with(&format!("{alarm}/ActionsEnabled"), json!(false)),
        "AlertsErrorsAlarm: its actions are not enabled",
    );
    reports(
        check,
        &without(&format!("{alarm}/AlarmDescription")),
        "AlertsErrorsAlarm: lacks an AlarmDescription",
    );
}

#[test]
fn function_without_alarm() {
    let silence = "Alerts: no alarm for silence: `in` below 1, filled with 0";
    let another = json!([{ "Name": "FunctionName", "Value": { "Ref": "Metrics" } }]);
    let fixed =
        with("AlertsIteratorAgeAlarm/Properties/Metrics/Id=judged/Expression", json!("age"));
    let empty = "AlertsSilentAlarm/Properties/Metrics/Id=judged/Expression";
    let relative = "Alerts: no alarm for IteratorAge in terms of StreamRetentionHours";
    let cases = [
        (without("AlertsErrorsAlarm"), "Alerts: no alarm for Errors"),
        (with("AlertsErrorsAlarm/Properties/Dimensions", another), "Alerts: no alarm for Errors"),
        (without("AlertsThrottlesAlarm"), "Alerts: no alarm for Throttles"),
        (without("AlertsUndeliveredAlarm"), "Alerts: no alarm for undelivered records"),
        (without("AlertsDestinationAlarm"), "Alerts: no alarm for batches it cannot park"),
        (without("AlertsScheduleAlarm"), "AlertsSchedule: no alarm for its failures"),
        (without("AlertsStalledAlarm"), "AlertsEvents: no alarm for PolledEventCount"),
        (without("AlertsSilentAlarm"), silence),
        (with(empty, json!("received")), silence),
        (fixed, relative),
        (without("AlertsIteratorAgeAlarm"), relative),
    ];
    for (template, fault) in cases {
        reports(EVERY_FUNCTION, &template, fault);
    }
    assert_eq!(
        EVERY_FUNCTION(&without("AlertsParkedAlarm")),
        ["OnFailureDestinationDeliveredEventCount", "DroppedEventCount"]
            .map(|metric| format!("AlertsEvents: no alarm for {metric}"))
    );
}

#[test]
fn alarm_that_cannot_fire() {
    let silent = "AlertsSilentAlarm/Properties/Metrics/Id";
    let metric = json!({
        "Namespace": "AWS/Lambda", "MetricName": "Invocations",
        "Dimensions": [{ "Name": "FunctionName", "Value": { "Ref": "Alerts" } }],
    });
    reports(
        alarms::can_fire,
        &with(&format!("{silent}=received/MetricStat/Metric"), metric),
        "Alerts: its schedule hides that its stream is silent",
    );
    reports(
        alarms::can_fire,
        &with(&format!("{silent}=judged/Expression"), json!("received")),
        "AlertsSilentAlarm: is below its threshold and does not FILL what is missing",
    );
}

#[test]
fn each_missing_alarm_is_reported() {
    let whole = Template::read().unwrap();
    for (id, _) in whole.of_type("AWS::CloudWatch::Alarm") {
        let template = without(id);
        let faults = [
            EVERY_FUNCTION(&template),
            alarms::watch_every_delivery(&template),
            alarms::watch_every_stream_and_topic(&template),
            alarms::are_one_mail(&template),
        ];
        assert!(faults.iter().any(|faults| !faults.is_empty()), "{id}");
    }
}

#[test]
fn delivery_stream_or_topic_without_alarm() {
    let deliveries = alarms::watch_every_delivery;
    let others = alarms::watch_every_stream_and_topic;

    let behind = "RawDelivery: no alarm for KinesisMillisBehindLatest";
    reports(deliveries, &without("RawDeliveryBehindAlarm"), behind);
    let throttled = "RawDelivery: no alarm for ThrottledGetRecords";
    reports(deliveries, &without("RawDeliveryThrottledAlarm"), throttled);
    let late = "QuarantineDelivery: no alarm for DeliveryToS3.DataFreshness";
    reports(deliveries, &without("QuarantineDeliveryLateAlarm"), late);
    let unfit = "EventsRedelivery: no alarm for FailedConversion.Records";
    reports(deliveries, &without("EventsRedeliveryConversionAlarm"), unfit);
    reports(
        deliveries,
        &with("RawDeliveryBehindAlarm/Properties/Metrics/Id=judged/Expression", json!("behind")),
        "RawDelivery: KinesisMillisBehindLatest is not a share of the retention",
    );
    let write = "RawStream: no alarm for WriteProvisionedThroughputExceeded";
    reports(others, &without("RawStreamWriteThrottledAlarm"), write);
    let topic = "CriticalAlertsTopic: no alarm for NumberOfNotificationsFailed";
    reports(others, &without("CriticalAlertsNotSentAlarm"), topic);
}

#[test]
fn stack_with_a_mail_for_each_alarm() {
    let check = alarms::are_one_mail;

    reports(
        check,
        &with("ExtraAlarm", json!({ "Type": "AWS::CloudWatch::Alarm" })),
        "ExtraAlarm: is not in the composite alarm",
    );
    reports(
        check,
        &without("OpsEmailSubscription/Properties/FilterPolicy"),
        "OpsEmailSubscription: is a mail for each alarm",
    );
    reports(
        check,
        &without("StackAlarm/Properties/AlarmActions"),
        "the composite alarm does not notify OpsTopic",
    );
    reports(check, &without("StackAlarm"), "no composite alarm");
}

#[test]
fn queue_without_alarm() {
    let check = alarms::watch_every_queue;

    reports(check, &without("IngestQueueAgeAlarm"), "IngestQueue: no alarm for what waits in it");
    assert_eq!(
        check(&without("IngestDeadLettersAlarm")),
        [
            "IngestDeadLetterQueue: no alarm for the first message in it",
            "IngestDeadLetterQueue: no alarm for what waits in it",
        ]
    );
    reports(
        check,
        &with("IngestDeadLettersAlarm/Properties/Threshold", json!(10)),
        "IngestDeadLetterQueue: no alarm for the first message in it",
    );
}
