//! HTTP client of the SDK that answers from a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use serde_json::Value;
use tributary_aws::clients::{Credentials, SdkConfig};

/// HTTP client that answers requests from a script, in order, and records them. Clones share both.
///
/// It replaces the network below the SDK, so a test covers the bytes that are sent and received.
#[derive(Clone, Debug)]
pub struct FakeHttp(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    answers: VecDeque<(u16, Vec<u8>)>,
    requests: Vec<RecordedRequest>,
}

/// Request as the SDK sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRequest {
    /// Operation named in the header `x-amz-target`; method and URL without that header.
    pub operation: String,
    /// Bytes of the body.
    pub body: Vec<u8>,
}

impl RecordedRequest {
    /// Parses the body as JSON.
    ///
    /// # Panics
    ///
    /// Panics if the body is not JSON.
    #[expect(clippy::expect_used, reason = "a test asked for JSON")]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body of the request is JSON")
    }
}

impl FakeHttp {
    /// Creates a client with the status and body of one answer per request. A further request fails.
    pub fn new<B: Into<Vec<u8>>>(answers: impl IntoIterator<Item = (u16, B)>) -> Self {
        let answers = answers.into_iter().map(|(status, body)| (status, body.into())).collect();
        Self(Arc::new(Mutex::new(State { answers, requests: Vec::new() })))
    }

    /// Returns the configuration with which the SDK's clients send through this one.
    #[must_use]
    pub fn sdk_config(&self) -> SdkConfig {
        let credentials = Credentials::new("id", "secret", None, None, "test");
        let connector = SharedHttpConnector::new(self.clone());
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build()
    }

    /// Returns all requests, also those without an answer.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state().requests.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &HttpRequest) -> Result<HttpResponse, BoxError> {
        let body = request.body().bytes().ok_or("the body of the request is not in memory")?;
        let target = request.headers().get("x-amz-target").and_then(|it| it.rsplit_once('.'));
        let url = || format!("{} {}", request.method(), request.uri());
        let operation = target.map_or_else(url, |(_, name)| name.to_owned());
        let missing = format!("the script has no answer for {operation}");
        let mut state = self.state();
        state.requests.push(RecordedRequest { operation, body: body.to_vec() });
        let (status, body) = state.answers.pop_front().ok_or(missing)?;
        Ok(HttpResponse::new(status.try_into()?, SdkBody::from(body)))
    }
}

impl HttpConnector for FakeHttp {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(self.answer(&request).map_err(ConnectorError::user))
    }
}
