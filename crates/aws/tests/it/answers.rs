//! Adapters against recorded SDK answers: stored entries are distinguished from the others.

use std::time::Duration;

use serde_json::{Value, json};
use tributary_aws::clients;
use tributary_aws::deadline::Deadline;
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::kinesis::{Stream, StreamRecord};
use tributary_aws::producer::{Delivery, Outbound, Producer};
use tributary_aws::put::{BatchPut, EntryResult};
use tributary_aws::s3::{ObjectName, ObjectStore, ReadError, S3};
use tributary_aws::sns::{Notification, Topic};
use tributary_testkit::FakeHttp;

use crate::support::{operations, request, sent};

fn stored(n: usize) -> Value {
    json!({"SequenceNumber": format!("{n:056}"), "ShardId": "shardId-000000000000"})
}

fn throttled() -> Value {
    json!({
        "ErrorCode": "ProvisionedThroughputExceededException",
        "ErrorMessage": "Rate exceeded for shard shardId-000000000000 in stream raw",
    })
}

/// Answers a `PutRecords` call with the results of its records.
fn answer(entries: impl IntoIterator<Item = Value>) -> (u16, String) {
    let entries: Vec<_> = entries.into_iter().collect();
    let failed = entries.iter().filter(|it| it.get("ErrorCode").is_some()).count();
    (200, json!({"FailedRecordCount": failed, "Records": entries}).to_string())
}

fn records(count: usize) -> Vec<Outbound<StreamRecord>> {
    (0..count)
        .map(|n| Outbound { position: n, entry: StreamRecord::new(&format!("A-{n}"), vec![b'{']) })
        .collect()
}

/// Returns the `PutRecords` call of the records at these positions.
fn put_records(positions: impl IntoIterator<Item = usize>) -> (String, Value) {
    let record = |n| json!({"Data": "ew==", "PartitionKey": format!("A-{n}")});
    let records: Vec<_> = positions.into_iter().map(record).collect();
    request("PutRecords", json!({"StreamName": "raw", "Records": records}))
}

fn stream(http: &FakeHttp) -> Stream {
    Stream::new(clients::kinesis(&http.sdk_config()), "raw".into(), 1 << 20)
}

async fn send(http: &FakeHttp, count: usize, time: Duration) -> Delivery {
    let producer = Producer::new(stream(http));
    producer.send(&records(count), Deadline::after(time)).await.unwrap()
}

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test(start_paused = true)]
async fn only_failed_entries_are_retried() {
    let first = (0..500).map(|n| if n % 13 == 0 && n < 481 { throttled() } else { stored(n) });
    let http = FakeHttp::new([answer(first), answer((0..37).map(stored))]);

    let delivery = send(&http, 500, MINUTE).await;

    assert_eq!((delivery.undelivered.len(), delivery.retried), (0, 37));
    assert_eq!(sent(&http), [put_records(0..500), put_records((0..37).map(|n| n * 13))]);
}

#[tokio::test(start_paused = true)]
async fn throttled_or_5xx_call_is_retried() {
    let throttled = r#"{"__type":"LimitExceededException","message":"slow down"}"#.to_owned();
    let failed = (500, "{}".to_owned());
    let http = FakeHttp::new([(400, throttled), failed, answer((0..3).map(stored))]);

    let delivery = send(&http, 3, MINUTE).await;

    assert_eq!((delivery.undelivered.len(), delivery.retried), (0, 6));
    assert_eq!(sent(&http), vec![put_records(0..3); 3]);
}

#[tokio::test(start_paused = true)]
async fn a_short_answer_is_not_trusted() {
    let http = FakeHttp::new([answer((0..2).map(stored)), answer((0..3).map(stored))]);

    let delivery = send(&http, 3, MINUTE).await;

    assert_eq!((delivery.undelivered.len(), delivery.retried), (0, 3));
    assert_eq!(sent(&http), vec![put_records(0..3); 2]);
}

#[tokio::test(start_paused = true)]
async fn entry_without_number_or_error_is_not_stored() {
    let http = FakeHttp::new([answer([stored(0), json!({}), stored(2)])]);
    let records = records(3);
    let entries: Vec<_> = records.iter().map(|outbound| &outbound.entry).collect();

    let verdicts = stream(&http).put(&entries).await.unwrap();

    assert_eq!(
        verdicts,
        [EntryResult::Stored, EntryResult::Failed("no_answer".into()), EntryResult::Stored]
    );
    assert_eq!(sent(&http), [put_records(0..3)]);
}

#[tokio::test(start_paused = true)]
async fn near_the_deadline_what_is_left_is_reported() {
    let first = answer((0..500).map(|n| if n < 499 { stored(n) } else { throttled() }));
    let retries = vec![answer([throttled()]); 100];
    let others = [answer((500..1_000).map(stored)), answer((1_000..1_200).map(stored))];
    let http = FakeHttp::new([&[first], &others[..], &retries].concat());

    let delivery = send(&http, 1_200, Duration::from_secs(5)).await;

    assert_eq!(delivery.undelivered, [499]);
    let calls = sent(&http);
    assert!((6..=103).contains(&calls.len()), "{} calls", calls.len());
    let all = [put_records(0..500), put_records(500..1_000), put_records(1_000..1_200)];
    assert!(calls[..3] == all);
    assert!(calls[3..].iter().all(|call| *call == put_records([499])), "{:?}", &calls[3..]);
}

#[tokio::test]
async fn access_denied_is_a_setup_error() {
    let body = r#"{"__type":"AccessDeniedException","message":"not authorized to perform kinesis:PutRecords"}"#;
    let http = FakeHttp::new([(400, body)]);
    let producer = Producer::new(stream(&http));

    let error = producer.send(&records(1), Deadline::after(MINUTE)).await.unwrap_err();

    assert_eq!(
        error.to_string(),
        "kinesis:PutRecords on raw: AccessDeniedException: not authorized to perform kinesis:PutRecords"
    );
    assert_eq!(sent(&http), [put_records(0..1)]);
}

