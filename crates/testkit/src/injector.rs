//! The line to a service: time passes on it, calls fail on it, answers are lost on it.

use std::time::Duration;

use tokio::time::sleep;
use tributary_aws::error::{CallError, SetupError};

use crate::fault::{Fault, Faults};

/// Longer than any caller waits.
const LONG_WAIT: Duration = Duration::from_hours(1);

/// The way from a handler to one operation of a service.
///
/// Every call has two awaits, one before its effect and one after it: a handler can be killed, or
/// stop waiting, at both.
#[derive(Clone, Debug)]
pub struct FaultInjector {
    operation: &'static str,
    faults: Faults,
}

impl FaultInjector {
    /// The line to `operation`.
    #[must_use]
    pub fn new(operation: &'static str, faults: Faults) -> Self {
        Self { operation, faults }
    }

    /// The faults on this line.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// One call that has `effect`.
    ///
    /// # Errors
    ///
    /// As the faults have it.
    pub async fn call<T>(&self, effect: impl FnOnce() -> T) -> Result<T, CallError> {
        self.travel().await;
        if self.faults.occurs(Fault::SlowCall) {
            sleep(Duration::from_secs(1 + self.faults.below(12) as u64)).await;
        }
        if self.faults.occurs(Fault::Throttle) {
            return Err(self.retryable("ThrottlingException"));
        }
        if self.faults.occurs(Fault::ServerError) {
            return Err(self.retryable("InternalFailure"));
        }
        if self.faults.denies(self.operation) {
            return Err(CallError::Setup(SetupError {
                operation: self.operation,
                resource: "simulated".into(),
                code: "AccessDeniedException".into(),
                message: "not authorized".into(),
            }));
        }
        if self.faults.occurs(Fault::TimeOutBefore) {
            return Err(self.no_answer().await);
        }
        let result = effect();
        if self.faults.occurs(Fault::TimeOutAfter) {
            return Err(self.no_answer().await);
        }
        self.travel().await;
        Ok(result)
    }

    /// Half of the way there and back.
    async fn travel(&self) {
        sleep(Duration::from_millis(1 + self.faults.below(15) as u64)).await;
    }

    /// Either the client's own limit ends the wait, or the caller's.
    async fn no_answer(&self) -> CallError {
        let wait = if self.faults.below(2) == 0 { Duration::from_secs(3) } else { LONG_WAIT };
        sleep(wait).await;
        CallError::time_out(self.operation)
    }

    fn retryable(&self, code: &str) -> CallError {
        CallError::Retryable {
            operation: self.operation,
            code: code.to_owned(),
            message: "simulated".to_owned(),
        }
    }
}
