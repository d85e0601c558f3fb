//! Round of closing windows: an error ends its own part and no other.

use tracing::warn;
use tributary_aws::error::{CallError, SetupError};

/// Result of a round so far.
#[derive(Debug, Default)]
pub(crate) struct Round {
    is_cut: bool,
    setup_error: Option<SetupError>,
}

impl Round {
    /// Adds the result of a part, which is true if all of its windows were emitted and marked.
    pub(crate) fn add(&mut self, part: &str, result: Result<bool, CallError>) {
        match result {
            Ok(is_whole) => self.is_cut |= !is_whole,
            Err(CallError::Setup(error)) => {
                self.is_cut = true;
                self.setup_error.get_or_insert(error);
            }
            Err(error) => {
                warn!(part, %error, "some windows are not closed: the next run closes them");
                self.is_cut = true;
            }
        }
    }

    /// Returns true if all parts were whole, or the first setup error of any part.
    pub(crate) fn finish(self) -> Result<bool, SetupError> {
        self.setup_error.map_or(Ok(!self.is_cut), Err)
    }
}
