//! Checks that everything that holds records at rest is encrypted, private and bounded.

use serde_json::{Value, json};

use super::template::{Template, list, names, strings, target, text};

/// Checks that every bucket is encrypted, private and versioned, expires its objects and requires
/// TLS.
#[must_use]
pub fn buckets_are_safe(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for (id, bucket) in template.of_type("AWS::S3::Bucket") {
        let properties = &bucket["Properties"];
        let encryption = &properties["BucketEncryption"]["ServerSideEncryptionConfiguration"];
        let private = &properties["PublicAccessBlockConfiguration"];
        let rules = list(&properties["LifecycleConfiguration"]["Rules"]);
        let ends = |what: &str| {
            rules.iter().any(|rule| rule["Status"] == "Enabled" && !rule[what].is_null())
        };
        let algorithm = &encryption[0]["ServerSideEncryptionByDefault"]["SSEAlgorithm"];
        let demands = [
            (algorithm.is_string(), "BucketEncryption"),
            (
                [
                    "BlockPublicAcls",
                    "BlockPublicPolicy",
                    "IgnorePublicAcls",
                    "RestrictPublicBuckets",
                ]
                .iter()
                .all(|name| private[*name] == true),
                "all four of PublicAccessBlockConfiguration",
            ),
            (properties["VersioningConfiguration"]["Status"] == "Enabled", "versioning"),
            (
                ends("NoncurrentVersionExpiration"),
                "a lifecycle rule with NoncurrentVersionExpiration, without which versions pile up",
            ),
            (
                ends("AbortIncompleteMultipartUpload"),
                "a lifecycle rule with AbortIncompleteMultipartUpload",
            ),
            (insists_on_tls(template, id), "a policy that denies access without TLS"),
        ];
        faults.extend(lacking(id, &demands));
    }
    faults
}

fn insists_on_tls(template: &Template, bucket: &str) -> bool {
    template
        .of_type("AWS::S3::BucketPolicy")
        .filter(|(_, policy)| target(&policy["Properties"]["Bucket"]) == Some(bucket))
        .flat_map(|(_, policy)| list(&policy["Properties"]["PolicyDocument"]["Statement"]))
        .any(|it| {
            it["Effect"] == "Deny"
                && it["Principal"] == "*"
                && it["Condition"] == json!({ "Bool": { "aws:SecureTransport": "false" } })
        })
}

/// Checks that every stream is encrypted and sets its retention.
#[must_use]
pub fn streams_are_encrypted(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for (id, stream) in template.of_type("AWS::Kinesis::Stream") {
        let properties = &stream["Properties"];
        let encryption = &properties["StreamEncryption"];
        let demands = [
            (
                encryption["EncryptionType"] == "KMS" && !encryption["KeyId"].is_null(),
                "StreamEncryption by KMS",
            ),
            (!properties["RetentionPeriodHours"].is_null(), "RetentionPeriodHours"),
            (
                template.number(&properties["MaxRecordSizeInKiB"]) == Some(1_024),
                "MaxRecordSizeInKiB of the default of MaxRecordBytes",
            ),
            (!properties["StreamModeDetails"]["StreamMode"].is_null(), "a StreamMode"),
        ];
        faults.extend(lacking(id, &demands));
    }
    faults
}

/// Checks that each record size that a stack can have is the limit of its streams too.
#[must_use]
pub fn record_sizes_are_limits_of_streams(template: &Template) -> Vec<String> {
    let sizes = &template.0["Parameters"]["MaxRecordBytes"]["AllowedValues"];
    let limits = &template.0["Mappings"]["RecordSize"];
    let is_met = |size: &&Value| {
        let size = text(size);
        let limit = limits[&size]["KiB"].as_i64().map(|limit| limit * 1_024);
        size.parse().ok() == limit && limit.is_some_and(|limit| limit <= 4 << 20)
    };
    let unmet = list(sizes).into_iter().filter(|size| !is_met(size));
    unmet.map(|size| format!("MaxRecordBytes {size}: no stream has this limit")).collect()
}

