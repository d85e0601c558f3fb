//! Progress on standard error: a bar on a terminal, otherwise a line every 10 seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use crate::output::{eprint_line, escaped};
use crate::stop::Stop;
use crate::table::shown;
use crate::target::{Tally, Target, TargetHealth};

/// Interval between lines when standard error is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Interval at which the bar is redrawn and the stop flag is checked.
const REDRAW: Duration = Duration::from_millis(100);

/// Shows progress until it is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    last_line: Instant,
    unit: &'static str,
}

impl Progress {
    /// Creates progress towards `bytes` bytes of input; `None` if the length is unknown.
    pub(crate) fn of_bytes(bytes: Option<u64>) -> Self {
        let template = match bytes {
            Some(_) => "{bar:30} {percent:>3} %  {bytes_per_sec}  {msg} rows  {eta} left",
            None => "{spinner} {bytes}  {msg} rows",
        };
        Self { bar: bar(bytes, template), last_line: Instant::now(), unit: "bytes" }
    }

    /// Creates progress towards `count` steps, called `unit` in the output.
    pub(crate) fn of_steps(count: u64, unit: &'static str) -> Self {
        let template = "{bar:30} {percent:>3} %  {human_pos} of {human_len} {msg}  {eta} left";
        let bar = bar(Some(count), template).with_message(unit);
        Self { bar, last_line: Instant::now(), unit }
    }

    /// Adds `bytes` bytes read; `rows` is the total number of rows.
    pub(crate) fn read(&mut self, bytes: usize, rows: u64) {
        self.bar.inc(bytes as u64);
        self.bar.set_message(shown(rows));
        self.print(|bytes, _| format!("{} rows, {bytes}", shown(rows)));
    }

    /// Adds a completed step.
    pub(crate) fn step(&mut self) {
        self.bar.inc(1);
        self.print(|done, of| format!("{done} of {of}"));
    }

    /// Prints a line if there is no bar and the last line is old.
    fn print(&mut self, line: impl FnOnce(HumanCount, HumanCount) -> String) {
        if self.bar.is_hidden() && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let length = HumanCount(self.bar.length().unwrap_or_default());
            let line = line(HumanCount(self.bar.position()), length);
            eprint_line(&format!("{line} {}", self.unit));
        }
    }
}

/// Creates a bar towards `length`, or a spinner. It is hidden unless standard error is a terminal.
fn bar(length: Option<u64>, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    length
        .map_or_else(ProgressBar::no_length, ProgressBar::new)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Shows the progress of a feed until it is finished: records, rate, undelivered records, and the
/// reason if the target is stalled. A separate thread shows it, because the sending thread may
/// block on its target.
pub(crate) struct FeedProgress {
    records: Arc<AtomicU64>,
    /// Dropped when the feed is finished, which ends the thread.
    over: Sender<()>,
    thread: JoinHandle<()>,
}

impl FeedProgress {
    /// Creates progress towards `count` records; `None` if the feed has no end.
    pub(crate) fn new(count: Option<u64>, target: &dyn Target, stop: &Stop) -> Self {
        let template = match count {
            Some(_) => "{bar:30} {percent:>3} %  {human_pos} records  {per_sec}  {msg}  {eta} left",
            None => "{spinner} {human_pos} records  {per_sec}  {msg}",
        };
        let tally = Arc::clone(target.tally());
        let shown = Shown::new(bar(count, template), tally, LINE_EVERY, stop.clone());
        Self::start(REDRAW, shown, eprint_line)
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
    bar: ProgressBar,
    tally: Arc<Tally>,
    line_every: Duration,
    stop: Stop,
    started: Instant,
    last_line: Instant,
    is_ending: bool,
}

impl Shown {
    fn new(bar: ProgressBar, tally: Arc<Tally>, line_every: Duration, stop: Stop) -> Self {
        let (started, last_line) = (Instant::now(), Instant::now());
        Self { bar, tally, line_every, stop, started, last_line, is_ending: false }
    }

    fn show(&mut self, records: u64, print_line: &impl Fn(&str)) {
        let health = self.tally.health();
        let says = |text: &str| self.bar.suspend(|| print_line(text));
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
        self.bar.set_position(records);
        let remarks = remarks(records, &health).unwrap_or_default();
        self.bar.set_message(escaped(&remarks).into_owned());
        if self.bar.is_hidden() && self.last_line.elapsed() >= self.line_every {
            self.last_line = Instant::now();
            says(&line(records, self.started.elapsed(), &health));
        }
    }
}

/// `1,234 records, 617 a second, 0 undelivered; 1,000 taken, retrying: connection refused`
#[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a rate for people")]
fn line(records: u64, elapsed: Duration, health: &TargetHealth) -> String {
    let rate = HumanCount((records as f64 / elapsed.as_secs_f64().max(1e-3)) as u64);
    let (sent, undelivered) = (HumanCount(records), HumanCount(health.undelivered));
    let mut line = format!("{sent} records, {rate} a second, {undelivered} undelivered");
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
        let tally = Arc::new(Tally::of_confirmed());
        tally.set_stalled("nobody answers".to_owned());
        let shown = Shown::new(ProgressBar::hidden(), tally, Duration::ZERO, stop.clone());
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
