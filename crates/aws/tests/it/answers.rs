//! Adapters against recorded SDK answers: stored entries are distinguished from the others.

use std::time::Duration;

use aws_smithy_mocks::{RuleMode, mock, mock_client};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use tributary_aws::deadline::Deadline;
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::kinesis::{Stream, StreamRecord};
use tributary_aws::producer::{Delivery, Outbound, Producer};
use tributary_aws::put::{BatchPut, EntryResult};
use tributary_aws::s3::{ObjectName, ObjectStore, ReadError, S3};
use tributary_aws::sns::{Notification, Topic};

mod kinesis {
    pub(crate) use aws_sdk_kinesis::Client;
    pub(crate) use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
    pub(crate) use aws_sdk_kinesis::types::PutRecordsResultEntry;
}

fn stored(n: usize) -> kinesis::PutRecordsResultEntry {
    kinesis::PutRecordsResultEntry::builder()
        .sequence_number(format!("{n:056}"))
        .shard_id("shardId-000000000000")
        .build()
}

fn throttled() -> kinesis::PutRecordsResultEntry {
    kinesis::PutRecordsResultEntry::builder()
        .error_code("ProvisionedThroughputExceededException")
        .error_message("Rate exceeded for shard shardId-000000000000 in stream raw")
        .build()
}

fn answer(
    entries: impl IntoIterator<Item = kinesis::PutRecordsResultEntry>,
) -> kinesis::PutRecordsOutput {
    kinesis::PutRecordsOutput::builder()
        .set_records(Some(entries.into_iter().collect()))
        .build()
        .unwrap()
}

fn records(count: usize) -> Vec<Outbound<StreamRecord>> {
    (0..count)
        .map(|n| Outbound { position: n, entry: StreamRecord::new(&format!("A-{n}"), vec![b'{']) })
        .collect()
}

