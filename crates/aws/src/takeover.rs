//! Takeover of a configuration: a function is built of the one in use, and again when that changes.
//!
//! The bucket has the list of releases and the files of each version ([`Releases`]). The list is
//! read before an invocation, at most once in an interval. Another version is taken over if its
//! files have its hash, are valid and the function can be built of them. Otherwise the function
//! stays as it is, an error says why, and a metric counts it. Without a release, the compiled-in
//! configuration is in use.
//!
//! While the functions of a stack have different versions, a record of a dataset that its reader
//! does not know makes the reader look at the list once more ([`KnownDatasets::check`]). S3 is
//! consistent: who looks later than the sender finds the version of the sender, or a newer one.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;
use tokio::time::timeout;
use tracing::{error, info};
use tributary_config::{
    Bundle, Configuration, MAX_VERSION_BYTES, RELEASES_KEY, Releases, validate, version_key,
};
use tributary_model::config_error::ConfigError;

use crate::clients::{self, SdkConfig};
use crate::deadline::Deadline;
use crate::env::Env;
use crate::error::{CallError, InvocationError, SetupError};
use crate::lambda::Invocation;
use crate::log::MetricsLog;
use crate::s3::{GET_OBJECT, ObjectName, ObjectStore, ReadError, S3};

/// Maximum time that an invocation waits for the bucket while it has a configuration.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Difference that clocks may have: of the reader, the sender and the stream.
const MAX_CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(5);

/// Interval in which the list of releases is read once, unless another is set.
const DEFAULT_REFRESH_SECONDS: i64 = 60;

/// Bucket of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigSource {
    /// Name; empty where only the compiled-in configuration is used.
    pub bucket: String,
    /// Interval in which the list of releases is read once.
    pub refresh: SignedDuration,
}

impl ConfigSource {
    /// Reads `CONFIG_BUCKET`, which may be empty, and `CONFIG_REFRESH_SECONDS`.
    pub fn from_env(env: &mut Env<'_>) -> Self {
        let seconds = |text: &str| match text {
            "" => Ok(DEFAULT_REFRESH_SECONDS),
            text => text.parse().map_err(|_| format!("{text:?} should be a number of seconds")),
        };
        Self {
            bucket: env.parsed("CONFIG_BUCKET", |text| Ok(text.to_owned())),
            refresh: SignedDuration::from_secs(env.parsed("CONFIG_REFRESH_SECONDS", seconds)),
        }
    }
}

/// Configuration that a function is built of.
#[derive(Clone, Debug)]
pub struct InUse {
    /// The configuration.
    pub configuration: Configuration,
    /// Version of its files.
    pub version: String,
    /// Its datasets.
    pub known: KnownDatasets,
}

impl InUse {
    /// Returns the compiled-in configuration, which nothing replaces.
    ///
    /// # Errors
    ///
    /// Fails when it is invalid.
    pub fn shipped() -> Result<Self, ConfigError> {
        let configuration = Configuration::shipped()?;
        let version = Bundle::shipped().version().to_string();
        Ok(Self { configuration, version, known: KnownDatasets::default() })
    }

    /// Creates the metrics log of a function, whose lines name this version.
    #[must_use]
    pub fn metrics_log(&self, function: &'static str, namespace: &str) -> MetricsLog {
        MetricsLog::new(function, namespace.to_owned()).with_config(self.version.clone())
    }
}

/// Names of the datasets in use, and the time of the last look at the list of releases.
#[derive(Clone, Debug, Default)]
pub struct KnownDatasets {
    names: BTreeSet<String>,
    /// Milliseconds of the Unix epoch; `None` where nothing replaces the configuration.
    checked: Option<Arc<AtomicI64>>,
}

/// A dataset that the configuration lacks, while a later one may have it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the dataset {dataset:?} may be in a configuration that this function does not have yet")]
pub struct Stale {
    /// Name of the dataset; empty where it is not known.
    pub dataset: String,
    /// Time at which the record was sent.
    pub sent: Timestamp,
}

impl KnownDatasets {
    /// Returns the datasets of a configuration, with the time of the last look at the releases, in
    /// milliseconds of the Unix epoch.
    #[must_use]
    pub fn new(names: BTreeSet<String>, checked: Arc<AtomicI64>) -> Self {
        Self { names, checked: Some(checked) }
    }

