//! Active rules: those that are compiled in, or those of an object in S3 that overrides them.
//!
//! The object is refreshed before a batch, at most once in an interval and in 2 s at most. A store
//! that does not answer, and invalid rules, leave the active rules unchanged.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;
use tracing::{error, info};
use tributary_aws::deadline::Deadline;
use tributary_aws::s3::{ObjectName, ObjectStore};
use tributary_aws::sns;
use tributary_config::{AlertsConfig, Configuration};
use tributary_model::config_error::ConfigError;
use tributary_model::id::Id;
use tributary_rules::Rules;

/// Maximum time that a batch waits for the object.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The largest object that is read: far more rules than anybody keeps in their head.
const MAX_BYTES: u64 = 256 * 1024;

/// Object with rules that override the compiled-in ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesOverride {
    /// Bucket of the object.
    pub bucket: String,
    /// Key of the object.
    pub key: String,
    /// Refresh interval.
    pub every: SignedDuration,
}

/// Result of a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// The refresh is not due, or no object overrides the rules.
    NotDue,
    /// The object is unchanged and its rules are active.
    Unchanged,
    /// The rules of the object are active from now on.
    Updated,
    /// The rules of the object are invalid; the previous ones stay active.
    Rejected,
    /// The object could not be read; the previous rules stay active.
    Unreadable,
}

impl Refresh {
    /// Returns the metric that counts the result; `None` without a change to report.
    #[must_use]
    pub fn metric(self) -> Option<&'static str> {
        match self {
            Self::NotDue | Self::Unchanged => None,
            Self::Updated => Some("rules_taken"),
            Self::Rejected => Some("rules_refused"),
            Self::Unreadable => Some("rules_unread"),
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>>;

/// Active rules, and the object that may override them.
pub struct ActiveRules {
    state: Mutex<State>,
    source: Option<Source>,
}

struct State {
    rules: Arc<Rules>,
    /// Time of the next refresh; `None` before the first, which is due immediately.
    next: Option<Timestamp>,
    /// Hash of the text that was read last, and true if it was valid.
    read: Option<(Id, bool)>,
}

struct Source {
    name: String,
    every: SignedDuration,
    configuration: Configuration,
    read: Box<dyn Fn() -> Answer + Send + Sync>,
}

/// Rules without an overriding object.
impl From<Rules> for ActiveRules {
    fn from(rules: Rules) -> Self {
        let rules = Arc::new(rules.with_max_message_bytes(sns::MAX_MESSAGE_BYTES));
        let state = State { rules, next: None, read: None };
        Self { state: Mutex::new(state), source: None }
    }
}

impl ActiveRules {
    /// Keeps these rules active until those of the object in `store` are read.
    ///
    /// # Errors
    ///
    /// Fails when the compiled-in configuration, which rules are checked against, is invalid.
    pub fn overridden(
        self,
        by: RulesOverride,
        store: impl ObjectStore + 'static,
    ) -> Result<Self, ConfigError> {
        let RulesOverride { bucket, key, every } = by;
        let name = format!("s3://{bucket}/{key}");
        let object = ObjectName { bucket, key, version_id: None, etag: None };
        let shared = Arc::new((store, object));
        let read = Box::new(move || -> Answer {
            let shared = Arc::clone(&shared);
            Box::pin(async move {
                let piece = shared.0.read(&shared.1, 0..MAX_BYTES).await;
                let piece = piece.map_err(|error| error.to_string())?;
                if piece.object_bytes > MAX_BYTES {
                    let bytes = piece.object_bytes;
                    return Err(format!("has {bytes} bytes, and {MAX_BYTES} are read"));
                }
                Ok(piece.bytes)
            })
        });
        let configuration = Configuration::shipped()?;
        Ok(Self { source: Some(Source { name, every, configuration, read }), ..self })
    }

    /// Returns the rules for a batch at `now`, after a refresh where that is due.
    pub async fn current(&self, now: Timestamp, deadline: Deadline) -> (Arc<Rules>, Refresh) {
        let refresh = match &self.source {
            Some(source) if self.is_due(now, source.every) => self.refresh(source, deadline).await,
            _ => Refresh::NotDue,
        };
        (Arc::clone(&self.state().rules), refresh)
    }

    /// Returns true if a refresh is due, and then schedules the next one, whatever the result.
    fn is_due(&self, now: Timestamp, every: SignedDuration) -> bool {
        let mut state = self.state();
        if state.next.is_some_and(|next| now < next) {
            return false;
        }
        state.next = Some(now.checked_add(every).unwrap_or(Timestamp::MAX));
        true
    }

    async fn refresh(&self, source: &Source, deadline: Deadline) -> Refresh {
        let wait = MAX_WAIT.min(deadline.remaining() / 4);
        let name = &source.name;
        let bytes = match timeout(wait, (source.read)()).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => {
                error!(rules = name, error, "rules cannot be read: the active ones stay");
                return Refresh::Unreadable;
            }
            Err(_) => {
                let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                error!(rules = name, wait_ms, "rules not read in time: the active ones stay");
                return Refresh::Unreadable;
            }
        };
        let id = Id::of([bytes.as_slice()]);
        if self.state().read == Some((id, true)) {
            return Refresh::Unchanged;
        }
        let right = compiled(&bytes, &source.configuration);
        let mut state = self.state();
        state.read = Some((id, right.is_ok()));
        match right {
            Ok(rules) => {
                info!(rules = name, count = rules.iter().count(), "rules updated");
                state.rules = Arc::new(rules);
                Refresh::Updated
            }
            Err(fault) => {
                error!(rules = name, fault, "rules are invalid: the active ones stay");
                Refresh::Rejected
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compiles the rules of a text in which `tributary rules check` would find no error.
///
/// # Errors
///
/// Returns the first fault, with line and column.
fn compiled(bytes: &[u8], configuration: &Configuration) -> Result<Rules, String> {
    let text = str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let checked = configuration.check_rules(text);
    if let Some(finding) = checked.errors().next() {
        return Err(match checked.errors().count() - 1 {
            0 => finding.to_string(),
            more => format!("{finding}, and {more} more"),
        });
    }
    let config = AlertsConfig::from_toml(text).map_err(|error| error.to_string())?;
    let rules = configuration.rules_of(&config).map_err(|error| error.to_string())?;
    Ok(rules.with_max_message_bytes(sns::MAX_MESSAGE_BYTES))
}
