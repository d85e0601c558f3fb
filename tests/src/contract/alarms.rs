//! Checks that everything that stops, fails or lags reaches the ops topic.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::template::{Function, Template, list, names, target, text};
use super::{kafka, mappings};

/// Topic for alarms about the pipeline itself.
pub const OPS_TOPIC: &str = "OpsTopic";

/// Checks that every alarm notifies the ops topic and has a description.
#[must_use]
pub fn notify_ops_topic(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for (id, alarm) in alarms(template) {
        let properties = &alarm["Properties"];
        if !list(&properties["AlarmActions"]).iter().any(|it| target(it) == Some(OPS_TOPIC)) {
            faults.push(format!("{id}: its AlarmActions do not name {OPS_TOPIC}"));
        }
        if properties["ActionsEnabled"] == false {
            faults.push(format!("{id}: its actions are not enabled"));
        }
        if properties["AlarmDescription"].is_null() {
            faults.push(format!("{id}: lacks an AlarmDescription"));
        }
    }
    faults
}

/// Checks that every function has alarms for errors, throttles, undelivered records and silence. One
/// that reads a stream has alarms for its iterator age, a stalled mapping and parked batches too,
/// and one with a schedule has an alarm for invocations that fail.
///
/// Only functions that exist with these parameters are checked: of two alternatives a stack has
/// one.
#[must_use]
pub fn watch_every_function(
    template: &Template,
    parameters: &BTreeMap<String, String>,
) -> Vec<String> {
    let functions =
        template.functions().into_iter().filter(|it| template.has(&it.resource, parameters));
    functions.flat_map(|function| unwatched(template, &function)).collect()
}

fn unwatched(template: &Template, function: &Function) -> Vec<String> {
    let id = &function.id;
    let rises = |namespace: &str, name: &str, dimension: &str, id: &str| {
        watching(template, namespace, name, dimension, id).into_iter().any(rises)
    };
    let about = |name: &str| rises("AWS/Lambda", name, "FunctionName", id);
    let mut faults = Vec::new();
    let mut demand = |is_met: bool, id: &str, what: &str| {
        if !is_met {
            faults.push(format!("{id}: no alarm for {what}"));
        }
    };
    demand(about("Errors"), id, "Errors");
    demand(about("Throttles"), id, "Throttles");
    // The two binaries of windows send one set of metrics.
    let name = function.binary.trim_end_matches("-cassandra");
    let own = |metric: &str| own_metric(template, metric, name);
    demand(own("undelivered").into_iter().any(self::rises), id, "undelivered records");
    demand(own("in").into_iter().any(is_for_no_data), id, "silence: `in` below 1, filled with 0");

    let streams = mappings::of(function, "Kinesis");
    let is_on_kafka = kafka::of(template, function).next().is_some();
    let is_parking = is_on_kafka || !streams.is_empty();
    demand(!is_parking || about("DestinationDeliveryFailures"), id, "batches it cannot park");
    demand(!is_on_kafka || about("OffsetLag"), id, "OffsetLag");
    let parked = watching(template, "AWS/S3", "PutRequests", "BucketName", "RawBucket");
    demand(!is_on_kafka || parked.into_iter().any(self::rises), id, "parked batches of topics");
    for mapping in streams {
        let source = mapping.name.replace('.', "");
        let about_mapping =
            |metric: &str| rises("AWS/Lambda", metric, "EventSourceMappingUUID", &source);
        for metric in
            ["PolledEventCount", "OnFailureDestinationDeliveredEventCount", "DroppedEventCount"]
        {
            demand(about_mapping(metric), &source, metric);
        }
        // A fixed age would be wrong for any other retention.
        for stream in list(&mapping.properties["Stream"]).into_iter().filter_map(target) {
            let retention = &template.resource(stream)["Properties"]["RetentionPeriodHours"];
            let Some(retention) = target(retention) else { continue };
            let ages = watching(template, "AWS/Lambda", "IteratorAge", "FunctionName", id);
            let is_relative = ages.into_iter().any(|alarm| names(alarm).contains(retention));
            demand(is_relative, id, &format!("IteratorAge in terms of {retention}"));
        }
    }
    for schedule in mappings::of(function, "Schedule") {
        let rule = schedule.name.replace('.', "");
        demand(rises("AWS/Events", "FailedInvocations", "RuleName", &rule), &rule, "its failures");
    }
    faults
}

