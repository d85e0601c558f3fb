//! Progress on standard error: a bar on a terminal, otherwise a line every 10 seconds.

mod feed;

pub(crate) use self::feed::FeedProgress;

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use crate::output::eprint_line;

/// Interval between lines when standard error is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows the progress of a run in bytes of its input.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    last_line: Instant,
    bytes: u64,
}

impl Progress {
    /// Creates progress towards `bytes`; `None` if the length is unknown.
    pub(crate) fn new(bytes: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| match bytes {
            Some(bytes) => ProgressBar::new(bytes).with_style(style(
                "{bar:30} {percent:>3} %  {bytes_per_sec}  {msg} rows  {eta} left",
            )),
            None => ProgressBar::no_length().with_style(style("{spinner} {bytes}  {msg} rows")),
        });
        Self { bar, last_line: Instant::now(), bytes: 0 }
    }

    /// Adds `bytes` bytes read; `rows` is the total number of rows.
    pub(crate) fn advance(&mut self, bytes: u64, rows: u64) {
        self.bytes += bytes;
        if let Some(bar) = &self.bar {
            bar.set_position(self.bytes);
            bar.set_message(HumanCount(rows).to_string());
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            eprint_line(&format!("{} rows, {} bytes", HumanCount(rows), HumanCount(self.bytes)));
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows how many of a known number of steps are done.
pub(crate) struct Steps {
    bar: Option<ProgressBar>,
    last_line: Instant,
    unit: &'static str,
    count: u64,
    done: u64,
}

impl Steps {
    /// Creates progress towards `count` steps, called `unit` in the output.
    pub(crate) fn new(count: u64, unit: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = "{bar:30} {percent:>3} %  {human_pos} of {human_len} {msg}  {eta} left";
            ProgressBar::new(count).with_style(style(template)).with_message(unit)
        });
        Self { bar, last_line: Instant::now(), unit, count, done: 0 }
    }

    /// Adds completed steps.
    pub(crate) fn advance(&mut self, steps: u64) {
        self.done += steps;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            eprint_line(&format!(
                "{} of {} {}",
                HumanCount(self.done),
                HumanCount(self.count),
                self.unit
            ));
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
