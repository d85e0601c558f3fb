//! Ctrl-C and SIGTERM end a live feed in order: records already sent are delivered and the summary
//! is printed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};

/// Flag that a signal sets to stop a feed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens for the signals. The second one ends the process immediately.
    pub(crate) fn on_signal() -> Result<Self> {
        let stop = Self::default();
        let flag = stop.clone();
        let handler = move || {
            if flag.0.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        };
        ctrlc::set_handler(handler).context("signals cannot be handled")?;
        Ok(stop)
    }

    /// Requests a stop, as a signal does.
    #[cfg(test)]
    pub(crate) fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns whether a stop was requested.
    pub(crate) fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
