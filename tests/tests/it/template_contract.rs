//! The template meets its contract with the code and with the properties of AWS.

use std::collections::BTreeMap;
use std::fs;

use system_tests::contract::environment::READERS;
use system_tests::contract::template::Template;
use system_tests::contract::{
    alarms, catalogue, deployment, environment, functions, kafka, mappings, roles, samples, storage,
};
use system_tests::repository;

use crate::support::{holds, shipped};

fn template() -> Template {
    Template::read().unwrap_or_else(|error| unreadable(&error))
}

/// Parameters that differ from their defaults.
fn parameters(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn template_with(given: &[(&str, &str)]) -> Template {
    Template::read_with(&parameters(given)).unwrap_or_else(|error| unreadable(&error))
}

fn samconfig() -> toml::Table {
    let text = fs::read_to_string(repository().join("samconfig.toml")).unwrap_or_default();
    text.parse().unwrap_or_else(|error: toml::de::Error| unreadable(&error.to_string()))
}

#[expect(clippy::panic, reason = "a test that cannot read its subject has failed")]
fn unreadable<T>(error: &str) -> T {
    panic!("{error}")
}

/// Returns the crates of `functions/` by folder; each has the name of its folder.
fn crates() -> Vec<String> {
    let entries = fs::read_dir(repository().join("functions")).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn each_function_crate_is_one_function() {
    assert!(!crates().is_empty());
    holds(&functions::are_the_crates(&template(), &crates()));
}

#[test]
fn each_function_is_complete() {
    holds(&functions::are_complete(&template()));
}

#[test]
fn each_function_has_a_role_of_its_own() {
    holds(&functions::have_roles_of_their_own(&template()));
}

#[test]
fn functions_that_exclude_each_other_are_alike() {
    holds(&functions::alternatives_are_alike(&template()));
}

#[test]
fn each_function_url_requires_a_signature() {
    holds(&functions::urls_ask_for_a_signature(&template()));
}

#[test]
fn each_function_has_a_log_group_with_retention() {
    holds(&functions::have_log_groups_with_retention(&template()));
}

#[test]
fn each_event_source_mapping_belongs_to_a_function() {
    holds(&mappings::are_events_of_their_functions(&template()));
}

#[test]
fn no_bad_record_blocks_a_shard() {
    holds(&mappings::of_streams_are_bounded(&template()));
}

#[test]
fn record_ages_follow_retention() {
    holds(&mappings::record_ages_follow_retention(&template()));
    let week = template_with(&[("StreamRetentionHours", "168")]);
    let age = "/Resources/Alerts/Properties/Events/Events/Properties/MaximumRecordAgeInSeconds";
    assert_eq!(week.0.pointer(age).unwrap(), 601_200);
}

#[test]
fn failed_message_is_redelivered_not_forever() {
    holds(&mappings::of_queues_redrive(&template()));
}

#[test]
fn no_topic_is_read_by_default() {
    holds(&kafka::mappings_are_off_by_default(&template()));
}

#[test]
fn no_bad_record_blocks_a_partition() {
    holds(&kafka::mappings_are_bounded(&template()));
}

#[test]
fn each_topic_is_a_mapping_of_its_own() {
    let template = template_with(&[("KafkaTopics", "roads.accidents-v2=accidents,flood")]);

    holds(&kafka::mappings_are_bounded(&template));
    holds(&kafka::mappings_are_off_by_default(&template));
    let of = |kind| template.of_type(kind).map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(
        of("AWS::Lambda::EventSourceMapping"),
        ["IngestKafkaTopicroadsaccidentsv2accidents", "IngestKafkaTopicflood"]
    );
    assert_eq!(
        of("AWS::IAM::Policy"),
        ["IngestKafkaReadsroadsaccidentsv2accidents", "IngestKafkaReadsflood"]
    );
    let topics = &template.resource("IngestKafka")["Properties"]["Environment"]["Variables"];
    let on = parameters(&[
        ("KafkaBootstrapServers", "b:9092"),
        ("KafkaTopics", "roads.accidents-v2=accidents,flood"),
    ]);
    let of = |parameters| template.sample_with(&topics["TOPIC_DATASETS"], parameters);
    assert_eq!(of(&on), "roads.accidents-v2=accidents,flood");
    assert_eq!(of(&BTreeMap::new()), "", "without a cluster no topic has to have a dataset");
    let same = Template::read_with(&parameters(&[("KafkaTopics", "a.b,a-b")]));
    assert!(same.is_err_and(|error| error.contains("IngestKafkaTopicab")));
}

#[test]
fn network_interfaces_are_for_brokers_in_a_vpc() {
    let template = template();
    let statement = "/Properties/Policies/1/Fn::If/1/PolicyDocument/Statement/0/Fn::If";
    let only_if = template.resource("IngestKafkaRole").pointer(statement).unwrap();
    assert_eq!(only_if[1]["Sid"], "ReachTheBrokers");
    let holds = |given: &[(&str, &str)]| {
        template.holds(&serde_json::json!({ "Condition": only_if[0] }), &parameters(given))
    };

    let brokers = ("KafkaBootstrapServers", "b:9092");
    assert_eq!(holds(&[brokers]), Some(false), "brokers on the internet");
    assert_eq!(holds(&[brokers, ("KafkaSubnet1", "subnet-1")]), Some(true));
    assert_eq!(holds(&[("KafkaClusterArn", "arn:aws:kafka:r:1:cluster/c/1")]), Some(true));
}

#[test]
fn environment_matches_the_code() {
    holds(&environment::is_what_the_code_reads(&template(), READERS));
}

#[test]
fn each_function_starts_with_its_environment() {
    holds(&environment::starts_each_function(&template(), READERS));
}

#[test]
fn roles_are_narrow() {
    holds(&roles::are_narrow(&template()));
}

#[test]
fn permissions_page_has_each_statement() {
    holds(&roles::are_on_the_page(&template(), &page("docs/PERMISSIONS.md")));
}

#[test]
fn roles_grant_what_functions_use() {
    holds(&roles::grant_what_functions_use(&template()));
}

#[test]
fn buckets_are_safe() {
    holds(&storage::buckets_are_safe(&template()));
}

#[test]
fn streams_are_encrypted() {
    holds(&storage::streams_are_encrypted(&template()));
}

#[test]
fn record_sizes_are_limits_of_streams() {
    holds(&storage::record_sizes_are_limits_of_streams(&template()));
}

#[test]
fn bucket_names_are_unique() {
    holds(&deployment::bucket_names_are_unique(&template()));
}

#[test]
fn tables_are_safe() {
    holds(&storage::tables_are_safe(&template()));
}

#[test]
fn queues_are_encrypted() {
    holds(&storage::queues_are_encrypted(&template()));
}

#[test]
fn topics_are_encrypted_and_open_to_alarms() {
    holds(&storage::topics_are_encrypted(&template()));
}

#[test]
fn deliveries_can_be_read_again() {
    holds(&storage::deliveries_are_readable(&template()));
}

#[test]
fn event_columns_match_event_fields() {
    let event = samples::event().unwrap();

    holds(&catalogue::columns_are_the_fields(&template(), "events", &event));
}

#[test]
fn quarantine_columns_match_bad_row_fields() {
    let bad_row = samples::bad_row().unwrap();

    holds(&catalogue::columns_are_the_fields(&template(), "quarantine", &bad_row));
}

#[test]
fn raw_columns_match_raw_record_fields() {
    let raw_record = samples::raw_record().unwrap();

    holds(&catalogue::columns_are_the_fields(&template(), "raw", &raw_record));
}

#[test]
fn doubled_key_breaks_no_partition() {
    holds(&catalogue::malformed_rows_are_ignored(&template()));
}

#[test]
fn partitions_are_projected_where_deliveries_write() {
    for table in ["events", "quarantine", "raw"] {
        holds(&catalogue::partitions_are_projected(&template(), table));
    }
}

#[test]
fn alarms_notify_the_ops_topic() {
    holds(&alarms::notify_ops_topic(&template()));
}

#[test]
fn alarms_watch_every_function() {
    for store in ["dynamodb", "keyspaces", "cassandra"] {
        let given = [("WindowStore", store)];
        holds(&alarms::watch_every_function(&template_with(&given), &parameters(&given)));
    }
}

#[test]
fn alarms_can_fire() {
    holds(&alarms::can_fire(&template()));
}

#[test]
fn alarms_watch_every_delivery() {
    holds(&alarms::watch_every_delivery(&template()));
}

#[test]
fn alarms_watch_every_stream_and_topic() {
    holds(&alarms::watch_every_stream_and_topic(&template()));
}

#[test]
fn alarms_of_a_stack_are_one_mail() {
    holds(&alarms::are_one_mail(&template()));
}

#[test]
fn alarms_watch_every_table() {
    holds(&alarms::watch_every_table(&template()));
}

#[test]
fn alarms_watch_every_queue() {
    holds(&alarms::watch_every_queue(&template()));
}

#[test]
fn outputs_exist_and_are_described() {
    holds(&deployment::outputs_are_described(&template()));
}

#[test]
fn local_stack_has_only_supported_resources() {
    holds(&deployment::runs_locally(&template(), &samconfig()));
}

#[test]
fn local_build_has_functions_of_local_stack() {
    holds(&deployment::builds_locally(&template(), &samconfig()));
}

#[test]
fn settings_are_parameters_of_the_template() {
    holds(&deployment::settings_are_parameters(&template(), &samconfig()));
}

fn page(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap_or_default()
}

#[test]
fn on_call_page_has_each_alarm() {
    holds(&alarms::are_on_the_night_page(&template(), &page("docs/OPERATE.md")));
}

#[test]
fn alarm_missing_from_on_call_page_is_reported() {
    let page = page("docs/OPERATE.md")
        .replace("`-ingest-queue-age`", "`-ingest-queue-rage`")
        .replace("`-<function>-throttles`", "`-<function>-errors`")
        .replace("`tributary config show --stack S`; the function's log has the reason", "");

    let faults = alarms::are_on_the_night_page(&template(), &page);

    // The alarms of windows watch windows-cassandra too.
    let functions = crates().len() - 1;
    for expected in [
        "-ingest-queue-age: is not on the night page",
        "-ingest-queue-rage: no alarm is called so",
        "-windows-throttles: is not on the night page",
        "-config-refused: nothing to look at",
    ] {
        assert!(faults.iter().any(|fault| fault == expected), "{expected}: {faults:?}");
    }
    assert_eq!(faults.len(), functions + 3, "{faults:?}");
}

#[test]
fn blocked_shard_alarms_before_readings_are_late() {
    let template = template();
    let alarm = &template.resource("WindowsBehindAlarm")["Properties"];
    let threshold = template.number(&alarm["Threshold"]).unwrap();
    let specs = shipped().window_specs().unwrap();

    let until_late = specs.iter().map(|spec| spec.idle_timeout.0 + spec.allowed_lateness.0);
    let shortest = until_late.min().unwrap().as_secs();

    // The age must have passed the threshold in a period of a minute, which CloudWatch then sees.
    assert!(threshold + 120 < shortest, "{threshold} s of {shortest} s");
}

#[test]
fn documented_cost_counts_each_alarm() {
    let kafka = parameters(&[("KafkaBootstrapServers", "b:9092"), ("KafkaTopics", "t")]);

    let (alarms, metrics) = alarms::count(&template(), &BTreeMap::new());
    let (with_kafka, _) = alarms::count(&template(), &kafka);

    let readme = page("docs/DEPLOY.md");
    for said in [
        format!("for {alarms} alarms, which look at {metrics} metrics"),
        format!("the first one, {} alarms", with_kafka - alarms),
    ] {
        assert!(readme.contains(&said), "docs/DEPLOY.md does not say {said:?}");
    }
}
