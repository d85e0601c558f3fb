//! Fault injector: delays and fails calls to a service, and loses their answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
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
pub(crate) struct FaultInjector {
    pub(crate) operation: &'static str,
    pub(crate) faults: Faults,
}

impl FaultInjector {
    /// Makes one call with `effect`.
    ///
    /// # Errors
    ///
    /// Returns the error of the fault that occurs.
    pub(crate) async fn call<T>(&self, effect: impl FnOnce() -> T) -> Result<T, CallError> {
        self.travel().await;
        if self.faults.occurs(Fault::SlowCall) {
            sleep(Duration::from_secs(1 + self.faults.below(12) as u64)).await;
        }
        if self.faults.occurs(Fault::Throttle) {
            return Err(CallError::retryable(self.operation, "ThrottlingException", "simulated"));
        }
        if self.faults.occurs(Fault::ServerError) {
            return Err(CallError::retryable(self.operation, "InternalFailure", "simulated"));
        }
        if self.faults.denies(self.operation) {
            let (code, message) = ("AccessDeniedException", "not authorized".to_owned());
            return Err(SetupError::new(self.operation, "simulated", code, message).into());
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
}

/// Table behind a fault injector. Clones share the state.
#[derive(Clone, Debug)]
pub(crate) struct Remote<S> {
    pub(crate) injector: FaultInjector,
    state: Arc<Mutex<S>>,
    calls: Arc<AtomicUsize>,
}

impl<S: Default> Remote<S> {
    /// Creates an empty table, reached by `operation`.
    pub(crate) fn new(operation: &'static str, faults: Faults) -> Self {
        let injector = FaultInjector { operation, faults };
        Self { injector, state: Arc::default(), calls: Arc::default() }
    }
}

impl<S> Remote<S> {
    /// Locks the state, without a call.
    pub(crate) fn state(&self) -> MutexGuard<'_, S> {
        crate::lock(&self.state)
    }

    /// Returns the number of calls, with or without effect.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Makes one call with `effect`; see [`FaultInjector::call`].
    pub(crate) async fn call<T>(&self, effect: impl FnOnce(&mut S) -> T) -> Result<T, CallError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.injector.call(|| effect(&mut self.state())).await
    }
}
