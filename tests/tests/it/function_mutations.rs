//! Mutations of functions, mappings, environments and roles: one change to a correct template must
//! cause exactly one fault.

use serde_json::{Value, json};
use system_tests::contract::environment::{READERS, Reader};
use system_tests::contract::mutation::{changed, with, without};
use system_tests::contract::template::Template;
use system_tests::contract::{environment, functions, mappings, roles};

use crate::support::{Check, reports};

const CRATES: [&str; 8] = [
    "alerts",
    "ingest-http",
    "ingest-kafka",
    "ingest-s3",
    "metrics",
    "transform",
    "windows",
    "windows-cassandra",
];

const ARE_THE_CRATES: Check =
    |template| functions::are_the_crates(template, &CRATES.map(str::to_owned));
const READ: Check = |template| environment::is_what_the_code_reads(template, READERS);
const START: Check = |template| environment::starts_each_function(template, READERS);

#[test]
fn crate_without_its_function() {
    let binary = "Alerts/Metadata/BuildProperties/Binary";

    assert_eq!(
        ARE_THE_CRATES(&with(binary, json!("metrics"))),
        [
            "functions/alerts: no function has it as its Binary",
            "functions/metrics: is the Binary of Metrics and Alerts",
        ]
    );
    assert_eq!(
        ARE_THE_CRATES(&with(binary, json!("widows"))),
        [
            "functions/alerts: no function has it as its Binary",
            "Alerts: its Binary \"widows\" is no crate of functions/",
        ]
    );
}

#[test]
fn incomplete_function() {
    let cases = [
        ("Metadata/BuildMethod", json!("makefile"), "BuildMethod rust-cargolambda"),
        (
            "Properties/FunctionName",
            json!("alerts"),
            "a FunctionName of the stack name and the binary",
        ),
        ("Properties/Runtime", json!("provided.al2"), "Runtime provided.al2023"),
        (
            "Properties/Architectures",
            json!(["arm64"]),
            "Architectures from the parameter Architecture",
        ),
        ("Properties/Tracing", json!("PassThrough"), "Tracing Active"),
        ("Properties/Timeout", Value::Null, "a Timeout of 1 to 900 s"),
        ("Properties/Timeout", json!(901), "a Timeout of 1 to 900 s"),
        ("Properties/MemorySize", Value::Null, "a MemorySize of 128 to 10,240 MB"),
    ];
    for (path, value, what) in cases {
        let template = with(&format!("Alerts/{path}"), value);

        reports(functions::are_complete, &template, &format!("Alerts: lacks {what}"));
    }
}

#[test]
fn shared_missing_or_open_role() {
    let check = functions::have_roles_of_their_own;

    let shared = with("Alerts/Properties/Role", json!({ "Fn::GetAtt": ["MetricsRole", "Arn"] }));
    assert_eq!(
        check(&shared),
        [
            "Metrics: shares its Role MetricsRole with Alerts",
            "Alerts: shares its Role MetricsRole with Metrics",
        ]
    );
    let delivery = "RawDelivery/Properties/KinesisStreamSourceConfiguration/RoleARN";
    let shared = with(delivery, json!({ "Fn::GetAtt": ["AlertsRole", "Arn"] }));
    reports(check, &shared, "Alerts: shares its Role AlertsRole with RawDelivery");
    let missing = without("Alerts/Properties/Role");
    reports(check, &missing, "Alerts: lacks an explicit Role");
    let open = with(
        "AlertsRole/Properties/AssumeRolePolicyDocument/Statement/0/Principal",
        json!({ "AWS": "*" }),
    );
    reports(check, &open, "AlertsRole: is to trust lambda.amazonaws.com and nobody else");
    let ignored = with("Alerts/Properties/Policies", json!(["AmazonSNSFullAccess"]));
    reports(check, &ignored, "Alerts: has Policies, which a function with a Role does not get");
}