    /// Checks that the configuration has `dataset`, or that no release of the time when its record
    /// was `sent` can have it.
    ///
    /// # Errors
    ///
    /// Fails when the list of releases has to be read again first.
    pub fn check(&self, dataset: &str, sent: Timestamp) -> Result<(), Stale> {
        let Some(checked) = &self.checked else { return Ok(()) };
        if self.names.contains(dataset) {
            return Ok(());
        }
        let needed = sent.as_millisecond().saturating_add(skew_ms());
        // A look in the same millisecond may have come before the sender's.
        if checked.load(Ordering::Relaxed) > needed {
            return Ok(());
        }
        Err(Stale { dataset: dataset.to_owned(), sent })
    }
}

fn skew_ms() -> i64 {
    i64::try_from(MAX_CLOCK_SKEW.as_millis()).unwrap_or(i64::MAX)
}

/// Builds a function.
type Build<'a, F> = dyn Fn(&InUse) -> Result<F, ConfigError> + 'a;

/// A function, built of the configuration in use.
pub struct Reloading<'a, F, O> {
    source: ConfigSource,
    store: O,
    build: Box<Build<'a, F>>,
    metrics_log: MetricsLog,
    clock: fn() -> Timestamp,
    state: Mutex<State<F>>,
}

struct State<F> {
    current: Option<Current<F>>,
    /// Time of the next look at the list; `None` before the first.
    next: Option<Timestamp>,
}

/// The function of the configuration in use.
struct Current<F> {
    function: Arc<F>,
    version: String,
    /// Time of the last look, which the function knows too. A function that is replaced while it
    /// works must not learn of later looks: they found what it lacks.
    checked: Arc<AtomicI64>,
}

impl<'a, F> Reloading<'a, F, S3> {
    /// Returns a function that is built by `build`, with the configuration in S3.
    #[must_use]
    pub fn connect(
        name: &'static str,
        metrics_namespace: &str,
        source: &ConfigSource,
        sdk: &SdkConfig,
        build: impl Fn(&InUse) -> Result<F, ConfigError> + 'a,
    ) -> Self {
        let metrics_log = MetricsLog::new(name, metrics_namespace.to_owned());
        let store = S3::new(clients::s3(sdk));
        Self::new(source.clone(), store, metrics_log, Timestamp::now, build)
    }
}

impl<'a, F, O: ObjectStore> Reloading<'a, F, O> {
    /// Returns a function that is built by `build`, with the configuration in `store`.
    pub fn new(
        source: ConfigSource,
        store: O,
        metrics_log: MetricsLog,
        clock: fn() -> Timestamp,
        build: impl Fn(&InUse) -> Result<F, ConfigError> + 'a,
    ) -> Self {
        Self {
            source,
            store,
            build: Box::new(build),
            metrics_log,
            clock,
            state: Mutex::new(State { current: None, next: None }),
        }
    }

    /// Hands a payload to `handler` with the function of the configuration in use. A payload that
    /// needs a later configuration is handed over once more, with that.
    ///
    /// # Errors
    ///
    /// Those of the handler; and while there is no function, see [`Self::current`].
    pub async fn answer<A>(
        &self,
        payload: &str,
        invocation: Invocation,
        handler: &impl AsyncFn(&F, &str, Invocation) -> Result<A, InvocationError>,
    ) -> Result<A, InvocationError> {
        let deadline = invocation.deadline;
        let current = self.current(deadline).await?;
        // Some futures are larger than a stack should carry.
        match Box::pin(handler(&current, payload, invocation.clone())).await {
            Err(InvocationError::Stale(stale)) => {
                let later = self.after(&stale, deadline).await?;
                Box::pin(handler(&later, payload, invocation)).await
            }
            answer => answer,
        }
    }

