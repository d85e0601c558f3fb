//! Fault injector: delays and fails calls to a service, and loses their answers.

use std::time::Duration;

use tokio::time::sleep;
use tributary_aws::error::{CallError, SetupError};

use crate::fault::{Fault, Faults};

/// Longer than the timeout of any caller.
const LONG_WAIT: Duration = Duration::from_hours(1);

/// Connection from a handler to one operation of a service.
///
/// Every call awaits once before its effect and once after it: a handler can be killed or time out
/// at both points.
#[derive(Clone, Debug)]
pub struct FaultInjector {
    operation: &'static str,
    faults: Faults,
}

impl FaultInjector {
    /// Creates the injector for `operation`.
    #[must_use]
    pub fn new(operation: &'static str, faults: Faults) -> Self {
        Self { operation, faults }
    }

    /// Returns the faults of this injector.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Makes one call with `effect`.
    ///
    /// # Errors
    ///
    /// Returns the error of the fault that occurs.
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

    /// Sleeps for half of the round trip.
    async fn travel(&self) {
        sleep(Duration::from_millis(1 + self.faults.below(15) as u64)).await;
    }

    /// Times out after the client's limit or the caller's.
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