#[test]
fn function_url_without_signature() {
    let check = functions::urls_ask_for_a_signature;
    let config = "IngestHttp/Properties/FunctionUrlConfig";

    for open in
        [with(&format!("{config}/AuthType"), json!("NONE")), without(&format!("{config}/AuthType"))]
    {
        reports(check, &open, "IngestHttp: its FunctionUrlConfig lacks AuthType AWS_IAM");
    }
    let properties = json!({ "Action": "lambda:InvokeFunctionUrl", "Principal": "*" });
    let resource = json!({ "Type": "AWS::Lambda::Permission", "Properties": properties });
    reports(check, &with("Open", resource), "Open: lets anybody in");
    let resource = json!({ "Type": "AWS::Lambda::Url", "Properties": { "AuthType": "NONE" } });
    reports(
        check,
        &with("Open", resource),
        "Open: write it as the FunctionUrlConfig of its function",
    );
}

#[test]
fn missing_shared_or_unexpiring_log_group() {
    let check = functions::have_log_groups_with_retention;

    reports(
        check,
        &without("AlertsLogs/Properties/RetentionInDays"),
        "AlertsLogs: lacks RetentionInDays",
    );
    reports(
        check,
        &without("Alerts/Properties/LoggingConfig"),
        "Alerts: its LoggingConfig names no LogGroup of the template",
    );
    let shared = with("Alerts/Properties/LoggingConfig/LogGroup", json!({ "Ref": "MetricsLogs" }));
    assert_eq!(
        check(&shared),
        [
            "Metrics: shares its LogGroup MetricsLogs with Alerts",
            "Alerts: shares its LogGroup MetricsLogs with Metrics",
        ]
    );
}

#[test]
fn alternatives_that_differ() {
    let check = functions::alternatives_are_alike;

    let batch = "WindowsCassandra/Properties/Events/Events/Properties/BatchSize";
    reports(
        check,
        &with(batch, json!(10)),
        "WindowsCassandra: property Events differs from Windows",
    );
    let timeout = without("Windows/Properties/Timeout");
    reports(check, &timeout, "WindowsCassandra: property Timeout differs from Windows");
}

#[test]
fn alternatives_in_one_stack() {
    let both = with("WindowsCassandra/Condition", json!("WindowsInCassandra"));

    assert_eq!(
        functions::have_roles_of_their_own(&both),
        [
            "Windows: shares its Role WindowsRole with WindowsCassandra",
            "WindowsCassandra: shares its Role WindowsRole with Windows",
        ]
    );
    assert_eq!(
        functions::have_log_groups_with_retention(&both),
        [
            "Windows: shares its LogGroup WindowsLogs with WindowsCassandra",
            "WindowsCassandra: shares its LogGroup WindowsLogs with Windows",
        ]
    );
    reports(
        START,
        &both,
        "WindowsCassandra: is not in a stack with [(\"WindowStore\", \"keyspaces\")]",
    );
}

