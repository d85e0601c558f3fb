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

/// Maps an answer that does not fit its statement.
pub(crate) fn of_answer(keyspace: &str, error: &impl ToString) -> CallError {
    of_request(keyspace, "client", error.to_string())
}

fn of_attempt(keyspace: &str, error: &RequestAttemptError) -> CallError {
    match error {
        RequestAttemptError::DbError(error, message) => {
            let code = code_of(error);
            if is_transient(error) {
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

/// Returns true if the same request may succeed later. Keyspaces reports throttling as timeouts:
/// <https://docs.aws.amazon.com/keyspaces/latest/devguide/troubleshooting.serverless.html>.
fn is_transient(error: &DbError) -> bool {
    !matches!(
        error,
        DbError::SyntaxError
            | DbError::Invalid
            | DbError::AlreadyExists { .. }
            | DbError::FunctionFailure { .. }
            | DbError::AuthenticationError
            | DbError::Unauthorized
            | DbError::ConfigError
            | DbError::ProtocolError
    )
}

fn code_of(error: &DbError) -> &'static str {
    match error {
        DbError::SyntaxError => "syntax_error",
        DbError::Invalid => "invalid",
        DbError::AlreadyExists { .. } => "already_exists",
        DbError::FunctionFailure { .. } => "function_failure",
        DbError::AuthenticationError => "bad_credentials",
        DbError::Unauthorized => "unauthorized",
        DbError::ConfigError => "config_error",
        DbError::Unavailable { .. } => "unavailable",
        DbError::Overloaded => "overloaded",
        DbError::IsBootstrapping => "is_bootstrapping",
        DbError::TruncateError => "truncate_error",
        DbError::ReadTimeout { .. } => "read_timeout",
        DbError::WriteTimeout { .. } => "write_timeout",
        DbError::ReadFailure { .. } => "read_failure",
        DbError::WriteFailure { .. } => "write_failure",
        DbError::Unprepared { .. } => "unprepared",
        DbError::ServerError => "server_error",
        DbError::ProtocolError => "protocol_error",
        DbError::RateLimitReached { .. } => "rate_limit_reached",
        _ => "unknown",
    }
}

fn retryable(code: &str, message: String) -> CallError {
    CallError::Retryable { operation: OPERATION, code: code.to_owned(), message }
}

fn of_request(keyspace: &str, code: &str, message: String) -> CallError {
    let (resource, code) = (keyspace.to_owned(), code.to_owned());
    CallError::Setup(SetupError { operation: OPERATION, resource, code, message })
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