#[tokio::test(start_paused = true)]
async fn refused_record_costs_only_itself() {
    let refused = || {
        let body = r#"{"__type":"InvalidArgumentException","message":"invalid record"}"#;
        (400, body.to_owned())
    };
    let http = FakeHttp::new([
        refused(),
        answer([stored(0)]),
        refused(),
        answer([stored(1)]),
        refused(),
        refused(),
        answer([stored(3)]),
    ]);

    let delivery = send(&http, 4, MINUTE).await;

    assert_eq!(sent(&http)[4..], [put_records(2..4), put_records([2]), put_records([3])]);
    assert_eq!(delivery.undelivered, [2]);
    let reason = "kinesis:PutRecords on raw: InvalidArgumentException: invalid record";
    assert_eq!(delivery.rejected.into_values().collect::<Vec<_>>(), [reason]);
}

#[tokio::test]
async fn firehose_answers_for_each_line() {
    let answer = r#"{"FailedPutCount":1,"RequestResponses":[{"RecordId":"r1"},{"ErrorCode":"ServiceUnavailableException"}]}"#;
    let http = FakeHttp::new([(200, answer)]);
    let client = clients::firehose(&http.sdk_config());
    let quarantine = DeliveryStream::new(client, "quarantine".into());

    let verdicts = quarantine.put(&[&b"{}\n".to_vec(), &b"[]\n".to_vec()]).await.unwrap();

    let failed = EntryResult::Failed("ServiceUnavailableException".into());
    assert_eq!(verdicts, [EntryResult::Stored, failed]);
    let put = json!({
        "DeliveryStreamName": "quarantine",
        "Records": [{"Data": "e30K"}, {"Data": "W10K"}],
    });
    assert_eq!(sent(&http), [request("PutRecordBatch", put)]);
}

#[tokio::test]
async fn sns_answers_match_by_id_invalid_parameter_rejects() {
    let failed = |id: u8, code: &str, sender_fault: bool| {
        format!(
            "<member><Id>{id}</Id><Code>{code}</Code><SenderFault>{sender_fault}</SenderFault></member>"
        )
    };
    let answer = format!(
        "<PublishBatchResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">\
         <PublishBatchResult>\
         <Successful><member><Id>2</Id><MessageId>m</MessageId></member></Successful>\
         <Failed>{}{}{}</Failed>\
         </PublishBatchResult>\
         </PublishBatchResponse>",
        failed(3, "InternalError", false),
        failed(0, "InvalidParameter", true),
        failed(4, "AuthorizationError", true),
    );
    let http = FakeHttp::new([(200, answer)]);
    let client = clients::sns(&http.sdk_config());
    let topic = Topic::new(client, "arn:aws:sns:us-east-1:000000000000:alerts".into());
    let notification =
        Notification { subject: "s".into(), message: "m".into(), attributes: Vec::new() };

    let verdicts = topic.put(&[&notification; 5]).await.unwrap();

    let failed = |code: &str| EntryResult::Failed(code.into());
    let refused = EntryResult::Rejected("InvalidParameter".into());
    let [unanswered, failed, denied] =
        ["no_answer", "InternalError", "AuthorizationError"].map(failed);
    assert_eq!(verdicts, [refused, unanswered, EntryResult::Stored, failed, denied]);
    let requests = http.requests();
    let bodies: Vec<_> = requests.iter().map(|it| String::from_utf8_lossy(&it.body)).collect();
    let entry = |number: usize| {
        let field = format!("&PublishBatchRequestEntries.member.{number}");
        format!("{field}.Id={}{field}.Message=m{field}.Subject=s", number - 1)
    };
    let topic = "arn%3Aaws%3Asns%3Aus-east-1%3A000000000000%3Aalerts";
    let publish = format!("Action=PublishBatch&Version=2010-03-31&TopicArn={topic}");
    let publish = publish + &[1, 2, 3, 4, 5].map(entry).concat();
    assert_eq!(bodies, [publish]);
}

const GET_OBJECT: &str = "GET https://s3.us-east-1.amazonaws.com/b/k?x-id=GetObject";

fn object() -> ObjectName {
    ObjectName { bucket: "b".into(), key: "k".into(), version_id: None, etag: None }
}

fn store(http: &FakeHttp) -> S3 {
    S3::new(clients::s3(&http.sdk_config()))
}

#[tokio::test]
async fn s3_errors_map_to_read_errors() {
    for (status, code, expected) in [
        (404, "NoSuchKey", Some(ReadError::Missing)),
        (404, "NoSuchVersion", Some(ReadError::Missing)),
        (412, "PreconditionFailed", Some(ReadError::Changed)),
        (416, "InvalidRange", None),
    ] {
        let body = format!("<Error><Code>{code}</Code><Message>m</Message></Error>");
        let http = FakeHttp::new([(status, body)]);

        let read = store(&http).read(&object(), 0..10).await;

        assert_eq!(read.as_ref().err(), expected.as_ref(), "{code}");
        assert!(read.is_err() || read.unwrap().bytes.is_empty(), "{code}");
        assert_eq!(operations(&http), [GET_OBJECT]);
    }
}

#[tokio::test]
async fn s3_access_denied_is_a_setup_error() {
    let body = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
    let http = FakeHttp::new([(403, body)]);

    let error = store(&http).read(&object(), 0..10).await.unwrap_err();

    assert_eq!(error.to_string(), "s3:GetObject on s3://b/k: AccessDenied: no");
    assert_eq!(operations(&http), [GET_OBJECT]);
}