#[test]
fn stream_mapping_with_dangerous_default() {
    let for_ever = "absent and -1 are for ever";
    let retries = format!("a bound in MaximumRetryAttempts: {for_ever}");
    let age = format!("a bound in MaximumRecordAgeInSeconds: {for_ever}");
    let responses =
        "FunctionResponseTypes [ReportBatchItemFailures], without which the answer is ignored";
    let failures = "OnFailure to a bucket (Type S3): to a queue or topic it keeps no payload";
    let start = "StartingPosition TRIM_HORIZON: LATEST misses records while the mapping is made";
    let cases = [
        ("BatchSize", Value::Null, "a BatchSize of 1 to 10,000"),
        ("BatchSize", json!(10_001), "a BatchSize of 1 to 10,000"),
        ("MaximumBatchingWindowInSeconds", Value::Null, "MaximumBatchingWindowInSeconds"),
        ("BisectBatchOnFunctionError", json!(false), "BisectBatchOnFunctionError true"),
        ("MaximumRetryAttempts", Value::Null, &retries),
        ("MaximumRetryAttempts", json!(-1), &retries),
        ("MaximumRecordAgeInSeconds", Value::Null, &age),
        ("MaximumRecordAgeInSeconds", json!(-1), &age),
        ("StartingPosition", json!("LATEST"), start),
        ("FunctionResponseTypes", Value::Null, responses),
        ("DestinationConfig", Value::Null, failures),
        (
            "DestinationConfig/OnFailure",
            json!({ "Type": "SQS", "Destination": { "Fn::GetAtt": ["IngestQueue", "Arn"] } }),
            failures,
        ),
        (
            "MetricsConfig",
            Value::Null,
            "MetricsConfig EventCount, which alone counts dropped and parked records",
        ),
    ];
    for (path, value, what) in cases {
        let template = with(&format!("Alerts/Properties/Events/Events/Properties/{path}"), value);

        reports(
            mappings::of_streams_are_bounded,
            &template,
            &format!("Alerts.Events: lacks {what}"),
        );
    }
    reports(
        mappings::of_streams_are_bounded,
        &with(
            "Alerts/Properties/Events/Events/Properties/MaximumRecordAgeInSeconds",
            json!(86_400),
        ),
        "Alerts.Events: MaximumRecordAgeInSeconds is 86400, for a retention of 24 h it should be 82800",
    );
    reports(
        mappings::are_events_of_their_functions,
        &with("Another", json!({ "Type": "AWS::Lambda::EventSourceMapping" })),
        "Another: write it as an event of its function",
    );
}

#[test]
fn queue_mapping_that_loses_or_repeats() {
    let check = mappings::of_queues_redrive;
    let mapping = "IngestS3/Properties/Events/Objects/Properties";

    reports(
        check,
        &without(&format!("{mapping}/FunctionResponseTypes")),
        "IngestS3.Objects: lacks FunctionResponseTypes [ReportBatchItemFailures]",
    );
    reports(
        check,
        &without(&format!("{mapping}/BatchSize")),
        "IngestS3.Objects: lacks a BatchSize",
    );
    reports(
        check,
        &with("IngestQueue/Properties/VisibilityTimeout", json!(1_799)),
        "IngestQueue: its VisibilityTimeout of 1799 s is below six times the 300 s of IngestS3",
    );
    reports(
        check,
        &without("IngestQueue/Properties/RedrivePolicy/deadLetterTargetArn"),
        "IngestQueue: lacks a RedrivePolicy to a dead-letter queue",
    );
    reports(
        check,
        &with("IngestQueue/Properties/RedrivePolicy/maxReceiveCount", json!(1)),
        "IngestQueue: lacks a maxReceiveCount of 5 or more",
    );
}

#[test]
fn variable_on_one_side_only() {
    let variables = "Alerts/Properties/Environment/Variables";

    reports(
        READ,
        &with(&format!("{variables}/COOLDOWN"), json!("1")),
        "Alerts: its code does not read the variable COOLDOWN",
    );
    let template = changed(variables, |variables| {
        variables.as_object_mut().and_then(|it| it.remove("ALERTS_TOPIC_ARN"));
    });
    reports(READ, &template, "Alerts: lacks the variable ALERTS_TOPIC_ARN");
    reports(
        START,
        &template,
        "Alerts: does not start with its environment: environment: ALERTS_TOPIC_ARN is missing",
    );
}

#[test]
fn variable_missing_from_the_template() {
    let readers: Vec<Reader> = READERS
        .iter()
        .map(|reader| match reader.binary {
            "metrics" => Reader {
                binary: "metrics",
                read: |from| {
                    from("METRICS_NAMESPACE")
                        .or_else(|| from("FALLBACK"))
                        .map(drop)
                        .ok_or_else(String::new)
                },
                ..*reader
            },
            _ => *reader,
        })
        .collect();

    assert_eq!(
        environment::is_what_the_code_reads(&Template::read().unwrap(), &readers),
        [
            "Metrics: lacks the variable FALLBACK",
            "Metrics: its code does not read the variable CONFIG_BUCKET",
            "Metrics: its code does not read the variable CONFIG_REFRESH_SECONDS",
            "Metrics: its code does not read the variable QUARANTINE_DELIVERY_STREAM",
            "Metrics: its code does not read the variable STATE_TABLE",
        ]
    );
}

