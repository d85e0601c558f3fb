//! Errors of calls: retryable ones, and setup errors, which name what is missing.

use std::error::Error;
use std::fmt;

use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use thiserror::Error as ThisError;

use crate::takeover::Stale;

/// Error of a call to a service.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
pub enum CallError {
    /// Throttle, server fault or timeout: the same call may succeed later.
    #[error("{operation}: {code}: {message}")]
    Retryable {
        /// Operation that was called.
        operation: &'static str,
        /// Error code of the service, or `time_out`, `dispatch` or `response`.
        code: String,
        /// The service's message.
        message: String,
    },
    /// Request that the service rejects for what it contains. Without the datum at fault the call
    /// may succeed, so the datum is bad data and the set-up is not wrong.
    #[error("{operation} on {resource}: {code}: {message}")]
    Refused {
        /// Operation that was called.
        operation: &'static str,
        /// Resource of the call.
        resource: String,
        /// Error code of the service.
        code: String,
        /// The service's message.
        message: String,
    },
    /// Access denied, missing resource, or a request that cannot be built: an operator must act.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

/// Wrong deployment. The invocation fails with this text.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[error("{operation} on {resource}: {code}: {message}")]
pub struct SetupError {
    /// Operation that was called.
    pub operation: &'static str,
    /// Resource of the call.
    pub resource: String,
    /// Error code of the service.
    pub code: String,
    /// The service's message.
    pub message: String,
}

/// Failure of a whole invocation: Lambda redelivers its batch and, after its retries, parks it in
/// the on-failure destination.
#[derive(Debug, ThisError)]
pub enum InvocationError {
    /// Payload that is not meant for this function.
    #[error("the payload cannot be read: {0}")]
    Payload(#[from] serde_json::Error),
    /// Wrong deployment.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// Failed call of an invocation that has no other way to report it.
    #[error("{0}")]
    Retryable(CallError),
    /// Record of a dataset that only a later configuration can have.
    #[error(transparent)]
    Stale(#[from] Stale),
}

impl From<CallError> for InvocationError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Setup(error) => Self::Setup(error),
            // A call that is not about a datum: its request is wrong.
            CallError::Refused { operation, resource, code, message } => {
                Self::Setup(SetupError { operation, resource, code, message })
            }
            retryable @ CallError::Retryable { .. } => Self::Retryable(retryable),
        }
    }
}

impl InvocationError {
    /// Returns the error type that Lambda shows beside the message.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Payload(_) => "Payload",
            Self::Setup(_) => "SetUp",
            Self::Retryable(_) | Self::Stale(_) => "Plumbing",
        }
    }
}

impl SetupError {
    /// Creates a setup error.
    pub fn new(operation: &'static str, resource: &str, code: &str, message: String) -> Self {
        Self { operation, resource: resource.to_owned(), code: code.to_owned(), message }
    }

    /// Creates the error of a request that cannot be built, or of an answer that cannot be used.
    pub fn request(operation: &'static str, resource: &str, error: &impl fmt::Display) -> Self {
        Self::new(operation, resource, "client", error.to_string())
    }
}

impl CallError {
    /// Creates an error after which the same call may succeed.
    pub fn retryable(operation: &'static str, code: &str, message: impl Into<String>) -> Self {
        Self::Retryable { operation, code: code.to_owned(), message: message.into() }
    }

    /// Creates the error of a call without an answer in time. The call may have taken effect.
    #[must_use]
    pub fn time_out(operation: &'static str) -> Self {
        Self::retryable(operation, "time_out", "no answer in time")
    }

    /// Creates the error of a request that the service rejects for what it contains.
    pub fn refused(
        operation: &'static str,
        resource: &str,
        code: &str,
        message: impl Into<String>,
    ) -> Self {
        let (resource, code) = (resource.to_owned(), code.to_owned());
        Self::Refused { operation, resource, code, message: message.into() }
    }

    /// Returns the mapping of an SDK error to a retryable error, a refusal or a setup error.
    pub fn from_sdk<E>(
        operation: &'static str,
        resource: &str,
    ) -> impl Fn(SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        move |error| match &error {
            SdkError::ServiceError(answer) => {
                let code = answer.err().code().unwrap_or("unknown");
                let message = answer.err().message().unwrap_or("no message").to_owned();
                let status = answer.raw().status().as_u16();
                if status >= 500 || status == 429 || is_transient(code) {
                    Self::retryable(operation, code, message)
                } else if is_refusal(code) {
                    Self::refused(operation, resource, code, message)
                } else {
                    SetupError::new(operation, resource, code, message).into()
                }
            }
            SdkError::TimeoutError(_) => Self::time_out(operation),
            SdkError::DispatchFailure(_) => Self::retryable(operation, "dispatch", chain(&error)),
            SdkError::ResponseError(_) => Self::retryable(operation, "response", chain(&error)),
            // Includes missing credentials, a missing region, and requests that cannot be built.
            _ => SetupError::request(operation, resource, &chain(&error)).into(),
        }
    }
}

/// Returns true for codes of transient client errors.
///
/// See
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html#API_PutRecords_Errors>
/// and the same pages of the other services.
fn is_transient(code: &str) -> bool {
    const TRANSIENT: &[&str] = &[
        "ProvisionedThroughputExceededException",
        "LimitExceededException",
        "RequestLimitExceeded",
        "KMSThrottlingException",
        "RequestTimeout",
        "RequestTimeoutException",
        "RequestExpired",
        "SlowDown",
        "KMSThrottling",
        "ConcurrentModification",
        "ServiceUnavailable",
        "InternalFailure",
        "TooManyRequestsException",
    ];
    TRANSIENT.contains(&code) || code.contains("Throttl")
}

/// Returns true for codes of a request, or of an entry of one, that is invalid for what it contains.
///
/// See
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html#API_PutMetricData_Errors>
/// and the same pages of the other services. Codes of denied access and of missing resources are
/// none of these.
pub(crate) fn is_refusal(code: &str) -> bool {
    const REFUSALS: &[&str] = &[
        "InvalidArgumentException",
        "InvalidFormat",
        "InvalidParameter",
        "InvalidParameterCombination",
        "InvalidParameterException",
        "InvalidParameterValue",
        "InvalidParameterValueException",
        "ItemCollectionSizeLimitExceededException",
        "MissingParameter",
        "ParameterValueInvalid",
        "ValidationError",
        "ValidationException",
    ];
    REFUSALS.contains(&code)
}

/// Message of the SDK when no provider has credentials. Each provider's reason follows on a line of
/// its own.
const NO_CREDENTIALS: &str = "no credentials found in chain";

/// Formats an error and its causes on one line. For missing credentials it adds what to set.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = on_one_line(error);
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = on_one_line(cause);
        if cause_text.starts_with(NO_CREDENTIALS) {
            return "no credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                .to_owned();
        }
        // Some errors already end with the text of their cause.
        if !text.ends_with(&cause_text) {
            text.extend([": ", &cause_text]);
        }
        source = cause.source();
    }
    text
}

fn on_one_line(error: &dyn Error) -> String {
    let text = error.to_string();
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
