//! Progress on standard error: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// How often a log gets a line.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how far a run is, in bytes of its input.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    last_line: Instant,
    bytes: u64,
}

impl Progress {
    /// Progress towards `bytes`, `None` where the length is not known.
    pub(crate) fn new(bytes: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| match bytes {
            Some(bytes) => ProgressBar::new(bytes).with_style(style(
                "{bar:30} {percent:>3} %  {bytes_per_sec}  {msg} rows  {eta} left",
            )),
            None => ProgressBar::no_length().with_style(style("{spinner} {bytes}  {msg} rows")),
        });
        Self { bar, last_line: Instant::now(), bytes: 0 }
    }

    /// `bytes` more were read, and `rows` rows in all.
    #[expect(clippy::print_stderr, reason = "progress in a log")]
    pub(crate) fn advance(&mut self, bytes: u64, rows: u64) {
        self.bytes += bytes;
        if let Some(bar) = &self.bar {
            bar.set_position(self.bytes);
            bar.set_message(HumanCount(rows).to_string());
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            eprintln!("{} rows, {} bytes", HumanCount(rows), HumanCount(self.bytes));
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
