//! Mutations of the Kafka mappings: one change to a correct template must cause exactly one fault.

use serde_json::{Value, json};
use system_tests::contract::mutation::{with, without};
use system_tests::contract::template::Template;
use system_tests::contract::{kafka, mappings, roles};

use crate::support::{EVERY_FUNCTION, reports};

const MAPPING: &str = "IngestKafkaTopicnone/Properties";

#[test]
fn mapping_without_a_condition() {
    let fault = "IngestKafkaTopicnone: lacks a Condition that is false by default";

    for condition in [Value::Null, json!("OnAws"), json!("NoSuchCondition")] {
        let template = with("IngestKafkaTopicnone/Condition", condition);
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
        (
            "ProvisionedPollerConfig/PollerGroupName",
            Value::Null,
            "a PollerGroupName, without which each topic pays for pollers of its own",
        ),
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

        let fault = format!("IngestKafkaTopicnone: lacks {what}");
        reports(kafka::mappings_are_bounded, &template, &fault);
    }
}

#[test]
fn mappings_with_one_consumer_group() {
    let of = |kind: &str, branch: usize| {
        format!("{MAPPING}/{kind}KafkaEventSourceConfig/Fn::If/{branch}/ConsumerGroupId")
    };
    let template = without(&of("SelfManaged", 1));
    let differs =
        "IngestKafkaTopicnone: lacks a ConsumerGroupId that is the same for MSK and others";
    reports(kafka::mappings_are_bounded, &template, differs);

    let topics = [("KafkaTopics".to_owned(), "a,b".to_owned())].into();
    let mut template = Template::read_with(&topics).unwrap();
    for kind in ["SelfManaged", "AmazonManaged"] {
        let config = format!("{kind}KafkaEventSourceConfig");
        template.0["Resources"]["IngestKafkaTopicb"]["Properties"][&config] =
            template.0["Resources"]["IngestKafkaTopica"]["Properties"][&config].clone();
    }
    reports(
        kafka::mappings_are_bounded,
        &template,
        "IngestKafkaTopicb: shares its ConsumerGroupId, which Lambda refuses",
    );
}

#[test]
fn mapping_outside_its_function() {
    let template = without(&format!("{MAPPING}/Topics"));

    reports(
        mappings::are_events_of_their_functions,
        &template,
        "IngestKafkaTopicnone: write it as an event of its function",
    );
}

#[test]
fn mapping_without_alarm() {
    let cases = [
        ("IngestKafkaLagAlarm", "OffsetLag"),
        ("IngestKafkaParkedAlarm", "parked batches of topics"),
        ("IngestKafkaDestinationAlarm", "batches it cannot park"),
    ];
    for (alarm, what) in cases {
        let fault = format!("IngestKafka: no alarm for {what}");
        reports(EVERY_FUNCTION, &without(alarm), &fault);
    }
}

#[test]
fn role_without_actions_of_its_mappings() {
    let statements = "IngestKafkaRole/Properties/Policies/1/Fn::If/1/PolicyDocument/Statement";
    let blind = without(&format!("{statements}/1/Fn::If/1/Action"));
    assert_eq!(
        roles::grant_what_functions_use(&blind),
        ["kafka:DescribeClusterV2", "kafka:GetBootstrapBrokers"]
            .map(|action| format!("IngestKafkaRole: does not allow {action} on KafkaClusterArn"))
    );
    let careless = without("IngestKafkaRole/Properties/ManagedPolicyArns/1");
    assert_eq!(
        roles::grant_what_functions_use(&careless),
        ["s3:PutObject", "s3:ListBucket"]
            .map(|action| format!("IngestKafkaRole: does not allow {action} on RawBucket"))
    );
}
