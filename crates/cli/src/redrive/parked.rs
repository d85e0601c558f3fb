//! Batches that Lambda parked: the same function is invoked again with the same payload, and then
//! with the rest of it for as long as the function gets further.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Result;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::retry::RetryConfig;
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::primitives::Blob;
use tributary_aws::clients::SdkConfig;
use tributary_aws::parked::{ParkedBatch, failed_items, remaining};
use tributary_aws::payload::revising;

use super::Redrive;
use crate::progress::Progress;
use crate::stack::why;

/// Prefix of parked batches: `aws/lambda/<mapping>/<shard>/…`.
const PARKED: &str = "aws/lambda/";

/// Maximum duration of a function, 900 s, and 10 s for the network.
const INVOCATION: Duration = Duration::from_secs(910);

/// Timeout for connecting, which takes milliseconds.
const CONNECT: Duration = Duration::from_secs(2);

impl Redrive<'_> {
    /// Invokes the functions of parked batches, in the order in which the batches of a shard were
    /// parked. A batch of another stack, account or region stays.
    pub(super) async fn parked(&mut self) -> Result<()> {
        let bucket = self.bucket("RawBucketName")?;
        let (objects, done) = self.objects(&bucket, PARKED).await?;
        let lambda = client(self.config);
        let mut progress = Progress::of_steps(objects.len() as u64, "parked batches");
        for entry in objects {
            if self.stop.is_wanted() {
                break;
            }
            progress.step();
            let key = entry.key;
            let object = bucket.get(&key).await?;
            let batch = match ParkedBatch::from_json(&object) {
                Ok(batch) => batch,
                Err(error) => {
                    let line = self.outcome.line("parked", "unreadable");
                    (line.waiting, line.left) = (line.waiting + 1, line.left + 1);
                    self.outcome.report(&key, &format!("is no batch that Lambda parked: {error}"));
                    continue;
                }
            };
            if !self.is_of_function(batch.function()) {
                continue;
            }
            let is_own = self.stack.has_function(&batch.function_arn);
            let line = self.outcome.line("parked", batch.function());
            line.waiting += 1;
            line.records += records(&batch.payload);
            if !is_own {
                // Whoever can write to the bucket must not choose what an operator invokes.
                line.left += 1;
                let (arn, stack) = (&batch.function_arn, &self.stack.name);
                let why =
                    format!("{arn} is no function of stack {stack} in its account and region");
                self.outcome.report(&key, &why);
                continue;
            }
            if !self.arguments.yes {
                continue;
            }
            // An earlier run succeeded and only failed to remove the object.
            let windows = self.stack.output("WindowsFunctionName");
            let is_windows = windows.is_ok_and(|name| name == batch.function());
            let invoked = if done.contains(&key) {
                Ok(())
            } else {
                invoke_again(&lambda, &batch, is_windows).await
            };
            let function = batch.function().to_owned();
            self.settle(("parked", &function), &bucket, (&key, object), invoked).await?;
        }
        Ok(())
    }

    /// Returns whether batches of this function were requested. `transform` also matches
    /// `dev-transform`.
    fn is_of_function(&self, name: &str) -> bool {
        let in_stack = |wanted: &str| name == format!("{}-{wanted}", self.stack.name);
        let wanted = self.arguments.function.as_deref();
        wanted.is_none_or(|wanted| name == wanted || in_stack(wanted))
    }
}

/// Creates a client that waits for the maximum duration of a function and never retries.
pub(crate) fn client(config: &SdkConfig) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(INVOCATION)
        .build();
    let config = aws_sdk_lambda::config::Builder::from(config).timeout_config(timeouts);
    Client::from_conf(config.retry_config(RetryConfig::disabled()).build())
}

/// Invokes the function of a batch and checks its answer. The batch succeeded only if the answer
/// contains no failure. While the function gets further, it is invoked again with the rest.
/// `windows` takes readings however late they are by now.
async fn invoke_again(
    lambda: &Client,
    batch: &ParkedBatch<'_>,
    is_windows: bool,
) -> Result<(), String> {
    let mut payload = if is_windows {
        Cow::Owned(revising(&batch.payload).map_err(|error| error.to_string())?)
    } else {
        Cow::Borrowed(&*batch.payload)
    };
    loop {
        let answer = invoke(lambda, &batch.function_arn, &payload).await?;
        let failed = failed_items(&answer)?;
        if failed.is_empty() {
            return Ok(());
        }
        let Some(rest) = remaining(&payload, &failed) else {
            let (function, count) = (batch.function(), failed.len());
            return Err(format!("{function} reports {count} batch item failures"));
        };
        payload = Cow::Owned(rest);
    }
}

/// Invokes a function and returns its answer.
///
/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>
pub(crate) async fn invoke(
    lambda: &Client,
    function: &str,
    payload: &str,
) -> Result<String, String> {
    let call = lambda.invoke().function_name(function).payload(Blob::new(payload));
    let answer = call.send().await.map_err(|error| why(&error))?;
    let text = answer.payload.map(Blob::into_inner).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    match answer.function_error {
        Some(kind) => Err(format!("{function} failed ({kind}): {text}")),
        None => Ok(text),
    }
}

/// Counts the records of a payload: one list for a stream, one list per partition for topics.
fn records(payload: &str) -> u64 {
    let payload: serde_json::Value = serde_json::from_str(payload).unwrap_or_default();
    let length = |list: &serde_json::Value| list.as_array().map_or(0, Vec::len) as u64;
    let partitions = payload["records"].as_object();
    length(&payload["Records"]) + partitions.map_or(0, |it| it.values().map(length).sum())
}
