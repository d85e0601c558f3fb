//! The function that batches go to.

use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::error::DisplayErrorContext;
use aws_sdk_lambda::primitives::Blob;
use thiserror::Error;
use tributary_aws::clients;

/// The longest a function may run, and some time for the way there and back.
const INVOCATION: Duration = Duration::from_secs(910);

/// Connecting takes milliseconds.
const CONNECT: Duration = Duration::from_secs(2);

/// An invocation that failed as a whole.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct InvokeError(pub String);

/// A function.
pub trait Invoker {
    /// Hands it a payload and waits for its answer, which may be empty.
    ///
    /// # Errors
    ///
    /// When it was not called, failed, or did not answer: nothing is known to be delivered.
    fn invoke(&self, payload: String) -> impl Future<Output = Result<String, InvokeError>>;
}

/// A function in this process.
#[derive(Debug)]
pub struct InProcess<F>(pub F);

impl<F: AsyncFn(String) -> Result<String, InvokeError>> Invoker for InProcess<F> {
    async fn invoke(&self, payload: String) -> Result<String, InvokeError> {
        (self.0)(payload).await
    }
}

/// A Lambda function, called through the Invoke API and waited for.
///
/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>
#[derive(Clone, Debug)]
pub struct LambdaFunction {
    client: Client,
    name: String,
}

impl LambdaFunction {
    /// The function `name`; region, credentials and endpoint are those of the environment.
    pub async fn connect(name: &str) -> Self {
        // No retries of the SDK: the poller retries, and counts.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(INVOCATION)
            .build();
        let config = aws_sdk_lambda::config::Builder::from(&clients::load().await)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::disabled())
            .build();
        Self::new(Client::from_conf(config), name)
    }

    /// The function `name` through a client.
    #[must_use]
    pub fn new(client: Client, name: &str) -> Self {
        Self { client, name: name.to_owned() }
    }
}

impl Invoker for LambdaFunction {
    async fn invoke(&self, payload: String) -> Result<String, InvokeError> {
        let call = self.client.invoke().function_name(&self.name).payload(Blob::new(payload));
        let answer = call.send().await.map_err(|error| {
            InvokeError(format!("lambda:Invoke on {}: {}", self.name, DisplayErrorContext(&error)))
        })?;
        let text = answer.payload().map(|it| String::from_utf8_lossy(it.as_ref()).into_owned());
        let text = text.unwrap_or_default();
        match answer.function_error() {
            None => Ok(text),
            Some(kind) => Err(InvokeError(format!("{} failed ({kind}): {text}", self.name))),
        }
    }
}