    /// Returns the function for an invocation, after a look at the releases where one is due.
    ///
    /// # Errors
    ///
    /// Fails while there is no function yet: the bucket cannot be read, or the function cannot be
    /// built of any release.
    pub async fn current(&self, deadline: Deadline) -> Result<Arc<F>, InvocationError> {
        let now = (self.clock)();
        let is_due = self.state().next.is_none_or(|next| now >= next);
        match self.function() {
            Some(function) if !is_due => Ok(function),
            Some(function) => Ok(self.refresh(now, deadline).await?.unwrap_or(function)),
            None => {
                let first = self.refresh(now, deadline).await?;
                first.map_or_else(|| self.shipped(now), Ok)
            }
        }
    }

    /// Returns the function after a look at the releases, because of a dataset that it lacks.
    ///
    /// # Errors
    ///
    /// Fails if the bucket cannot be read: the record must wait.
    pub async fn after(
        &self,
        stale: &Stale,
        deadline: Deadline,
    ) -> Result<Arc<F>, InvocationError> {
        info!(dataset = stale.dataset, "unknown dataset: is there another configuration?");
        let now = (self.clock)();
        let refreshed = self.look(now, deadline).await?;
        let function = refreshed.or_else(|| self.function());
        let function = function.map_or_else(|| self.shipped(now), Ok)?;
        // This look came after the record, whatever the clocks show.
        self.see(now.max(stale.sent) + SignedDuration::from_millis(1));
        Ok(function)
    }