#[test]
fn default_that_the_code_rejects() {
    let mut template = Template::read().unwrap();
    template.0["Parameters"]["MaxGzipRatio"]["Default"] = json!(0);

    reports(
        START,
        &template,
        "IngestS3: does not start with its environment: environment: \
         MAX_GZIP_RATIO is \"0\" and should be a whole number above 0",
    );
}

#[test]
fn statement_that_is_too_wide() {
    let statement = "AlertsRole/Properties/Policies/0/PolicyDocument/Statement/Sid=SendAlerts";
    let cases = [
        ("Action", json!("sns:*"), "allows sns:*; name each action"),
        ("Action", json!(["sns:Publish", "*"]), "allows *; name each action"),
        ("Resource", json!("*"), "has Resource '*' and is none of the known exceptions"),
        (
            "Resource",
            json!("arn:aws:sns:*:*:*"),
            "names \"arn:aws:sns:*:*:*\", which reaches beyond the stack",
        ),
        ("NotResource", json!("arn"), "says what it does not mean; name actions and resources"),
        ("Effect", json!("Deny"), "does not allow; a role here only lists what is allowed"),
    ];
    for (path, value, what) in cases {
        let template = with(&format!("{statement}/{path}"), value);

        reports(roles::are_narrow, &template, &format!("AlertsRole: SendAlerts {what}"));
    }
    reports(
        roles::are_narrow,
        &with(
            "FunctionPolicy/Properties/PolicyDocument/Statement/Sid=Trace/Action",
            json!(["xray:PutTraceSegments", "sns:Publish"]),
        ),
        "FunctionPolicy: Trace has Resource '*' and is none of the known exceptions",
    );
    reports(
        roles::are_narrow,
        &without(
            "MetricsRole/Properties/Policies/0/PolicyDocument/Statement/Sid=WriteMetrics/Condition",
        ),
        "MetricsRole: WriteMetrics lacks a condition on cloudwatch:namespace",
    );
    let network =
        "IngestKafkaRole/Properties/Policies/1/Fn::If/1/PolicyDocument/Statement/0/Fn::If/1";
    reports(
        roles::are_narrow,
        &without(&format!("{network}/Condition")),
        "IngestKafkaRole: ReachTheBrokers lacks a condition that keeps the function's own code from it",
    );
    reports(
        roles::are_narrow,
        &with("AlertsRole/Properties/ManagedPolicyArns", json!(["arn"])),
        "AlertsRole: has a managed policy of AWS, which widens it at will",
    );
}

#[test]
fn missing_statement() {
    let statement = |sid: &str| {
        format!("AlertsRole/Properties/Policies/0/PolicyDocument/Statement/Sid={sid}/Action")
    };
    let cases = [("ClaimAlerts", "allows nothing on AlertClaims, which Alerts is told of")];
    assert_eq!(
        roles::grant_what_functions_use(&without(&statement("SendAlerts"))),
        ["AlertsTopic", "CriticalAlertsTopic", "WarningAlertsTopic"]
            .map(|topic| format!("AlertsRole: allows nothing on {topic}, which Alerts is told of"))
    );
    for (sid, what) in cases {
        let template = without(&statement(sid));

        reports(roles::grant_what_functions_use, &template, &format!("AlertsRole: {what}"));
    }
    let template = with(&statement("WriteLog"), json!("logs:PutLogEvents"));
    reports(
        roles::grant_what_functions_use,
        &template,
        "AlertsRole: does not allow logs:CreateLogStream on AlertsLogs",
    );
}
