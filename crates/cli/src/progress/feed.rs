//! Progress of a feed. A separate thread shows it, because the sending thread may block on its
//! target.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar};

use super::{LINE_EVERY, style};
use crate::output::eprint_line;
use crate::stop::Stop;
use crate::target::{HealthProbe, Target, TargetHealth};

/// Interval at which the bar is redrawn and the stop flag is checked.
const REDRAW: Duration = Duration::from_millis(100);

/// Shows the progress of a feed until it is finished: records, rate, undelivered records, and the
/// reason if the target is stalled.
pub(crate) struct FeedProgress {
    records: Arc<AtomicU64>,
    /// Dropped when the feed is finished, which ends the thread.
    over: Sender<()>,
    thread: JoinHandle<()>,
}

impl FeedProgress {
    /// Creates progress towards `count` records; `None` if the feed has no end.
    pub(crate) fn new(count: Option<u64>, target: &dyn Target, stop: &Stop) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| match count {
            Some(count) => ProgressBar::new(count).with_style(style(
                "{bar:30} {percent:>3} %  {human_pos} records  {per_sec}  {msg}  {eta} left",
            )),
            None => ProgressBar::no_length()
                .with_style(style("{spinner} {human_pos} records  {per_sec}  {msg}")),
        });
        Self::start(
            REDRAW,
            Shown::new(bar, target.health_probe(), LINE_EVERY, stop.clone()),
            eprint_line,
        )
    }

    /// Starts the thread, which shows progress at the interval `every`.
    fn start(
        every: Duration,
        mut shown: Shown,
        print_line: impl Fn(&str) + Send + 'static,
    ) -> Self {
        let records = Arc::new(AtomicU64::new(0));
        let sent = Arc::clone(&records);
        let (over, is_over) = mpsc::channel();
        let thread = thread::spawn(move || {
            while is_over.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                shown.show(sent.load(Ordering::Relaxed), &print_line);
            }
            if let Some(bar) = shown.bar {
                bar.finish_and_clear();
            }
        });
        Self { records, over, thread }
    }

    /// Sets the total number of records sent.
    pub(crate) fn sent(&self, records: u64) {
        self.records.store(records, Ordering::Relaxed);
    }

    /// Stops the thread and removes the bar.
    pub(crate) fn finish(self) {
        drop(self.over);
        // Fails only if the thread panicked, which must not fail the feed.
        let _ = self.thread.join();
    }
}

/// State of the display.
struct Shown {
    bar: Option<ProgressBar>,
    watch: HealthProbe,
    line_every: Duration,
    stop: Stop,
    started: Instant,
    last_line: Instant,
    is_ending: bool,
}

impl Shown {
    fn new(bar: Option<ProgressBar>, watch: HealthProbe, line_every: Duration, stop: Stop) -> Self {
        let (started, last_line) = (Instant::now(), Instant::now());
        Self { bar, watch, line_every, stop, started, last_line, is_ending: false }
    }

    fn show(&mut self, records: u64, print_line: &impl Fn(&str)) {
        let health = (self.watch)();
        let says = |text: &str| match &self.bar {
            Some(bar) => bar.suspend(|| print_line(text)),
            None => print_line(text),
        };
        if self.stop.is_wanted() && !self.is_ending {
            self.is_ending = true;
            let waiting = health.waiting(records);
            if waiting > 0 {
                let waiting = HumanCount(waiting);
                says(&format!(
                    "stopping: waiting for {waiting} records; interrupt again to quit at once"
                ));
            }
        }
        if let Some(bar) = &self.bar {
            bar.set_position(records);
            bar.set_message(remarks(records, &health).unwrap_or_default());
        } else if self.last_line.elapsed() >= self.line_every {
            self.last_line = Instant::now();
            says(&line(records, self.started.elapsed(), &health));
        }
    }
}

/// `1,234 records, 617 a second, 0 undelivered; 1,000 taken, retrying: connection refused`
#[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a rate for people")]
fn line(records: u64, elapsed: Duration, health: &TargetHealth) -> String {
    let rate = HumanCount((records as f64 / elapsed.as_secs_f64().max(1e-3)) as u64);
    let (shown, undelivered) = (HumanCount(records), HumanCount(health.undelivered));
    let mut line = format!("{shown} records, {rate} a second, {undelivered} undelivered");
    if let Some(stall_reason) = stall_reason(records, health) {
        line.extend(["; ", &stall_reason]);
    }
    line
}

/// Returns the text beside the numbers of a bar.
fn remarks(records: u64, health: &TargetHealth) -> Option<String> {
    let undelivered =
        (health.undelivered > 0).then(|| format!("{} undelivered", HumanCount(health.undelivered)));
    undelivered.or_else(|| stall_reason(records, health))
}

/// Returns how many records the target accepted, and why it is retrying the rest.
fn stall_reason(records: u64, health: &TargetHealth) -> Option<String> {
    let why = health.stall_reason.as_deref()?;
    let taken = health.completed.unwrap_or(records).saturating_sub(health.rejected);
    let taken = HumanCount(taken);
    Some(format!("{taken} taken, retrying: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(completed: u64, undelivered: u64, stall_reason: Option<&str>) -> TargetHealth {
        let stall_reason = stall_reason.map(str::to_owned);
        TargetHealth { completed: Some(completed), rejected: 7, undelivered, stall_reason }
    }

    #[test]
    fn line_has_rate_and_stall_reason() {
        let ten = Duration::from_secs(10);

        assert_eq!(
            line(2_000, ten, &health(1_007, 0, None)),
            "2,000 records, 200 a second, 0 undelivered"
        );
        assert_eq!(
            line(2_000, ten, &health(1_007, 3, Some("connection refused"))),
            "2,000 records, 200 a second, 3 undelivered; 1,000 taken, retrying: connection refused"
        );
        assert_eq!(line(5, ten, &TargetHealth::default()), "5 records, 0 a second, 0 undelivered");
    }

    #[test]
    fn stalled_feed_reports_while_it_waits() {
        let (says, said) = mpsc::channel();
        let stop = Stop::default();
        let watch = Box::new(|| health(0, 0, Some("nobody answers")));
        let shown = Shown::new(None, watch, Duration::ZERO, stop.clone());
        let progress = FeedProgress::start(Duration::from_millis(1), shown, move |line| {
            let _ = says.send(line.to_owned());
        });

        // Nothing more is sent from here on, as if the sender were blocked on its target.
        progress.sent(5);

        let until = |part: &str| said.iter().find(|line: &String| line.contains(part)).unwrap();
        assert!(until("5 records").ends_with("; 0 taken, retrying: nobody answers"));
        stop.ask();
        assert_eq!(
            until("stopping"),
            "stopping: waiting for 5 records; interrupt again to quit at once"
        );
        progress.finish();
    }
}
