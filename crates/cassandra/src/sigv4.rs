//! `SigV4` authentication of Amazon Keyspaces: the server sends a nonce and the client returns it
//! signed.
//!
//! See
//! <https://docs.aws.amazon.com/keyspaces/latest/devguide/programmatic.credentials.SigV4_CREDENTIALS.html>.
//! The signature is that of a request `PUT /authenticate`, which is never sent:
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use jiff::Timestamp;
use scylla::authentication::{AuthError, AuthenticatorProvider, AuthenticatorSession};
use sha2::{Digest, Sha256};

const SERVICE: &str = "cassandra";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// First message of the client, which requests a nonce.
const HELLO: &[u8] = b"SigV4\0\0";

/// Signer with the function's credentials. It requests them for each signature, because they
/// expire.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    /// Region of Keyspaces, which is also the name of the data centre.
    pub(crate) region: String,
    pub(crate) credentials: SharedCredentialsProvider,
    pub(crate) clock: fn() -> Timestamp,
}

#[async_trait]
impl AuthenticatorProvider for Signer {
    async fn start_authentication_session(
        &self,
        _: &str,
    ) -> Result<(Option<Vec<u8>>, Box<dyn AuthenticatorSession>), AuthError> {
        Ok((Some(HELLO.to_vec()), Box::new(self.clone())))
    }
}

#[async_trait]
impl AuthenticatorSession for Signer {
    async fn evaluate_challenge(
        &mut self,
        token: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>, AuthError> {
        let Self { region, credentials, clock } = self;
        let credentials = credentials.provide_credentials().await.map_err(|it| it.to_string())?;
        let answer = answer_of(token.unwrap_or_default(), &credentials, region, clock())?;
        Ok(Some(answer.into_bytes()))
    }

    async fn success(&mut self, _: Option<&[u8]>) -> Result<(), AuthError> {
        Ok(())
    }
}

/// Answers the challenge `nonce=<text>,…` with `signature=…,access_key=…,amzdate=…`, and with the
/// session token if the credentials have one.
///
/// # Errors
///
/// Returns an error if the challenge has no nonce.
fn answer_of(
    challenge: &[u8],
    credentials: &Credentials,
    region: &str,
    now: Timestamp,
) -> Result<String, AuthError> {
    let nonce = nonce_of(challenge).ok_or("Keyspaces sent no nonce")?;
    let time = format!("{now:.3}");
    let access_key = credentials.access_key_id();
    let scope = format!("{}/{region}/{SERVICE}/aws4_request", now.strftime("%Y%m%d"));
    let request = format!(
        "PUT\n/authenticate\n\
         X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={}&X-Amz-Date={}&X-Amz-Expires=900\n\
         host:{SERVICE}\n\nhost\n{}",
        encoded(&format!("{access_key}/{scope}")),
        encoded(&time),
        sha256_hex(nonce),
    );
    let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{}", sha256_hex(request.as_bytes()));
    let key = generate_signing_key(credentials.secret_access_key(), now.into(), region, SERVICE);
    let signature = calculate_signature(key, to_sign.as_bytes());

    let answer = format!("signature={signature},access_key={access_key},amzdate={time}");
    Ok(match credentials.session_token() {
        Some(token) => format!("{answer},session_token={token}"),
        None => answer,
    })
}

fn nonce_of(challenge: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"nonce=";
    let at = challenge.windows(NAME.len()).position(|it| it == NAME)? + NAME.len();
    let nonce = challenge[at..].split(|&byte| byte == b',').next()?;
    (!nonce.is_empty()).then_some(nonce)
}

/// Percent-encodes a text as in the query of a URL: everything except letters, digits and `-._~`.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn sha256_hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Output of `cassandra-sigv4` 4.0.2 (`PyPI`, published by AWS) for the same nonce, time and
    /// keys.
    const OF_KEYS: &str = "signature=7f3691c18a81b8ce7457699effbfae5b09b4e0714ab38c1292dbdf082c9ddd87,\
        access_key=UserID-1,amzdate=2020-06-09T22:41:51.000Z";
    const OF_A_ROLE: &str = "signature=6f5b96e7b2c4b90c47efa24fc63f209b3a5fde3405d62c45c2a144e52f573fb4,\
        access_key=AKIDEXAMPLE,amzdate=2026-11-20T10:00:00.123Z,session_token=IQoJb3JpZ2luX2VjEXAMPLE==";

    fn role() -> Credentials {
        let token = Some("IQoJb3JpZ2luX2VjEXAMPLE==".to_owned());
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        Credentials::new("AKIDEXAMPLE", secret, token, None, "test")
    }

    fn later() -> Timestamp {
        Timestamp::constant(1_795_168_800, 123_000_000)
    }

    #[test]
    fn nonce_signature_matches_the_aws_plugin() {
        let keys = Credentials::new("UserID-1", "UserSecretKey-1", None, None, "test");
        let time = "2020-06-09T22:41:51Z".parse().unwrap();
        let challenge = b"nonce=91703fdc2ef562e19fbdab0f58e42fe5";

        assert_eq!(answer_of(challenge, &keys, "us-west-2", time).as_deref(), Ok(OF_KEYS));
    }

    #[test]
    fn role_credentials_include_session_token() {
        let challenge = b"nonce=0f58e42fe591703fdc2ef562e19fbdab,";

        let answer = answer_of(challenge, &role(), "eu-central-1", later());

        assert_eq!(answer.as_deref(), Ok(OF_A_ROLE));
    }

    #[test]
    fn challenge_without_nonce_is_rejected() {
        for challenge in [&b""[..], b"nonce=", b"nonce=,", b"once=1"] {
            assert!(answer_of(challenge, &role(), "eu-central-1", later()).is_err());
        }
    }

    #[test]
    fn exchange_sends_hello_then_answers_challenge() {
        let credentials = SharedCredentialsProvider::new(role());
        let signer = Signer { region: "eu-central-1".to_owned(), credentials, clock: later };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (hello, answer) = runtime.block_on(async {
            let (hello, mut exchange) = signer.start_authentication_session("any").await.unwrap();
            let nonce = b"nonce=0f58e42fe591703fdc2ef562e19fbdab".as_slice();
            (hello, exchange.evaluate_challenge(Some(nonce)).await.unwrap())
        });

        assert_eq!(hello.as_deref(), Some(&b"SigV4\0\0"[..]));
        assert_eq!(answer.as_deref(), Some(OF_A_ROLE.as_bytes()));
    }
}
