//! AWS environment, and the outputs and parameters of a deployed stack.

use std::collections::BTreeMap;
use std::error::Error;

use anyhow::{Context as _, Result, anyhow};
use aws_sdk_cloudformation::error::{ProvideErrorMetadata, SdkError};
use tokio::runtime;
use tributary_aws::clients::{self, SdkConfig};
use tributary_aws::error::chain;

/// Outputs and parameters of a stack.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stack {
    pub name: String,
    /// ARN of the stack.
    id: String,
    outputs: BTreeMap<String, String>,
    parameters: BTreeMap<String, String>,
}

impl Stack {
    /// Reads the outputs and parameters of the stack `name` from `CloudFormation`.
    pub(crate) async fn read(config: &SdkConfig, name: &str) -> Result<Self> {
        let client = aws_sdk_cloudformation::Client::new(config);
        let answer = client.describe_stacks().stack_name(name).send().await.map_err(|error| {
            anyhow!("the outputs of stack {name} cannot be read: {}", why(&error))
        })?;
        let mut read = Self { name: name.to_owned(), ..Self::default() };
        for stack in answer.stacks.into_iter().flatten() {
            read.id = stack.stack_id.unwrap_or_default();
            let given = stack.outputs.into_iter().flatten();
            read.outputs.extend(given.filter_map(|it| Some((it.output_key?, it.output_value?))));
            let given = stack.parameters.into_iter().flatten();
            let given = given.filter_map(|it| Some((it.parameter_key?, it.parameter_value?)));
            read.parameters.extend(given);
        }
        Ok(read)
    }

    /// Returns the functions of the stack: each by its name in the batch counts and its name in
    /// AWS.
    pub(crate) fn functions(&self) -> Vec<(String, String)> {
        let names = self.outputs.iter().filter(|(key, _)| key.ends_with("FunctionName"));
        let prefix = format!("{}-", self.name);
        let mut found: Vec<_> = names
            .map(|(_, name)| (name.strip_prefix(&prefix).unwrap_or(name).to_owned(), name.clone()))
            .collect();
        // In the order in which a record passes them.
        let order = ["ingest-s3", "ingest-http", "ingest-kafka", "transform"];
        let place = |name: &str| order.iter().position(|it| *it == name).unwrap_or(order.len());
        found.sort_by_key(|(name, _)| place(name));
        found
    }

    /// Returns true if the ARN is that of a function of the stack, with or without a version: of its
    /// account and region, and of a name among its outputs.
    pub(crate) fn has_function(&self, arn: &str) -> bool {
        // arn:aws:cloudformation:region:account:stack/name/id
        let of_stack: Vec<_> = self.id.split(':').collect();
        let of_function: Vec<_> = arn.split(':').collect();
        let [arn, partition, _, region, account, ..] = of_stack[..] else { return false };
        match of_function[..] {
            [a, p, "lambda", r, c, "function", name]
            | [a, p, "lambda", r, c, "function", name, _] => {
                [a, p, r, c] == [arn, partition, region, account]
                    && self.functions().iter().any(|(_, known)| known == name)
            }
            _ => false,
        }
    }

    /// Returns the value of a parameter of the deployment; empty if there is none of this name.
    pub(crate) fn parameter(&self, key: &str) -> &str {
        self.parameters.get(key).map_or("", String::as_str)
    }

    /// Returns the value of an output.
    pub(crate) fn output(&self, key: &str) -> Result<&str> {
        let value = self.outputs.get(key).map(String::as_str);
        value.with_context(|| format!("stack {} has no output {key}", self.name))
    }
}

/// Runs `work` with the configuration of the AWS environment.
pub(crate) fn with_aws<T>(work: impl AsyncFnOnce(&SdkConfig) -> Result<T>) -> Result<T> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("nothing can be read")?;
    runtime.block_on(async { work(&clients::load().await).await })
}

/// Returns why a call failed: the service's message, or else the chain of errors on the way to it.
pub(crate) fn why<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug,
{
    if let Some(message) = error.as_service_error().and_then(ProvideErrorMetadata::message) {
        return message.to_owned();
    }
    chain(error)
}
