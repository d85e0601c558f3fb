//! Clients of the AWS SDK, built once at the start of a function.

use std::time::Duration;

use aws_config::BehaviorVersion;
pub use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
pub use aws_sdk_kinesis::config::Credentials;
use aws_sdk_kinesis::config::ProvideCredentials as _;

use crate::error::chain;

/// Time limit for connecting, which takes milliseconds within a region.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Time limit of a single attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Loads region, credentials and endpoint from the environment, with the SDK's standard retries.
pub async fn load() -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard())
        .load()
        .await
}

/// Returns the current credentials of the environment, for requests that are signed outside the
/// SDK's clients. They are valid until they expire.
///
/// # Errors
///
/// Returns an error if there are none.
pub async fn credentials(config: &SdkConfig) -> Result<Credentials, String> {
    let provider = config.credentials_provider().ok_or("the environment has none")?;
    let credentials = provider.provide_credentials().await;
    credentials.map_err(|error| chain(&error))
}

/// Returns the configuration of a client that does not retry.
fn without_retries(config: &SdkConfig) -> SdkConfig {
    config.to_builder().retry_config(RetryConfig::disabled()).build()
}

/// Creates a Kinesis client without retries. The [producer](crate::producer) retries, because only
/// it knows the failed entries and the time left.
#[must_use]
pub fn kinesis(config: &SdkConfig) -> aws_sdk_kinesis::Client {
    aws_sdk_kinesis::Client::new(&without_retries(config))
}

/// Creates a Firehose client without retries, as [`kinesis`].
#[must_use]
pub fn firehose(config: &SdkConfig) -> aws_sdk_firehose::Client {
    aws_sdk_firehose::Client::new(&without_retries(config))
}

/// Creates an SNS client without retries, as [`kinesis`].
#[must_use]
pub fn sns(config: &SdkConfig) -> aws_sdk_sns::Client {
    aws_sdk_sns::Client::new(&without_retries(config))
}

/// Creates a DynamoDB client without retries, as [`kinesis`]: [`crate::claims::RetryingClaims`]
/// retries.
#[must_use]
pub fn dynamodb(config: &SdkConfig) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::new(&without_retries(config))
}

/// Creates an S3 client. With a custom endpoint it puts the bucket into the path, because a local
/// AWS has no DNS name for each bucket.
#[must_use]
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let own_endpoint = config.endpoint_url().is_some();
    let config = aws_sdk_s3::config::Builder::from(config).force_path_style(own_endpoint);
    aws_sdk_s3::Client::from_conf(config.build())
}

/// Creates an SQS client.
#[must_use]
pub fn sqs(config: &SdkConfig) -> aws_sdk_sqs::Client {
    aws_sdk_sqs::Client::new(config)
}

/// Creates a CloudWatch client without retries, as [`kinesis`].
#[must_use]
pub fn cloudwatch(config: &SdkConfig) -> aws_sdk_cloudwatch::Client {
    aws_sdk_cloudwatch::Client::new(&without_retries(config))
}
