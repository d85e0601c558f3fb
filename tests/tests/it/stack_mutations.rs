//! Mutations of storage, catalogue, alarms and deployment: one change to a correct template must
//! cause exactly one fault.

use serde_json::{Value, json};
use system_tests::contract::mutation::{changed, with, without};
use system_tests::contract::template::Template;
use system_tests::contract::{alarms, catalogue, deployment, roles, samples, storage};

use crate::support::{Check, reports};

const EVENTS: Check = |template| {
    catalogue::columns_are_the_fields(template, "events", &samples::event().unwrap_or_default())
};
const QUARANTINE: Check = |template| {
    let bad_row = samples::bad_row().unwrap_or_default();
    catalogue::columns_are_the_fields(template, "quarantine", &bad_row)
};
const PROJECTED: Check = |template| catalogue::partitions_are_projected(template, "events");
const LOCAL: Check = |template| deployment::runs_locally(template, &settings(""));

/// Returns a `samconfig.toml` with one more line for `prod`.
fn settings(prod: &str) -> toml::Table {
    let text = format!(
        "[default.deploy.parameters]\n\
         [local.deploy.parameters]\nparameter_overrides = \"Target=local\"\n\
         [prod.deploy.parameters]\n{prod}"
    );
    text.parse().unwrap_or_default()
}

#[test]
fn open_or_unbounded_bucket() {
    let rules = "Properties/LifecycleConfiguration/Rules/Id=read-once";
    let cases = [
        ("Properties/BucketEncryption".to_owned(), "BucketEncryption"),
        (
            "Properties/PublicAccessBlockConfiguration/BlockPublicPolicy".to_owned(),
            "all four of PublicAccessBlockConfiguration",
        ),
        ("Properties/VersioningConfiguration".to_owned(), "versioning"),
        (
            format!("{rules}/NoncurrentVersionExpiration"),
            "a lifecycle rule with NoncurrentVersionExpiration, without which versions pile up",
        ),
        (
            format!("{rules}/AbortIncompleteMultipartUpload"),
            "a lifecycle rule with AbortIncompleteMultipartUpload",
        ),
    ];
    for (path, what) in cases {
        let template = without(&format!("SourceBucket/{path}"));

        reports(storage::buckets_are_safe, &template, &format!("SourceBucket: lacks {what}"));
    }
    reports(
        storage::buckets_are_safe,
        &without("SourceBucketPolicy/Properties/PolicyDocument/Statement/Sid=TlsOnly/Condition"),
        "SourceBucket: lacks a policy that denies access without TLS",
    );
}

#[test]
fn unencrypted_stream_queue_or_topic() {
    let streams = storage::streams_are_encrypted;
    let topics = storage::topics_are_encrypted;

    reports(
        streams,
        &without("RawStream/Properties/StreamEncryption"),
        "RawStream: lacks StreamEncryption by KMS",
    );
    reports(
        streams,
        &without("RawStream/Properties/RetentionPeriodHours"),
        "RawStream: lacks RetentionPeriodHours",
    );
    reports(
        streams,
        &without("RawStream/Properties/StreamModeDetails"),
        "RawStream: lacks a StreamMode",
    );
    reports(
        storage::queues_are_encrypted,
        &without("IngestDeadLetterQueue/Properties/SqsManagedSseEnabled"),
        "IngestDeadLetterQueue: lacks SqsManagedSseEnabled or a KMS key",
    );
    reports(
        topics,
        &with("OpsTopic/Properties/KmsMasterKeyId", json!("alias/aws/sns")),
        "OpsTopic: lacks KmsMasterKeyId, a key of the template",
    );
    let closed = "TopicKey/Properties/KeyPolicy/Statement/Sid=AlarmsReachTheOpsTopic/Action";
    assert_eq!(
        topics(&with(closed, json!("kms:Decrypt"))),
        ["AlertsTopic", "OpsTopic", "CriticalAlertsTopic", "WarningAlertsTopic"].map(|topic| {
            format!("TopicKey: lacks a statement that lets CloudWatch use it for {topic}")
        })
    );
}

#[test]
fn open_unbounded_or_unwatched_table() {
    let cases = [
        ("Properties/SSESpecification/SSEEnabled", json!(false), "SSESpecification"),
        ("Properties/BillingMode", json!("PROVISIONED"), "BillingMode PAY_PER_REQUEST"),
        (
            "Properties/PointInTimeRecoverySpecification",
            Value::Null,
            "PointInTimeRecoverySpecification",
        ),
        (
            "Properties/TimeToLiveSpecification/Enabled",
            json!(false),
            "TimeToLiveSpecification, without which it grows for ever",
        ),
        ("DeletionPolicy", Value::Null, "a DeletionPolicy and an UpdateReplacePolicy"),
    ];
    for (path, value, what) in cases {
        let template = with(&format!("AlertClaims/{path}"), value);

        reports(storage::tables_are_safe, &template, &format!("AlertClaims: lacks {what}"));
    }
    reports(
        alarms::watch_every_table,
        &without("AlertClaimsThrottledAlarm"),
        "AlertClaims: no alarm for WriteThrottleEvents",
    );
    reports(
        alarms::watch_every_table,
        &without("AlertStateIndexThrottledAlarm"),
        "AlertState: no alarm for WriteThrottleEvents of its index due",
    );
}