/// Checks that no alarm waits for what cannot happen. The invocations of a function with a schedule
/// never stop. An alarm for a value below its threshold needs `FILL`: without it, an older point of
/// the evaluation range stands in for what is missing.
#[must_use]
pub fn can_fire(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for function in template.functions() {
        if !mappings::of(&function, "Schedule").is_empty()
            && !watching(template, "AWS/Lambda", "Invocations", "FunctionName", &function.id)
                .is_empty()
        {
            faults.push(format!("{}: its schedule hides that its stream is silent", function.id));
        }
    }
    for (id, alarm) in alarms(template) {
        let properties = &alarm["Properties"];
        let is_below = text(&properties["ComparisonOperator"]).starts_with("LessThan");
        if is_below && !is_for_no_data(properties) {
            faults.push(format!("{id}: is below its threshold and does not FILL what is missing"));
        }
    }
    faults
}

/// Checks that every delivery stream has an alarm for what it has read, and one that reads a stream
/// also alarms for how far it is behind, in terms of the retention, and for refused reads.
#[must_use]
pub fn watch_every_delivery(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for (id, delivery) in template.of_type("AWS::KinesisFirehose::DeliveryStream") {
        let about = |name: &str| watching(template, "AWS/Firehose", name, "DeliveryStreamName", id);
        let properties = &delivery["Properties"];
        let mut wanted = vec!["DeliveryToS3.DataFreshness"];
        if properties["DeliveryStreamType"] == "KinesisStreamAsSource" {
            wanted.extend(["KinesisMillisBehindLatest", "ThrottledGetRecords"]);
        }
        let format = &properties["ExtendedS3DestinationConfiguration"];
        if format["DataFormatConversionConfiguration"]["Enabled"] == true {
            wanted.push("FailedConversion.Records");
        }
        let lacking = wanted.iter().filter(|name| !about(name).into_iter().any(rises));
        faults.extend(lacking.map(|name| format!("{id}: no alarm for {name}")));
        let behind = about("KinesisMillisBehindLatest");
        if behind.iter().any(|alarm| !names(alarm).contains("StreamRetentionHours")) {
            faults.push(format!("{id}: KinesisMillisBehindLatest is not a share of the retention"));
        }
    }
    faults
}

/// Checks that every stream has alarms for refused writes and reads, and every topic one for
/// messages that no subscriber got.
#[must_use]
pub fn watch_every_stream_and_topic(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    let mut demand = |id: &str, namespace: &str, name: &str, dimension: &str| {
        if !watching(template, namespace, name, dimension, id).into_iter().any(rises) {
            faults.push(format!("{id}: no alarm for {name}"));
        }
    };
    for (id, _) in template.of_type("AWS::Kinesis::Stream") {
        for way in ["Write", "Read"] {
            let metric = format!("{way}ProvisionedThroughputExceeded");
            demand(id, "AWS/Kinesis", &metric, "StreamName");
        }
    }
    for (id, _) in template.of_type("AWS::SNS::Topic") {
        demand(id, "AWS/SNS", "NumberOfNotificationsFailed", "TopicName");
    }
    faults
}

/// Checks that the composite alarm of the stack has every other alarm in its rule, and that the
/// mail of the ops topic takes the messages of no other alarm.
#[must_use]
pub fn are_one_mail(template: &Template) -> Vec<String> {
    let Some((_, composite)) = template.of_type("AWS::CloudWatch::CompositeAlarm").next() else {
        return vec!["no composite alarm".to_owned()];
    };
    let properties = &composite["Properties"];
    let named = names(&properties["AlarmRule"]);
    let missing = alarms(template).filter(|(id, _)| !named.contains(*id));
    let mut faults: Vec<_> =
        missing.map(|(id, _)| format!("{id}: is not in the composite alarm")).collect();
    let gone = named.iter().filter(|id| id.ends_with("Alarm") && template.resource(id).is_null());
    faults.extend(gone.map(|id| format!("{id}: is in the composite alarm, and no alarm")));
    if !list(&properties["AlarmActions"]).iter().any(|it| target(it) == Some(OPS_TOPIC)) {
        faults.push(format!("the composite alarm does not notify {OPS_TOPIC}"));
    }
    for (id, subscription) in template.of_type("AWS::SNS::Subscription") {
        let subscription = &subscription["Properties"];
        let filter = list(&subscription["FilterPolicy"]);
        if target(&subscription["TopicArn"]) == Some(OPS_TOPIC)
            && !filter.iter().any(|it| it["AlarmName"] == json!([properties["AlarmName"]]))
        {
            faults.push(format!("{id}: is a mail for each alarm"));
        }
    }
    faults
}

