//! Mutations of the Kafka mappings: one change to a correct template must cause exactly one fault.

use serde_json::{Value, json};
use system_tests::contract::mutation::{with, without};
use system_tests::contract::template::Template;
use system_tests::contract::{alarms, kafka, mappings, roles};

const MAPPING: &str = "IngestKafkaTopic2/Properties";

#[track_caller]
fn reports(check: fn(&Template) -> Vec<String>, template: &Template, fault: &str) {
    assert_eq!(check(template), [fault]);
}

#[test]
fn mapping_without_a_condition() {
    let fault = "IngestKafkaTopic2: lacks a Condition that is false by default";

    for condition in [Value::Null, json!("OnAws"), json!("NoSuchCondition")] {
        let template = with("IngestKafkaTopic2/Condition", condition);
        reports(kafka::mappings_are_off_by_default, &template, fault);
    }
}

#[test]
fn kafka_mapping_with_dangerous_default() {
    let retries = "a bound in MaximumRetryAttempts: absent and -1 are ten, or for ever";
    let age = "MaximumRecordAgeInSeconds -1: with an age, what an old topic holds is never read";
    let pollers = "a ProvisionedPollerConfig, without which the rest is ignored";
    let parked = "OnFailure to a bucket: to a queue or topic it keeps no payload";
    let queue = json!({ "Fn::GetAtt": ["IngestQueue", "Arn"] });
    let cases = [
        ("ProvisionedPollerConfig", Value::Null, pollers),
        ("ProvisionedPollerConfig/MaximumPollers", json!(2_001), pollers),
        ("Topics", json!(["a", "b"]), "one topic, and no more"),
        ("BatchSize", Value::Null, "a BatchSize of 1 to 10,000"),
        ("MaximumBatchingWindowInSeconds", json!(301), "MaximumBatchingWindowInSeconds"),
        ("BisectBatchOnFunctionError", json!(false), "BisectBatchOnFunctionError true"),
        ("MaximumRetryAttempts", json!(-1), retries),
        ("MaximumRecordAgeInSeconds", json!(21_600), age),
        ("StartingPosition", json!("LATEST"), "StartingPosition TRIM_HORIZON by default"),
        (
            "FunctionResponseTypes",
            Value::Null,
            "FunctionResponseTypes [ReportBatchItemFailures], without which the answer is ignored",
        ),
        ("DestinationConfig", Value::Null, parked),
        ("DestinationConfig/OnFailure/Destination", queue, parked),
        (
            "MetricsConfig",
            Value::Null,
            "MetricsConfig EventCount, which alone counts dropped and parked records",
        ),
    ];
    for (path, value, what) in cases {
        let template = with(&format!("{MAPPING}/{path}"), value);

        let fault = format!("IngestKafkaTopic2: lacks {what}");
        reports(kafka::mappings_are_bounded, &template, &fault);
    }
}

#[test]
fn mappings_with_one_consumer_group() {
    let of = |number: u8, kind: &str, branch: usize| {
        format!(
            "IngestKafkaTopic{number}/Properties/{kind}KafkaEventSourceConfig/Fn::If/{branch}/ConsumerGroupId"
        )
    };
    let mut template = without(&of(2, "SelfManaged", 1));
    let differs = "IngestKafkaTopic2: lacks a ConsumerGroupId that is the same for MSK and others";
    reports(kafka::mappings_are_bounded, &template, differs);

    for kind in ["SelfManaged", "AmazonManaged"] {
        let config = format!("{kind}KafkaEventSourceConfig");
        template.0["Resources"]["IngestKafkaTopic2"]["Properties"][&config] =
            template.0["Resources"]["IngestKafkaTopic1"]["Properties"][&config].clone();
    }
    reports(
        kafka::mappings_are_bounded,
        &template,
        "IngestKafkaTopic2: shares its ConsumerGroupId, which Lambda refuses",
    );
}

#[test]
fn mapping_outside_its_function() {
    let template = without(&format!("{MAPPING}/Topics"));

    reports(
        mappings::are_events_of_their_functions,
        &template,
        "IngestKafkaTopic2: write it as an event of its function",
    );
}

#[test]
fn mapping_without_alarm() {
    reports(
        alarms::watch_every_function,
        &without("IngestKafkaLagAlarm"),
        "IngestKafka: no alarm for OffsetLag",
    );
    let metrics = "IngestKafkaParkedAlarm/Properties/Metrics/Id=parked2";
    let another =
        json!([{ "Name": "EventSourceMappingUUID", "Value": { "Ref": "IngestKafkaTopic1" } }]);
    reports(
        alarms::watch_every_function,
        &with(&format!("{metrics}/MetricStat/Metric/Dimensions"), another),
        "IngestKafkaTopic2: no alarm for what Lambda gives up on",
    );
}

#[test]
fn role_without_actions_of_its_mappings() {
    let policy = |at: usize| format!("IngestKafkaRole/Properties/Policies/{at}/Fn::If/1");
    let once_each = |fault: &str| vec![fault.to_owned(); 4];

    let blind = without(&format!("{}/PolicyDocument/Statement/Sid=FindTheBrokers", policy(2)));
    let faults = roles::grant_what_functions_use(&blind);
    for action in ["kafka:DescribeClusterV2", "kafka:GetBootstrapBrokers"] {
        let fault = format!("IngestKafkaRole: does not allow {action} on KafkaClusterArn");
        let found: Vec<_> = faults.iter().filter(|it| **it == fault).cloned().collect();
        assert_eq!(found, once_each(&fault));
    }
    let careless =
        without(&format!("{}/PolicyDocument/Statement/Sid=ParkFailedBatches", policy(1)));
    assert_eq!(
        roles::grant_what_functions_use(&careless),
        once_each("IngestKafkaRole: does not allow s3:PutObject on RawBucket")
    );
}