#[test]
fn delivery_that_cannot_be_read_again() {
    let cases = [
        (
            "QuarantineDelivery/Properties/DeliveryStreamEncryptionConfigurationInput",
            "encryption at rest",
        ),
        (
            "RawDelivery/Properties/ExtendedS3DestinationConfiguration/ProcessingConfiguration",
            "AppendDelimiterToRecord; Firehose runs records together",
        ),
        (
            "EventsDelivery/Properties/ExtendedS3DestinationConfiguration/BufferingHints",
            "what conversion to Parquet demands: UNCOMPRESSED and at least 64 MB",
        ),
        (
            "EventsDelivery/Properties/ExtendedS3DestinationConfiguration/CompressionFormat",
            "what conversion to Parquet demands: UNCOMPRESSED and at least 64 MB",
        ),
        (
            "RawDelivery/Properties/ExtendedS3DestinationConfiguration/ErrorOutputPrefix",
            "ErrorOutputPrefix",
        ),
        (
            "RawDelivery/Properties/ExtendedS3DestinationConfiguration/CloudWatchLoggingOptions",
            "CloudWatchLoggingOptions",
        ),
        (
            "RawDelivery/Properties/ExtendedS3DestinationConfiguration/BucketARN",
            "a bucket of the template",
        ),
    ];
    for (path, what) in cases {
        let id = path.split('/').next().unwrap_or_default();

        reports(storage::deliveries_are_readable, &without(path), &format!("{id}: lacks {what}"));
    }
}

#[test]
fn column_on_one_side_only() {
    let columns = "EventsTable/Properties/TableInput/StorageDescriptor/Columns";
    let dropped = changed(columns, |columns| {
        columns.as_array_mut().and_then(Vec::pop);
    });

    reports(EVENTS, &dropped, "EventsTable: lacks a column for the field window");
    let added = changed(columns, |columns| {
        let column = json!({ "Name": "speed", "Type": "double" });
        columns.as_array_mut().map(|columns| columns.push(column)).unwrap_or_default();
    });
    reports(EVENTS, &added, "EventsTable: the column speed is no field");
    let renamed = with(
        "QuarantineTable/Properties/TableInput/StorageDescriptor/Columns/Name=code/Name",
        json!("reason"),
    );
    assert_eq!(
        QUARANTINE(&renamed),
        [
            "QuarantineTable: lacks a column for the field code",
            "QuarantineTable: the column reason is no field",
        ]
    );
    reports(
        EVENTS,
        &with("EventsTable/Properties/TableInput/Name", json!("e")),
        "the catalogue has no table events",
    );
}

#[test]
fn column_that_cannot_hold_its_field() {
    let cases = [
        ("location", "struct<lat:double,lon:double>", "lacks a column for the field location.cell"),
        (
            "window",
            "struct<spec:string,start:string,end:string,revision:int,late:int>",
            "the column window.late is no field",
        ),
        ("measures", "map<string,int>", "measures.temperature_c of type \"int\" cannot hold 27.5"),
        (
            "attributes",
            "map<string,array<string>>",
            "attributes.id of type \"array<string>\" cannot hold \"A-1\"",
        ),
        ("tags", "string", "tags of type \"string\" cannot hold [\"night\"]"),
        ("tags", "array<int>", "tags[] of type \"int\" cannot hold \"night\""),
        (
            "event_time",
            "timestamp",
            "event_time of type \"timestamp\" cannot hold \"1970-01-01T00:00:00Z\"",
        ),
    ];
    for (column, kind, what) in cases {
        let path = format!(
            "EventsTable/Properties/TableInput/StorageDescriptor/Columns/Name={column}/Type"
        );

        reports(EVENTS, &with(&path, json!(kind)), &format!("EventsTable: {what}"));
    }
}

#[test]
fn partition_without_projection() {
    let input = "EventsTable/Properties/TableInput";
    let location = format!("{input}/Parameters/storage.location.template/Fn::Sub");
    let elsewhere = "s3://${AnalyticsBucket}/readings/dt=${!dt}/";
    let cases = [
        (
            format!("{input}/Parameters/projection.enabled"),
            Value::Null,
            "lacks projection.enabled \"true\"".into(),
        ),
        (
            format!("{input}/Parameters/projection.dt.range"),
            Value::Null,
            "lacks projection.dt.range".into(),
        ),
        (
            format!("{input}/Parameters/projection.dt.format"),
            Value::Null,
            "lacks projection.dt.format yyyy-MM-dd".into(),
        ),
        (format!("{input}/PartitionKeys"), json!([]), "its first partition key is not dt".into()),
        (location.clone(), json!(elsewhere), format!("no delivery stream writes to {elsewhere}")),
        (
            location,
            json!("s3://${AnalyticsBucket}/events/dt=${dt}/"),
            "its storage.location.template does not place dt".into(),
        ),
    ];
    for (path, value, what) in cases {
        reports(PROJECTED, &with(&path, value), &format!("EventsTable: {what}"));
    }
}