    /// Looks at the releases. A function that exists stays if the bucket cannot be read.
    async fn refresh(
        &self,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<Option<Arc<F>>, InvocationError> {
        if self.source.bucket.is_empty() {
            return Ok(None);
        }
        let has_function = self.function().is_some();
        match self.look(now, deadline).await {
            Err(error) if has_function => {
                let bucket = &self.source.bucket;
                error!(bucket, %error, "the configuration cannot be read: the present one stays");
                self.count("config_unread", now);
                Ok(None)
            }
            looked => looked,
        }
    }

    /// Reads the list of releases, and returns the function of the one in use if it is another.
    async fn look(
        &self,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<Option<Arc<F>>, InvocationError> {
        let before = {
            let mut state = self.state();
            state.next = Some(now.checked_add(self.source.refresh).unwrap_or(Timestamp::MAX));
            state.current.as_ref().map(|current| current.version.clone())
        };
        let most = if before.is_some() { MAX_WAIT } else { Duration::MAX };
        let wait = most.min(deadline.remaining() / 2);
        let shipped = Bundle::shipped().version().to_string();
        let releases = match self.read(RELEASES_KEY, wait).await? {
            None if before.as_ref().is_some_and(|before| *before != shipped) => {
                Err("the bucket lacks it".to_owned())
            }
            None => Ok(Releases::default()),
            Some(json) => Releases::from_json(&json).map_err(|error| error.to_string()),
        };
        let releases = match releases {
            Ok(releases) => releases,
            Err(fault) => {
                self.refuse(RELEASES_KEY, &fault, now);
                return Ok(None);
            }
        };
        let wanted = releases.in_use().map_or(shipped.as_str(), |version| version);
        if before.as_deref() == Some(wanted) {
            self.see(now);
            return Ok(None);
        }
        let versions = releases.releases.iter().map(|release| release.version.as_str());
        for version in versions.chain([shipped.as_str()]) {
            let built = match self.files(version, version == shipped, wait).await? {
                Ok(bundle) => self.built(&bundle, version),
                Err(fault) => Err(fault),
            };
            match built {
                Ok(current) => return Ok(Some(self.take_over(current, now))),
                Err(fault) => self.refuse(version, &fault, now),
            }
            // A function that works is not replaced by an older one.
            if before.is_some() {
                break;
            }
        }
        self.see(now);
        Ok(None)
    }

    fn take_over(&self, current: Current<F>, now: Timestamp) -> Arc<F> {
        let function = Arc::clone(&current.function);
        info!(config = current.version, "configuration in use");
        let before = self.state().current.replace(current);
        self.see(now);
        if before.is_some() {
            self.count("config_taken", now);
        }
        function
    }

    /// Reads the files of a version. The inner error says why they are none.
    async fn files(
        &self,
        version: &str,
        is_shipped: bool,
        wait: Duration,
    ) -> Result<Result<Bundle, String>, InvocationError> {
        if is_shipped {
            return Ok(Ok(Bundle::shipped()));
        }
        let Some(json) = self.read(&version_key(version), wait).await? else {
            return Ok(Err("the bucket lacks its files".to_owned()));
        };
        Ok(match Bundle::from_json(&json) {
            Ok(bundle) if bundle.version().to_string() == version => Ok(bundle),
            Ok(bundle) => Err(format!("its files are those of {}", bundle.version())),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Builds the function of valid files.
    fn built(&self, bundle: &Bundle, version: &str) -> Result<Current<F>, String> {
        let errors = validate(bundle);
        if let Some(first) = errors.first() {
            return Err(match errors.len() - 1 {
                0 => first.to_string(),
                more => format!("{first}, and {more} more"),
            });
        }
        let configuration = Configuration::load(bundle).map_err(|error| error.to_string())?;
        self.build_of(configuration, version.to_owned()).map_err(|error| error.to_string())
    }

    fn build_of(
        &self,
        configuration: Configuration,
        version: String,
    ) -> Result<Current<F>, ConfigError> {
        let names = configuration.datasets.iter().map(|it| it.name().to_owned()).collect();
        let checked = Arc::new(AtomicI64::new(i64::MIN));
        let mut known = KnownDatasets::new(names, Arc::clone(&checked));
        if self.source.bucket.is_empty() {
            known = KnownDatasets::default();
        }
        let in_use = InUse { configuration, version, known };
        let function = Arc::new((self.build)(&in_use)?);
        Ok(Current { function, version: in_use.version, checked })
    }

    /// Builds the function of the compiled-in configuration.
    fn shipped(&self, now: Timestamp) -> Result<Arc<F>, InvocationError> {
        let InUse { configuration, version, .. } =
            InUse::shipped().map_err(|error| unusable(&error))?;
        let current = self.build_of(configuration, version).map_err(|error| unusable(&error))?;
        Ok(self.take_over(current, now))
    }

    /// Reads an object; `None` if there is none.
    async fn read(&self, key: &str, wait: Duration) -> Result<Option<Vec<u8>>, InvocationError> {
        let (bucket, key) = (self.source.bucket.clone(), key.to_owned());
        let object = ObjectName { bucket, key, version_id: None, etag: None };
        let read = timeout(wait, self.store.read(&object, 0..MAX_VERSION_BYTES)).await;
        match read {
            Ok(Ok(piece)) if piece.object_bytes <= MAX_VERSION_BYTES => Ok(Some(piece.bytes)),
            Ok(Ok(piece)) => {
                let message =
                    format!("{} bytes of at most {MAX_VERSION_BYTES}", piece.object_bytes);
                let resource = format!("s3://{}/{}", object.bucket, object.key);
                Err(SetupError::new(GET_OBJECT, &resource, "too large", message).into())
            }
            Ok(Err(ReadError::Missing)) => Ok(None),
            Ok(Err(ReadError::Changed)) => {
                Err(CallError::retryable(GET_OBJECT, "changed", "the object was replaced").into())
            }
            Ok(Err(ReadError::Call(error))) => Err(error.into()),
            Err(_) => Err(CallError::time_out(GET_OBJECT).into()),
        }
    }

    fn refuse(&self, version: &str, fault: &str, now: Timestamp) {
        error!(config = version, fault, "configuration refused: the present one stays");
        self.count("config_refused", now);
    }

    fn count(&self, name: &str, now: Timestamp) {
        self.metrics_log.write_count("config", name, now);
    }

    /// Notes that the releases were read at this time.
    fn see(&self, now: Timestamp) {
        let seen = now.as_millisecond().saturating_add(skew_ms());
        if let Some(current) = &self.state().current {
            current.checked.fetch_max(seen, Ordering::Relaxed);
        }
    }

    fn function(&self) -> Option<Arc<F>> {
        self.state().current.as_ref().map(|current| Arc::clone(&current.function))
    }

    fn state(&self) -> MutexGuard<'_, State<F>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the error of a function that cannot be built of the compiled-in configuration.
fn unusable(error: &ConfigError) -> InvocationError {
    SetupError::new("configuration", "compiled-in", "invalid", error.to_string()).into()
}