/// Checks that every table is encrypted, billed by request, restorable, and expires its items.
#[must_use]
pub fn tables_are_safe(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for (id, table) in template.of_type("AWS::DynamoDB::Table") {
        let properties = &table["Properties"];
        let expiry = &properties["TimeToLiveSpecification"];
        let restore = &properties["PointInTimeRecoverySpecification"];
        let is_stated = |name: &str| table[name].is_string();
        let demands = [
            (properties["SSESpecification"]["SSEEnabled"] == true, "SSESpecification"),
            (properties["BillingMode"] == "PAY_PER_REQUEST", "BillingMode PAY_PER_REQUEST"),
            (restore["PointInTimeRecoveryEnabled"] == true, "PointInTimeRecoverySpecification"),
            (
                expiry["Enabled"] == true && expiry["AttributeName"].is_string(),
                "TimeToLiveSpecification, without which it grows for ever",
            ),
            (
                is_stated("DeletionPolicy") && is_stated("UpdateReplacePolicy"),
                "a DeletionPolicy and an UpdateReplacePolicy",
            ),
        ];
        faults.extend(lacking(id, &demands));
    }
    faults
}

/// Checks that every queue is encrypted.
#[must_use]
pub fn queues_are_encrypted(template: &Template) -> Vec<String> {
    template
        .of_type("AWS::SQS::Queue")
        .filter(|(_, queue)| {
            let properties = &queue["Properties"];
            properties["SqsManagedSseEnabled"] != true && properties["KmsMasterKeyId"].is_null()
        })
        .map(|(id, _)| format!("{id}: lacks SqsManagedSseEnabled or a KMS key"))
        .collect()
}

/// Checks that every topic is encrypted with a key of the template that CloudWatch may use: with
/// the AWS-managed key of SNS, alarm notifications are lost without a trace.
#[must_use]
pub fn topics_are_encrypted(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for (id, topic) in template.of_type("AWS::SNS::Topic") {
        match target(&topic["Properties"]["KmsMasterKeyId"]) {
            Some(key) if template.is_a(key, "AWS::KMS::Key") => {
                if !opens_for_alarms(template.resource(key)) {
                    faults.push(format!(
                        "{key}: lacks a statement that lets CloudWatch use it for {id}"
                    ));
                }
            }
            _ => faults.push(format!("{id}: lacks KmsMasterKeyId, a key of the template")),
        }
    }
    faults
}

fn opens_for_alarms(key: &Value) -> bool {
    list(&key["Properties"]["KeyPolicy"]["Statement"]).into_iter().any(|it| {
        let actions = strings(&it["Action"]);
        it["Effect"] == "Allow"
            && strings(&it["Principal"]["Service"]).contains(&"cloudwatch.amazonaws.com")
            && actions.iter().any(|action| action.starts_with("kms:GenerateDataKey"))
            && actions.contains(&"kms:Decrypt")
    })
}

/// Checks that every delivery stream writes lines or Parquet that can be read again, and logs its
/// failures.
#[must_use]
pub fn deliveries_are_readable(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for (id, delivery) in template.of_type("AWS::KinesisFirehose::DeliveryStream") {
        let properties = &delivery["Properties"];
        let destination = &properties["ExtendedS3DestinationConfiguration"];
        let direct = properties["DeliveryStreamType"] == "DirectPut";
        let converts = destination["DataFormatConversionConfiguration"]["Enabled"] == true;
        let megabytes = template.number(&destination["BufferingHints"]["SizeInMBs"]).unwrap_or(5);
        let delimits = list(&destination["ProcessingConfiguration"]["Processors"])
            .iter()
            .any(|it| it["Type"] == "AppendDelimiterToRecord");
        let demands = [
            (
                // Firehose stores nothing at rest when its source is a stream.
                !direct || !properties["DeliveryStreamEncryptionConfigurationInput"].is_null(),
                "encryption at rest",
            ),
            (
                // Records that functions put end with their own newline: see `BadRow::to_line`.
                direct || converts || delimits,
                "AppendDelimiterToRecord; Firehose runs records together",
            ),
            (
                !converts
                    || (megabytes >= 64 && destination["CompressionFormat"] == "UNCOMPRESSED"),
                "what conversion to Parquet demands: UNCOMPRESSED and at least 64 MB",
            ),
            (!destination["ErrorOutputPrefix"].is_null(), "ErrorOutputPrefix"),
            (
                destination["CloudWatchLoggingOptions"]["Enabled"] == true,
                "CloudWatchLoggingOptions",
            ),
            (
                names(&destination["BucketARN"])
                    .iter()
                    .any(|bucket| template.is_a(bucket, "AWS::S3::Bucket")),
                "a bucket of the template",
            ),
        ];
        faults.extend(lacking(id, &demands));
    }
    faults
}

fn lacking(id: &str, demands: &[(bool, &str)]) -> Vec<String> {
    demands.iter().filter(|(met, _)| !met).map(|(_, what)| format!("{id}: lacks {what}")).collect()
}
