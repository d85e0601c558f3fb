//! Simulated Lambda function: a handler with a timeout, whose process can be killed at any await.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;
use tributary_aws::deadline::Deadline;

use crate::clock;
use crate::fault::{Fault, Faults};

/// Time that the runtime reserves at the end of an invocation, as `Deadline::before` does.
const RESERVE: Duration = Duration::from_secs(2);

/// Maximum number of awaits before a random kill, so that kills occur early and late.
const AWAITS: usize = 40;

/// Answer of a handler as JSON, or its error.
pub type Answer = Result<String, String>;

type Handler = dyn Fn(String, Deadline) -> Pin<Box<dyn Future<Output = Answer>>>;

/// Simulated function. Clones share state.
#[derive(Clone)]
pub struct Lambda {
    /// Name of the function.
    pub name: &'static str,
    handler: Rc<Handler>,
    timeout: Duration,
    max_concurrency: usize,
    pub(crate) faults: Faults,
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    invocations: u64,
    running: usize,
    throttled: u64,
    /// Begin of each invocation, and its end once it is over.
    runs: Vec<(Timestamp, Option<Timestamp>)>,
    /// Invocation to kill, and the await at which to kill it.
    kill: Option<(u64, usize)>,
    awaits: usize,
}

/// Failure of an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The handler returned an error.
    Error(String),
    /// The timeout passed.
    TimeOut,
    /// The process was killed.
    Killed,
    /// As many invocations as may run at a time were running: the function was not invoked.
    Throttled,
}

impl Lambda {
    /// Creates a function that may run for `timeout`.
    pub fn new<F>(
        name: &'static str,
        timeout: Duration,
        faults: Faults,
        handler: impl Fn(String, Deadline) -> F + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + 'static,
    {
        let handler: Rc<Handler> = Rc::new(move |payload, it| Box::pin(handler(payload, it)));
        Self { name, handler, timeout, max_concurrency: usize::MAX, faults, state: Rc::default() }
    }

    /// Sets the reserved concurrency: the maximum number of invocations at a time.
    #[must_use]
    pub fn with_max_concurrency(self, max_concurrency: usize) -> Self {
        Self { max_concurrency, ..self }
    }

    /// Returns the number of invocations.
    #[must_use]
    pub fn invocations(&self) -> u64 {
        self.state.borrow().invocations
    }

    /// Returns the earliest begin of the invocations that ran at this time, or the time itself.
    #[must_use]
    pub fn began_before(&self, at: Timestamp) -> Timestamp {
        let state = self.state.borrow();
        let ran = |(begun, ended): &&(Timestamp, Option<Timestamp>)| {
            *begun <= at && ended.is_none_or(|ended| at <= ended)
        };
        state.runs.iter().filter(ran).map(|(begun, _)| *begun).min().unwrap_or(at)
    }

    /// Returns the number of calls that were throttled.
    #[must_use]
    pub fn throttled(&self) -> u64 {
        self.state.borrow().throttled
    }

    /// Kills the given invocation, counted from 1, at the given await, counted from 0.
    pub fn kill_at(&self, invocation: u64, awaits: usize) {
        self.state.borrow_mut().kill = Some((invocation, awaits));
    }

    /// Returns the maximum number of awaits of any invocation.
    #[must_use]
    pub fn awaits(&self) -> usize {
        self.state.borrow().awaits
    }

    /// Invokes the function once.
    ///
    /// # Errors
    ///
    /// Returns a failure if the handler fails, times out or is killed. Effects up to then remain.
    pub async fn invoke(&self, payload: String) -> Result<String, Failure> {
        let (run, planned) = {
            let mut state = self.state.borrow_mut();
            if state.running >= self.max_concurrency {
                state.throttled += 1;
                return Err(Failure::Throttled);
            }
            state.running += 1;
            state.invocations += 1;
            state.runs.push((clock::now(), None));
            let kill = state.kill.filter(|kill| kill.0 == state.invocations);
            (state.runs.len() - 1, kill.map(|kill| kill.1))
        };
        let random_kill = self.faults.occurs(Fault::Kill).then(|| self.faults.below(AWAITS));
        let kill_at = planned.or(random_kill);
        let deadline = Deadline::after(self.timeout.saturating_sub(RESERVE));
        let mut work = (self.handler)(payload, deadline);
        let mut awaits = 0;
        // `None` if the process was killed, which drops the handler midway.
        let process = poll_fn(|context| {
            if let Poll::Ready(answer) = work.as_mut().poll(context) {
                return Poll::Ready(Some(answer));
            }
            awaits += 1;
            let mut state = self.state.borrow_mut();
            state.awaits = state.awaits.max(awaits);
            if kill_at.is_some_and(|at| at < awaits) { Poll::Ready(None) } else { Poll::Pending }
        });
        let answer = timeout(self.timeout, process).await;
        {
            let mut state = self.state.borrow_mut();
            state.running -= 1;
            state.runs[run].1 = Some(clock::now());
        }
        let answer = answer.map_err(|_| Failure::TimeOut)?;
        answer.ok_or(Failure::Killed)?.map_err(Failure::Error)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::sleep;

    use super::*;

    /// Returns a handler of three steps, each after an await, and the number of completed steps.
    fn steps(timeout: Duration, each: Duration) -> (Lambda, Rc<Cell<u32>>) {
        let done = Rc::new(Cell::new(0));
        let counted = done.clone();
        let lambda = Lambda::new("steps", timeout, Faults::none(1), move |_, _| {
            let done = counted.clone();
            async move {
                for _ in 0..3 {
                    sleep(each).await;
                    done.set(done.get() + 1);
                }
                Ok("{}".to_owned())
            }
        });
        (lambda, done)
    }

    #[tokio::test(start_paused = true)]
    async fn kill_ends_handler_at_chosen_await() {
        for awaits in 0..4 {
            let (lambda, done) = steps(Duration::from_secs(10), Duration::from_secs(1));

            lambda.kill_at(1, awaits);
            let answer = lambda.invoke(String::new()).await;

            let expected = if awaits < 3 { Err(Failure::Killed) } else { Ok("{}".to_owned()) };
            assert_eq!(answer, expected);
            assert_eq!(done.get() as usize, awaits.min(3));
            assert_eq!(
                lambda.invoke(String::new()).await,
                Ok("{}".to_owned()),
                "the next invocation succeeds"
            );
            assert_eq!(lambda.awaits(), 3);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn invocation_beyond_max_concurrency_is_throttled() {
        let (lambda, done) = steps(Duration::from_secs(10), Duration::from_secs(1));
        let lambda = lambda.with_max_concurrency(1);
        let [one, other] = [(), ()].map(|()| lambda.invoke(String::new()));

        let answers = tokio::join!(one, other);

        assert_eq!(answers, (Ok("{}".to_owned()), Err(Failure::Throttled)));
        assert_eq!(lambda.invoke(String::new()).await, Ok("{}".to_owned()));
        assert_eq!((done.get(), lambda.throttled(), lambda.invocations()), (6, 1, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn slow_handler_times_out() {
        let (lambda, done) = steps(Duration::from_secs(5), Duration::from_secs(2));

        assert_eq!(lambda.invoke(String::new()).await, Err(Failure::TimeOut));
        assert_eq!(done.get(), 2);
    }
}
