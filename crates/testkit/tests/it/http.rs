//! Scripted answers to the clients of the SDK.

use tributary_aws::clients;
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::put::{BatchPut, EntryResult};
use tributary_testkit::FakeHttp;

#[tokio::test]
async fn request_beyond_script_fails_and_is_recorded() {
    let answer = r#"{"FailedPutCount":0,"RequestResponses":[{"RecordId":"r1"}]}"#;
    let http = FakeHttp::new([(200, answer)]);
    let stream = DeliveryStream::new(clients::firehose(&http.sdk_config()), "raw".into());
    let line = b"{}\n".to_vec();

    assert_eq!(stream.put(&[&line]).await, Ok(vec![EntryResult::Stored]));
    let error = stream.put(&[&line]).await.unwrap_err().to_string();

    assert!(error.ends_with("the script has no answer for PutRecordBatch"), "{error}");
    let requests = http.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0], requests[1]);
}
