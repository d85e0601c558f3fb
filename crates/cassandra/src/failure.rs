//! Maps the driver's errors to retryable errors and setup errors.

use scylla::errors::{
    BadQuery, DbError, ExecutionError, PrepareError, RequestAttemptError, UseKeyspaceError,
};
use tributary_aws::error::{CallError, SetupError};
use tributary_aws::windows::OPERATION;

/// Maps the error of a call; `keyspace` is for messages.
pub(crate) fn of_call(keyspace: &str, error: &ExecutionError) -> CallError {
    match error {
        ExecutionError::RequestTimeout(_) => CallError::time_out(OPERATION),
        ExecutionError::LastAttemptError(attempt)
        | ExecutionError::PrepareError(PrepareError::AllAttemptsFailed {
            first_attempt: attempt,
        })
        | ExecutionError::UseKeyspaceError(UseKeyspaceError::RequestError(attempt)) => {
            of_attempt(keyspace, attempt)
        }
        ExecutionError::BadQuery(BadQuery::SerializationError(error)) => {
            of_request(keyspace, "client", error.to_string())
        }
        // No connection for now, or none with a valid answer.
        error => retryable("dispatch", error.to_string()),
    }
}

fn of_attempt(keyspace: &str, error: &RequestAttemptError) -> CallError {
    match error {
        RequestAttemptError::DbError(error, message) => {
            let (code, is_transient) = code_of(error);
            if is_transient {
                retryable(code, message.clone())
            } else {
                of_request(keyspace, code, message.clone())
            }
        }
        RequestAttemptError::SerializationError(_)
        | RequestAttemptError::CqlRequestSerialization(_) => {
            of_request(keyspace, "client", error.to_string())
        }
        RequestAttemptError::BrokenConnectionError(_)
        | RequestAttemptError::UnableToAllocStreamId => retryable("dispatch", error.to_string()),
        error => retryable("response", error.to_string()),
    }
}

/// Returns the code of an error, and true if the same request may succeed later. Keyspaces reports
/// throttling as timeouts:
/// <https://docs.aws.amazon.com/keyspaces/latest/devguide/troubleshooting.serverless.html>.
fn code_of(error: &DbError) -> (&'static str, bool) {
    match error {
        DbError::SyntaxError => ("syntax_error", false),
        DbError::Invalid => ("invalid", false),
        DbError::AlreadyExists { .. } => ("already_exists", false),
        DbError::FunctionFailure { .. } => ("function_failure", false),
        DbError::AuthenticationError => ("bad_credentials", false),
        DbError::Unauthorized => ("unauthorized", false),
        DbError::ConfigError => ("config_error", false),
        DbError::Unavailable { .. } => ("unavailable", true),
        DbError::Overloaded => ("overloaded", true),
        DbError::IsBootstrapping => ("is_bootstrapping", true),
        DbError::TruncateError => ("truncate_error", true),
        DbError::ReadTimeout { .. } => ("read_timeout", true),
        DbError::WriteTimeout { .. } => ("write_timeout", true),
        DbError::ReadFailure { .. } => ("read_failure", true),
        DbError::WriteFailure { .. } => ("write_failure", true),
        DbError::Unprepared { .. } => ("unprepared", true),
        DbError::ServerError => ("server_error", true),
        DbError::ProtocolError => ("protocol_error", false),
        DbError::RateLimitReached { .. } => ("rate_limit_reached", true),
        _ => ("unknown", true),
    }
}

/// Creates the error of a call that may succeed later.
pub(crate) fn retryable(code: &str, message: String) -> CallError {
    CallError::retryable(OPERATION, code, message)
}

/// Creates the error of a request that the cluster can never accept.
pub(crate) fn of_request(keyspace: &str, code: &str, message: String) -> CallError {
    SetupError::new(OPERATION, keyspace, code, message).into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use scylla::statement::Consistency;

    use super::*;

    fn said(error: DbError) -> CallError {
        let attempt = RequestAttemptError::DbError(error, "told".to_owned());
        of_call("tributary", &ExecutionError::LastAttemptError(attempt))
    }

    #[test]
    fn driver_errors_map_to_retryable_or_setup() {
        let unavailable =
            DbError::Unavailable { consistency: Consistency::LocalQuorum, required: 2, alive: 1 };
        for (error, code) in [
            (unavailable, "unavailable"),
            (DbError::Overloaded, "overloaded"),
            (DbError::IsBootstrapping, "is_bootstrapping"),
            (DbError::ServerError, "server_error"),
            (DbError::Other(7), "unknown"),
        ] {
            let reported = said(error);
            assert!(
                matches!(&reported, CallError::Retryable { code: it, .. } if it == code),
                "{reported}"
            );
        }
        for (error, code) in [
            (DbError::Unauthorized, "unauthorized"),
            (DbError::AuthenticationError, "bad_credentials"),
            (DbError::Invalid, "invalid"),
            (DbError::SyntaxError, "syntax_error"),
        ] {
            let reported = said(error);
            assert!(matches!(&reported, CallError::Setup(it) if it.code == code), "{reported}");
            assert_eq!(reported.to_string(), format!("windows store on tributary: {code}: told"));
        }
    }

    #[test]
    fn unanswered_call_is_a_timeout() {
        let error = ExecutionError::RequestTimeout(Duration::from_secs(5));

        assert_eq!(of_call("tributary", &error), CallError::time_out(OPERATION));
    }
}