#[test]
fn each_missing_statement_is_reported() {
    let whole = Template::read().unwrap();
    let page = roles::page_rows(&whole).join("\n");
    let policies = ["AWS::IAM::Role", "AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"];
    for row in roles::page_rows(&whole) {
        let shorter = page.replacen(&row, "", 1);
        let faults = roles::are_on_the_page(&whole, &shorter);
        assert_eq!(faults, [format!("docs/PERMISSIONS.md lacks {row}")]);
    }
    for (id, _) in policies.into_iter().flat_map(|kind| whole.of_type(kind)) {
        let faults = roles::are_on_the_page(&without(id), &page);
        assert!(!faults.is_empty(), "{id}");
        let named = format!("the template does not grant | `{id}` |");
        assert!(faults.iter().all(|fault| fault.starts_with(&named)), "{id}: {faults:?}");
    }
}

#[test]
fn bucket_name_that_can_repeat() {
    let check = deployment::bucket_names_are_unique;

    reports(
        check,
        &with("RawBucket/Properties/BucketName/Fn::Sub/1/B", json!("b")),
        "RawBucket: its name does not end in the stack's own part of its id",
    );
    reports(
        check,
        &without("RawBucket/DependsOn"),
        "RawBucket: does not wait for the check of the stack's name",
    );
    reports(
        check,
        &without("StackNameCheck/Properties/AllowedPattern"),
        "StackNameCheck: lacks the pattern of a stack's name",
    );
}

#[test]
fn serde_that_fails_on_doubled_keys() {
    reports(
        catalogue::malformed_rows_are_ignored,
        &without(
            "RawTable/Properties/TableInput/StorageDescriptor/SerdeInfo/Parameters/ignore.malformed.json",
        ),
        "RawTable: lacks ignore.malformed.json \"true\"",
    );
}

#[test]
fn missing_or_undescribed_output() {
    let mut template = Template::read().unwrap();
    template.0["Outputs"]["AlertsTopicArn"]["Description"] = Value::Null;

    reports(
        deployment::outputs_are_described,
        &template,
        "the output AlertsTopicArn lacks a Description",
    );
    template.0["Outputs"].as_object_mut().unwrap().remove("AlertsTopicArn");
    reports(deployment::outputs_are_described, &template, "the output AlertsTopicArn is missing");
}

#[test]
fn resource_unknown_to_the_local_aws() {
    let query = |condition: Value| {
        with("Query", json!({ "Type": "AWS::Athena::NamedQuery", "Condition": condition }))
    };
    let fault = "Query: lacks a Condition that is false locally, where \"AWS::Athena::NamedQuery\" is unknown";

    assert_eq!(LOCAL(&query(json!("OnAws"))), [""; 0]);
    reports(LOCAL, &query(Value::Null), fault);
    reports(LOCAL, &query(json!("WindowsInDynamoDb")), fault);
    reports(LOCAL, &query(json!("NoSuchCondition")), fault);
}

#[test]
fn local_build_that_differs_from_its_stack() {
    let template = Template::read().unwrap();
    let faults = |exclude: &str| {
        let text = format!("[local.build.parameters]\nexclude = [{exclude}]");
        deployment::builds_locally(&template, &text.parse().unwrap())
    };

    assert_eq!(faults("\"WindowsCassandra\""), [""; 0]);
    assert_eq!(faults(""), ["WindowsCassandra: is built locally, where no stack has it"]);
    assert_eq!(
        faults("\"Alerts\", \"WindowsCassandra\", \"Widows\""),
        [
            "Alerts: is left out of the local build",
            "samconfig.toml: exclude names no function Widows",
        ]
    );
}

#[test]
fn setting_that_the_template_rejects() {
    let template = Template::read().unwrap();
    let faults = |prod: &str| deployment::settings_are_parameters(&template, &settings(prod));

    assert_eq!(faults("parameter_overrides = \"Target=aws ShardCount=2\""), [""; 0]);
    assert_eq!(
        faults("parameter_overrides = [\"Tagret=aws\", \"Target=moon\", \"ShardCount=0\"]"),
        [
            "samconfig.toml: prod.deploy: ShardCount cannot be 0",
            "samconfig.toml: prod.deploy: the template has no parameter Tagret",
            "samconfig.toml: prod.deploy: Target cannot be moon",
        ]
    );
    assert_eq!(
        faults("parameter_overrides = \"ShardCount=many\""),
        ["samconfig.toml: prod.deploy: ShardCount is a number, not many"]
    );
    assert_eq!(
        faults("parameter_overrides = \"ShardCount\""),
        ["samconfig.toml: prod.deploy: ShardCount is no Name=value"]
    );
    assert_eq!(
        deployment::settings_are_parameters(&template, &toml::Table::new()),
        ["default", "local", "prod"]
            .map(|name| format!("samconfig.toml: lacks the environment {name}"))
    );
}
