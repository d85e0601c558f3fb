//! Invocation of the function that receives the batches.

use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::error::DisplayErrorContext;
use aws_sdk_lambda::primitives::Blob;
use tributary_aws::clients;

/// Time limit of an invocation: Lambda's maximum and some time for the network.
const INVOCATION: Duration = Duration::from_secs(910);

/// Time limit for connecting, which takes milliseconds.
const CONNECT: Duration = Duration::from_secs(2);

/// Lambda function, called synchronously through the Invoke API.
///
/// See <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>.
#[derive(Clone, Debug)]
pub struct LambdaFunction {
    client: Client,
    name: String,
}

impl LambdaFunction {
    /// Creates access to the function `name`, with region, credentials and endpoint of the
    /// environment.
    pub async fn connect(name: &str) -> Self {
        // The SDK does not retry: the poller retries, and counts.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(INVOCATION)
            .build();
        let config = aws_sdk_lambda::config::Builder::from(&clients::load().await)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled())
            .build();
        Self { client: Client::from_conf(config), name: name.to_owned() }
    }

    /// Invokes the function with a payload and returns its answer, which may be empty.
    ///
    /// # Errors
    ///
    /// Returns an error if the function was not called, failed or did not answer: nothing is known
    /// to be delivered.
    pub async fn invoke(&self, payload: String) -> Result<String, String> {
        let call = self.client.invoke().function_name(&self.name).payload(Blob::new(payload));
        let answer = call.send().await.map_err(|error| {
            format!("lambda:Invoke on {}: {}", self.name, DisplayErrorContext(&error))
        })?;
        let text = answer.payload().map(|it| String::from_utf8_lossy(it.as_ref()).into_owned());
        let text = text.unwrap_or_default();
        match answer.function_error() {
            None => Ok(text),
            Some(kind) => Err(format!("{} failed ({kind}): {text}", self.name)),
        }
    }
}
