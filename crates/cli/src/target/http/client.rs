//! HTTP requests: compressed on request, signed, sent.

use std::io::Write as _;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_http_client::default_connector;
use aws_smithy_runtime_api::client::http::{
    HttpConnector as _, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::time::timeout;
use tributary_aws::clients::{self, Credentials, SdkConfig};
use tributary_aws::error::chain;

use super::Address;

const LINES: &str = "application/x-ndjson";

/// Timeout for connecting. It takes milliseconds, and a lost network does not return within
/// seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Timeout of one request. The function retries for 28 s before it answers.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(35);

/// Minimum remaining lifetime of credentials. Below it, new ones are requested.
const MIN_CREDENTIALS_LIFE: Duration = Duration::from_mins(5);

/// Sends requests to one address.
pub(super) struct Client {
    address: Address,
    connector: SharedHttpConnector,
    signer: Option<Signer>,
    gzip: bool,
    /// Number of rejected items printed one by one.
    pub reported: AtomicU64,
}

/// Answer to a request.
pub(super) struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    pub body: Vec<u8>,
}

/// Reason why there is no answer.
pub(super) enum NoAnswer {
    /// May succeed on a retry.
    Transient(String),
    /// The request cannot be created.
    Setup(String),
}

struct Signer {
    config: SdkConfig,
    region: String,
    credentials: Mutex<Option<Credentials>>,
}

impl Client {
    /// Creates a client for `address`. Unless `unsigned`, it needs credentials and a region.
    ///
    /// # Errors
    ///
    /// Names what is missing.
    pub(super) async fn connect(
        address: Address,
        gzip: bool,
        unsigned: bool,
    ) -> Result<Self, String> {
        let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
        let connector = default_connector(&settings, None).ok_or("there is no HTTP client")?;
        let signer = if unsigned { None } else { Some(Signer::of(&address).await?) };
        Ok(Self { address, connector, signer, gzip, reported: AtomicU64::default() })
    }

    /// Returns the body of a request with these lines, compressed if configured.
    pub(super) fn body(&self, lines: SdkBody) -> SdkBody {
        if self.gzip { SdkBody::from(compressed(bytes(&lines))) } else { lines }
    }

    /// Posts `body` for a dataset.
    pub(super) async fn post(&self, dataset: &str, body: &SdkBody) -> Result<Answer, NoAnswer> {
        let request = self.request(dataset, body).await?;
        let call = async {
            let answer = self.connector.call(request).await;
            let mut answer = answer.map_err(|error| chain(&error))?;
            let status = answer.status().as_u16();
            let retry_after = answer.headers().get("retry-after").map(str::to_owned);
            let body = ByteStream::new(answer.take_body()).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_vec();
            Ok(Answer { status, retry_after, body })
        };
        let answer = timeout(ATTEMPT_TIMEOUT, call).await;
        answer.unwrap_or_else(|_| Err("no answer in time".to_owned())).map_err(NoAnswer::Transient)
    }

    async fn request(&self, dataset: &str, body: &SdkBody) -> Result<HttpRequest, NoAnswer> {
        let Self { address, signer, gzip, .. } = self;
        let cannot = |error: &dyn std::fmt::Display| {
            NoAnswer::Setup(format!("no request to {address} can be made: {error}"))
        };
        let url = address.of(dataset);
        let headers = [("content-type", LINES), ("content-encoding", "gzip")];
        let headers = if *gzip { &headers[..] } else { &headers[..1] };

        let mut request = HttpRequest::new(same(body));
        request.set_method("POST").map_err(|error| cannot(&error))?;
        request.set_uri(url.as_str()).map_err(|error| cannot(&error))?;
        for &(name, value) in headers {
            request.headers_mut().insert(name, value);
        }
        if let Some(signer) = signer {
            let signed =
                signer.headers(&url, headers, bytes(body)).await.map_err(NoAnswer::Setup)?;
            for (name, value) in signed {
                request.headers_mut().insert(name, value);
            }
        }
        Ok(request)
    }
}

/// Clones a body without copying its bytes.
#[expect(clippy::expect_used, reason = "every body is in memory")]
pub(super) fn same(body: &SdkBody) -> SdkBody {
    body.try_clone().expect("every body is in memory")
}

/// Returns the bytes of a body.
#[expect(clippy::expect_used, reason = "every body is in memory")]
pub(super) fn bytes(body: &SdkBody) -> &[u8] {
    body.bytes().expect("every body is in memory")
}

#[expect(clippy::expect_used, reason = "a vector takes every byte")]
fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    gzip.write_all(bytes).and_then(|()| gzip.finish()).expect("a vector takes every byte")
}

impl Signer {
    async fn of(address: &Address) -> Result<Self, String> {
        let config = clients::load().await;
        let region = address.region().or_else(|| config.region().map(AsRef::as_ref));
        let region = region.ok_or("no region to sign for: set AWS_REGION, or send --unsigned")?;
        let signer = Self { region: region.to_owned(), config, credentials: Mutex::default() };
        signer.credentials().await?;
        Ok(signer)
    }

    /// Returns the credentials of the environment, cached until they are about to expire.
    async fn credentials(&self) -> Result<Credentials, String> {
        let kept = self.credentials.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let soon = SystemTime::now() + MIN_CREDENTIALS_LIFE;
        if let Some(kept) = kept
            && kept.expiry().is_none_or(|expiry| expiry > soon)
        {
            return Ok(kept);
        }
        let fresh = clients::credentials(&self.config).await.map_err(|why| {
            format!("no credentials to sign with, and --unsigned was not asked for: {why}")
        })?;
        *self.credentials.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh.clone());
        Ok(fresh)
    }

    /// Returns the headers that sign a POST.
    ///
    /// See <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>.
    async fn headers(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Vec<(&'static str, String)>, String> {
        let identity = Identity::from(self.credentials().await?);
        let cannot = |error: &dyn std::fmt::Display| format!("{url} cannot be signed: {error}");
        let params = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("lambda")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| cannot(&error))?;
        let headers = headers.iter().copied();
        let request = SignableRequest::new("POST", url, headers, SignableBody::Bytes(body))
            .map_err(|error| cannot(&error))?;
        let (instructions, _) =
            sign(request, &params.into()).map_err(|error| cannot(&error))?.into_parts();
        let (headers, _) = instructions.into_parts();
        Ok(headers.into_iter().map(|it| (it.name(), it.value().to_owned())).collect())
    }
}
