//! The two kinds of failed calls: broken plumbing, which is retried, and broken set-up, which
//! names what is missing.

use std::error::Error;
use std::fmt;

use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use thiserror::Error as ThisError;

/// A call that did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
pub enum CallError {
    /// Throttled, a server's fault, a time-out: the same call may succeed later.
    #[error("{operation}: {code}: {message}")]
    Retryable {
        /// The operation that was called.
        operation: &'static str,
        /// The service's error code, or one of `time_out`, `dispatch`, `response`.
        code: String,
        /// What the service said.
        message: String,
    },
    /// Access denied, no such resource, a request the service will never take: a person must act.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

/// The deployment is wrong; the invocation fails with this text.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[error("{operation} on {resource}: {code}: {message}")]
pub struct SetupError {
    /// The operation that was called.
    pub operation: &'static str,
    /// The resource it was called on.
    pub resource: String,
    /// The service's error code.
    pub code: String,
    /// What the service said.
    pub message: String,
}

/// Why an invocation fails as a whole: Lambda delivers its batch again and, after its retries, parks
/// it in the on-failure destination.
#[derive(Debug, ThisError)]
pub enum InvocationError {
    /// The payload is not what this function is for.
    #[error("the payload cannot be read: {0}")]
    Payload(#[from] serde_json::Error),
    /// The deployment is wrong.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A service did not do what it should, and nothing of the invocation can be reported otherwise.
    #[error("{0}")]
    Retryable(CallError),
}

impl From<CallError> for InvocationError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Setup(error) => Self::Setup(error),
            retryable @ CallError::Retryable { .. } => Self::Retryable(retryable),
        }
    }
}

impl InvocationError {
    /// The kind of fault, as Lambda shows it beside the message.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Payload(_) => "Payload",
            Self::Setup(_) => "SetUp",
            Self::Retryable(_) => "Plumbing",
        }
    }
}

impl SetupError {
    /// A request that cannot even be built.
    pub fn request(operation: &'static str, resource: &str, error: &impl fmt::Display) -> Self {
        let (resource, code) = (resource.to_owned(), "client".to_owned());
        Self { operation, resource, code, message: error.to_string() }
    }
}

impl CallError {
    /// No answer within the time there was; whether the call took effect is not known.
    #[must_use]
    pub fn time_out(operation: &'static str) -> Self {
        Self::Retryable { operation, code: "time_out".into(), message: "no answer in time".into() }
    }

    /// Sorts an SDK error by what can be done about it.
    pub fn from_sdk<E>(
        operation: &'static str,
        resource: &str,
        error: &SdkError<E, HttpResponse>,
    ) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let retryable = |code: &str, message: String| Self::Retryable {
            operation,
            code: code.to_owned(),
            message,
        };
        match error {
            SdkError::ServiceError(answer) => {
                let code = answer.err().code().unwrap_or("unknown");
                let message = answer.err().message().unwrap_or("no message").to_owned();
                let status = answer.raw().status().as_u16();
                if status >= 500 || status == 429 || is_transient(code) {
                    retryable(code, message)
                } else {
                    let (resource, code) = (resource.to_owned(), code.to_owned());
                    Self::Setup(SetupError { operation, resource, code, message })
                }
            }
            SdkError::TimeoutError(_) => Self::time_out(operation),
            SdkError::DispatchFailure(_) => retryable("dispatch", chain(error)),
            SdkError::ResponseError(_) => retryable("response", chain(error)),
            // Among these: no credentials, no region, a request that cannot be built.
            _ => Self::Setup(SetupError {
                operation,
                resource: resource.to_owned(),
                code: "client".to_owned(),
                message: chain(error),
            }),
        }
    }
}

/// Codes of client errors that pass by themselves.
///
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html#API_PutRecords_Errors>
/// and its like for the other services.
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

/// What the SDK says when no provider has credentials; each provider's reason follows, a line each.
const NO_CREDENTIALS: &str = "no credentials found in chain";

/// An error and what it is caused by, on one line. Where there are no credentials, it says what to set.
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
        // Some repeat what they are caused by.
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