/// Checks that every queue has an alarm, and every dead-letter queue one for its first message.
#[must_use]
pub fn watch_every_queue(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for (id, queue) in template.of_type("AWS::SQS::Queue") {
        let about = |name: &str| watching(template, "AWS/SQS", name, "QueueName", id);
        let waits = |name: &str| about(name).into_iter().any(rises);
        if !waits("ApproximateAgeOfOldestMessage") && !waits("ApproximateNumberOfMessagesVisible") {
            faults.push(format!("{id}: no alarm for what waits in it"));
        }
        let redrive = &queue["Properties"]["RedrivePolicy"]["deadLetterTargetArn"];
        let Some(dead_letters) = target(redrive) else { continue };
        let depth = "ApproximateNumberOfMessagesVisible";
        let first = watching(template, "AWS/SQS", depth, "QueueName", dead_letters)
            .into_iter()
            .any(|alarm| {
                let threshold = template.number(&alarm["Threshold"]);
                match text(&alarm["ComparisonOperator"]).as_str() {
                    "GreaterThanThreshold" => threshold == Some(0),
                    "GreaterThanOrEqualToThreshold" => threshold == Some(1),
                    _ => false,
                }
            });
        if !first {
            faults.push(format!("{dead_letters}: no alarm for the first message in it"));
        }
    }
    faults
}

/// Checks that every table and every index has an alarm for throttled writes: a throttled index
/// throttles its table.
#[must_use]
pub fn watch_every_table(template: &Template) -> Vec<String> {
    let mut faults = Vec::new();
    for (id, table) in template.of_type("AWS::DynamoDB::Table") {
        let about = watching(template, "AWS/DynamoDB", "WriteThrottleEvents", "TableName", id);
        let index = |alarm: &Value| {
            let index = list(&alarm["Dimensions"])
                .into_iter()
                .find(|it| it["Name"] == "GlobalSecondaryIndexName");
            index.map(|it| text(&it["Value"]))
        };
        if !about.iter().any(|alarm| rises(alarm) && index(alarm).is_none()) {
            faults.push(format!("{id}: no alarm for WriteThrottleEvents"));
        }
        for name in list(&table["Properties"]["GlobalSecondaryIndexes"]) {
            let name = text(&name["IndexName"]);
            if !about.iter().any(|alarm| rises(alarm) && index(alarm).as_ref() == Some(&name)) {
                faults.push(format!("{id}: no alarm for WriteThrottleEvents of its index {name}"));
            }
        }
    }
    faults
}

/// Checks that the on-call page has a row with a first step for every alarm, and names no alarm
/// that does not exist.
///
/// `<function>` in a name stands for each function; `<delivery>`, `<stream>` and `<topic>` stand for
/// any text.
#[must_use]
pub fn are_on_the_night_page(template: &Template, page: &str) -> Vec<String> {
    let heading = "## Which alarm, which command";
    let (_, section) = page.split_once(heading).unwrap_or_default();
    let (section, _) = section.split_once("\n## ").unwrap_or((section, ""));
    let functions: Vec<_> = template.functions().into_iter().map(|it| it.binary).collect();
    let mut named = Vec::new();
    for row in section.lines().filter(|line| line.starts_with("| `-")) {
        let cells: Vec<_> = row.split(" | ").collect();
        let alarms = cells[0].split('`').skip(1).step_by(2);
        let looks = cells.get(2).is_some_and(|look| !look.trim().is_empty());
        named.extend(alarms.map(|name| (name, looks)));
    }
    // The composite alarm has the name of the stack and the first row.
    let suffixes: Vec<_> = alarms(template).map(|(_, alarm)| suffix(alarm)).collect();
    let is = |name: &str, suffix: &str| match name.split_once("<function>") {
        Some((before, after)) => {
            functions.iter().any(|it| suffix == format!("{before}{it}{after}"))
        }
        None => {
            let any = ["<delivery>", "<stream>", "<topic>"];
            match any.iter().find_map(|it| name.split_once(it)) {
                Some((before, after)) => suffix.starts_with(before) && suffix.ends_with(after),
                None => name == suffix,
            }
        }
    };

    let mut faults = Vec::new();
    for suffix in &suffixes {
        match named.iter().find(|(name, _)| is(name, suffix)) {
            None => faults.push(format!("{suffix}: is not on the night page")),
            Some((_, false)) => faults.push(format!("{suffix}: nothing to look at")),
            Some(_) => {}
        }
    }
    let unknown = named.iter().filter(|(name, _)| !suffixes.iter().any(|it| is(name, it)));
    faults.extend(unknown.map(|(name, _)| format!("{name}: no alarm is called so")));
    faults
}

