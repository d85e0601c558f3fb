//! The SDK's clients, built once at the start of a function.

use std::time::Duration;

use aws_config::BehaviorVersion;
pub use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
pub use aws_sdk_kinesis::config::Credentials;
use aws_sdk_kinesis::config::ProvideCredentials as _;

use crate::error::chain;

/// Connecting takes milliseconds within a region; a connection that takes longer is a lost one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest a single attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Region, credentials and endpoint as the environment says, with the SDK's standard retries.
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

/// The credentials of the environment as they are now: what is signed outside of the SDK's clients
/// keeps them until they expire.
///
/// # Errors
///
/// Why there are none.
pub async fn credentials(config: &SdkConfig) -> Result<Credentials, String> {
    let provider = config.credentials_provider().ok_or("the environment has none")?;
    let credentials = provider.provide_credentials().await;
    credentials.map_err(|error| chain(&error))
}

/// A Kinesis client without retries of its own: the [producer](crate::producer) retries, because
/// it alone sees which entries failed and how much time is left.
#[must_use]
pub fn kinesis(config: &SdkConfig) -> aws_sdk_kinesis::Client {
    let config = aws_sdk_kinesis::config::Builder::from(config);
    aws_sdk_kinesis::Client::from_conf(config.retry_config(RetryConfig::disabled()).build())
}

/// A Firehose client without retries of its own, as [`kinesis`].
#[must_use]
pub fn firehose(config: &SdkConfig) -> aws_sdk_firehose::Client {
    let config = aws_sdk_firehose::config::Builder::from(config);
    aws_sdk_firehose::Client::from_conf(config.retry_config(RetryConfig::disabled()).build())
}

/// An SNS client without retries of its own, as [`kinesis`].
#[must_use]
pub fn sns(config: &SdkConfig) -> aws_sdk_sns::Client {
    let config = aws_sdk_sns::config::Builder::from(config);
    aws_sdk_sns::Client::from_conf(config.retry_config(RetryConfig::disabled()).build())
}

/// A DynamoDB client without retries of its own, as [`kinesis`]: [`crate::claims::RetryingClaims`] retries.
#[must_use]
pub fn dynamodb(config: &SdkConfig) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::config::Builder::from(config);
    aws_sdk_dynamodb::Client::from_conf(config.retry_config(RetryConfig::disabled()).build())
}

/// An S3 client. A local AWS has no DNS name for each bucket, so that with an endpoint of one's own
/// the bucket goes into the path.
#[must_use]
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let own_endpoint = config.endpoint_url().is_some();
    let config = aws_sdk_s3::config::Builder::from(config).force_path_style(own_endpoint);
    aws_sdk_s3::Client::from_conf(config.build())
}

/// An SQS client.
#[must_use]
pub fn sqs(config: &SdkConfig) -> aws_sdk_sqs::Client {
    aws_sdk_sqs::Client::new(config)
}

/// A CloudWatch client without retries of its own, as [`kinesis`].
#[must_use]
pub fn cloudwatch(config: &SdkConfig) -> aws_sdk_cloudwatch::Client {
    let config = aws_sdk_cloudwatch::config::Builder::from(config);
    aws_sdk_cloudwatch::Client::from_conf(config.retry_config(RetryConfig::disabled()).build())
}