async fn send(client: kinesis::Client, count: usize, time: Duration) -> Delivery {
    let producer = Producer::new(Stream::new(client, "raw".into(), 1 << 20));
    producer.send(&records(count), Deadline::after(time)).await.unwrap()
}

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test(start_paused = true)]
async fn only_failed_entries_are_retried() {
    let first = mock!(kinesis::Client::put_records)
        .match_requests(|request| request.records().len() == 500)
        .then_output(|| {
            answer((0..500).map(|n| if n % 13 == 0 && n < 481 { throttled() } else { stored(n) }))
        });
    let second = mock!(kinesis::Client::put_records)
        .match_requests(|request| {
            let keys = request.records().iter().filter_map(|record| record.partition_key());
            keys.eq((0..37).map(|n| format!("A-{}", n * 13)))
        })
        .then_output(|| answer((0..37).map(stored)));
    let client = mock_client!(aws_sdk_kinesis, RuleMode::Sequential, [&first, &second]);

    let delivery = send(client, 500, MINUTE).await;

    assert_eq!((delivery.undelivered.len(), delivery.retried), (0, 37));
    assert_eq!((first.num_calls(), second.num_calls()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn throttled_or_5xx_call_is_retried() {
    let body = r#"{"__type":"LimitExceededException","message":"slow down"}"#;
    let throttled = mock!(kinesis::Client::put_records).then_http_response(move || {
        HttpResponse::new(StatusCode::try_from(400).unwrap(), SdkBody::from(body))
    });
    let failed = mock!(kinesis::Client::put_records).then_http_response(|| {
        HttpResponse::new(StatusCode::try_from(500).unwrap(), SdkBody::from("{}"))
    });
    let taken = mock!(kinesis::Client::put_records).then_output(|| answer((0..3).map(stored)));
    let client = mock_client!(
        aws_sdk_kinesis,
        RuleMode::Sequential,
        [&throttled, &failed, &taken],
        |config| config.retry_config(aws_sdk_kinesis::config::retry::RetryConfig::disabled())
    );

    let delivery = send(client, 3, MINUTE).await;

    assert_eq!((delivery.undelivered.len(), delivery.retried), (0, 6));
}

#[tokio::test(start_paused = true)]
async fn a_short_answer_is_not_trusted() {
    let short = mock!(kinesis::Client::put_records).then_output(|| answer((0..2).map(stored)));
    let full = mock!(kinesis::Client::put_records).then_output(|| answer((0..3).map(stored)));
    let client = mock_client!(aws_sdk_kinesis, RuleMode::Sequential, [&short, &full]);

    let delivery = send(client, 3, MINUTE).await;

    assert_eq!((delivery.undelivered.len(), delivery.retried), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn entry_without_number_or_error_is_not_stored() {
    let silent = || kinesis::PutRecordsResultEntry::builder().build();
    let answers = mock!(kinesis::Client::put_records)
        .then_output(move || answer([stored(0), silent(), stored(2)]));
    let client = mock_client!(aws_sdk_kinesis, RuleMode::MatchAny, [&answers]);
    let stream = Stream::new(client, "raw".into(), 1 << 20);
    let records = records(3);
    let entries: Vec<_> = records.iter().map(|outbound| &outbound.entry).collect();

    let verdicts = stream.put(&entries).await.unwrap();

    assert_eq!(
        verdicts,
        [EntryResult::Stored, EntryResult::Failed("no_answer".into()), EntryResult::Stored]
    );
}

#[tokio::test(start_paused = true)]
async fn near_the_deadline_what_is_left_is_reported() {
    let answers = mock!(kinesis::Client::put_records)
        .sequence()
        .output(|| answer((0..500).map(|n| if n < 499 { stored(n) } else { throttled() })))
        .output(|| answer([throttled()]))
        .repeatedly()
        .build();
    let client = mock_client!(aws_sdk_kinesis, RuleMode::Sequential, [&answers]);

    let delivery = send(client, 1_200, Duration::from_secs(5)).await;

    assert_eq!(delivery.undelivered, (499..1_200).collect::<Vec<_>>());
    assert!(answers.num_calls() > 3, "{} calls", answers.num_calls());
}

#[tokio::test]
async fn access_denied_is_a_setup_error() {
    let body = r#"{"__type":"AccessDeniedException","message":"not authorized to perform kinesis:PutRecords"}"#;
    let denied = mock!(kinesis::Client::put_records).then_http_response(move || {
        HttpResponse::new(StatusCode::try_from(400).unwrap(), SdkBody::from(body))
    });
    let client = mock_client!(aws_sdk_kinesis, RuleMode::MatchAny, [&denied]);
    let producer = Producer::new(Stream::new(client, "raw".into(), 1 << 20));

    let error = producer.send(&records(1), Deadline::after(MINUTE)).await.unwrap_err();

    assert_eq!(
        error.to_string(),
        "kinesis:PutRecords on raw: AccessDeniedException: not authorized to perform kinesis:PutRecords"
    );
    assert_eq!(denied.num_calls(), 1);
}

#[tokio::test]
async fn firehose_answers_for_each_line() {
    use aws_sdk_firehose::Client;
    use aws_sdk_firehose::operation::put_record_batch::PutRecordBatchOutput;
    use aws_sdk_firehose::types::PutRecordBatchResponseEntry;
    let answers = mock!(Client::put_record_batch).then_output(|| {
        let stored = PutRecordBatchResponseEntry::builder().record_id("r1").build();
        let failed =
            PutRecordBatchResponseEntry::builder().error_code("ServiceUnavailableException");
        PutRecordBatchOutput::builder()
            .failed_put_count(1)
            .request_responses(stored)
            .request_responses(failed.build())
            .build()
            .unwrap()
    });
    let client = mock_client!(aws_sdk_firehose, RuleMode::MatchAny, [&answers]);
    let quarantine = DeliveryStream::new(client, "quarantine".into());

    let verdicts = quarantine.put(&[&b"{}\n".to_vec(), &b"{}\n".to_vec()]).await.unwrap();

    let failed = EntryResult::Failed("ServiceUnavailableException".into());
    assert_eq!(verdicts, [EntryResult::Stored, failed]);
}

#[tokio::test]
async fn sns_answers_match_by_id_sender_fault_rejects() {
    use aws_sdk_sns::Client;
    use aws_sdk_sns::operation::publish_batch::PublishBatchOutput;
    use aws_sdk_sns::types::{BatchResultErrorEntry, PublishBatchResultEntry};
    let answers = mock!(Client::publish_batch).then_output(|| {
        let failed = |id: &str, sender_fault| {
            let entry = BatchResultErrorEntry::builder().id(id).sender_fault(sender_fault);
            entry.code("Broken").build().unwrap()
        };
        PublishBatchOutput::builder()
            .successful(PublishBatchResultEntry::builder().id("2").message_id("m").build())
            .failed(failed("3", false))
            .failed(failed("0", true))
            .build()
    });
    let client = mock_client!(aws_sdk_sns, RuleMode::MatchAny, [&answers]);
    let topic = Topic::new(client, "arn:aws:sns:us-east-1:000000000000:alerts".into());
    let notification =
        Notification { subject: "s".into(), message: "m".into(), attributes: Vec::new() };

    let verdicts = topic.put(&[&notification; 4]).await.unwrap();

    let failed = |code: &str| EntryResult::Failed(code.into());
    let refused = EntryResult::Rejected("Broken".into());
    assert_eq!(verdicts, [refused, failed("no_answer"), EntryResult::Stored, failed("Broken")]);
}

#[tokio::test]
async fn s3_errors_map_to_read_errors() {
    use aws_sdk_s3::Client;
    let object = ObjectName { bucket: "b".into(), key: "k".into(), version_id: None, etag: None };
    for (status, code, expected) in [
        (404, "NoSuchKey", Some(ReadError::Missing)),
        (404, "NoSuchVersion", Some(ReadError::Missing)),
        (412, "PreconditionFailed", Some(ReadError::Changed)),
        (416, "InvalidRange", None),
    ] {
        let answers = mock!(Client::get_object).then_http_response(move || {
            let body = format!("<Error><Code>{code}</Code><Message>m</Message></Error>");
            HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body))
        });
        let client = mock_client!(aws_sdk_s3, RuleMode::MatchAny, [&answers]);

        let read = S3::new(client).read(&object, 0..10).await;

        assert_eq!(read.as_ref().err(), expected.as_ref(), "{code}");
        assert!(read.is_err() || read.unwrap().bytes.is_empty(), "{code}");
    }
}

#[tokio::test]
async fn s3_access_denied_is_a_setup_error() {
    use aws_sdk_s3::Client;
    let answers = mock!(Client::get_object).then_http_response(|| {
        let body = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
        HttpResponse::new(StatusCode::try_from(403).unwrap(), SdkBody::from(body))
    });
    let client = mock_client!(aws_sdk_s3, RuleMode::MatchAny, [&answers]);
    let object = ObjectName { bucket: "b".into(), key: "k".into(), version_id: None, etag: None };

    let error = S3::new(client).read(&object, 0..10).await.unwrap_err();

    assert_eq!(error.to_string(), "s3:GetObject on s3://b/k: AccessDenied: no");
}