/// Returns the numbers of alarms, and of metrics they watch, in a stack with these parameters. Each
/// of both has a price.
#[must_use]
pub fn count(template: &Template, parameters: &BTreeMap<String, String>) -> (usize, usize) {
    let all = alarms(template).map(|(_, alarm)| alarm);
    let there: Vec<_> = all.filter(|alarm| template.has(alarm, parameters)).collect();
    let metrics = |alarm: &&Value| {
        let metrics = list(&alarm["Properties"]["Metrics"]);
        metrics.into_iter().filter(|it| !it["MetricStat"].is_null()).count().max(1)
    };
    (there.len(), there.iter().map(metrics).sum())
}

/// Returns the name of an alarm without the name of its stack.
fn suffix(alarm: &Value) -> String {
    let name = text(&alarm["Properties"]["AlarmName"]["Fn::Sub"]);
    name.trim_start_matches("${AWS::StackName}").to_owned()
}

/// Returns the properties of the alarms on a metric of the resource `id`, alone or in an
/// expression.
fn watching<'a>(
    template: &'a Template,
    namespace: &str,
    name: &str,
    dimension: &str,
    id: &str,
) -> Vec<&'a Value> {
    let properties = &template.resource(id)["Properties"];
    let known: Vec<_> = ["FunctionName", "Name", "QueueName", "TopicName"]
        .iter()
        .map(|name| &properties[*name])
        .filter(|it| !it.is_null())
        .collect();
    about_metric(template, |metric| {
        metric["Namespace"] == namespace
            && metric["MetricName"] == name
            && list(&metric["Dimensions"]).iter().any(|it| {
                it["Name"] == dimension
                    && list(&it["Value"])
                        .iter()
                        .any(|value| target(value) == Some(id) || known.contains(value))
            })
    })
}

/// Returns the properties of the alarms on a metric that the function sends itself.
fn own_metric<'a>(template: &'a Template, name: &str, function: &str) -> Vec<&'a Value> {
    about_metric(template, |metric| {
        metric["Namespace"] == json!({ "Fn::Sub": "Tributary/${AWS::StackName}" })
            && metric["MetricName"] == name
            && metric["Dimensions"] == json!([{ "Name": "function", "Value": function }])
    })
}

fn about_metric(template: &Template, is_it: impl Fn(&Value) -> bool) -> Vec<&Value> {
    let is_about = |properties: &&Value| {
        list(&properties["Metrics"])
            .into_iter()
            .map(|it| &it["MetricStat"]["Metric"])
            .chain([*properties])
            .any(&is_it)
    };
    alarms(template).map(|(_, alarm)| &alarm["Properties"]).filter(is_about).collect()
}

fn alarms(template: &Template) -> impl Iterator<Item = (&str, &Value)> {
    template.of_type("AWS::CloudWatch::Alarm")
}

fn rises(alarm: &Value) -> bool {
    text(&alarm["ComparisonOperator"]).starts_with("GreaterThan")
}

/// Returns true if an alarm takes what is missing for a breach, by an expression that fills it.
///
/// An alarm on the metric alone considers every real point of its evaluation range first:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>.
fn is_for_no_data(alarm: &Value) -> bool {
    let filled = |it: &Value| text(&it["Expression"]).starts_with("FILL(");
    text(&alarm["ComparisonOperator"]).starts_with("LessThan")
        && list(&alarm["Metrics"]).into_iter().any(filled)
}
