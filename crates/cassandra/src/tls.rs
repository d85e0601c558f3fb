//! TLS to Amazon Keyspaces, which requires it.
//!
//! Drivers connect to nodes by address, but the certificates of Keyspaces are for the name of the
//! endpoint. Other drivers skip the check of the name; here every node must present a certificate
//! for the endpoint.

use std::fmt::Display;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Verifier that checks every node against the name of the endpoint.
#[derive(Debug)]
struct ByEndpoint {
    verifier: Arc<WebPkiServerVerifier>,
    endpoint: ServerName<'static>,
}

impl ServerCertVerifier for ByEndpoint {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Self { verifier, endpoint } = self;
        verifier.verify_server_cert(end_entity, intermediates, endpoint, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Builds a configuration with the machine's root certificates.
pub(crate) fn of_endpoint(endpoint: &str) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        return Err(format!("there are no root certificates here{why}"));
    }
    with_roots(endpoint, roots)
}

fn with_roots(endpoint: &str, roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let wrong = |error: &dyn Display| format!("TLS to {endpoint}: {error}");
    let verifier = verifier(endpoint, roots).map_err(|error| wrong(&error))?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn verifier(endpoint: &str, roots: RootCertStore) -> Result<ByEndpoint, String> {
    let name = ServerName::try_from(endpoint.to_owned()).map_err(|error| error.to_string())?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| error.to_string())?;
    Ok(ByEndpoint { verifier, endpoint: name })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    /// Test root certificate, made by `openssl` (tests/certificates/make.sh); valid for a hundred
    /// years from 2026.
    const ROOT: &[u8] = include_bytes!("../tests/certificates/root.pem");
    const NODE: &[u8] = include_bytes!("../tests/certificates/node.pem");

    fn evaluated(endpoint: &str, shown: &[u8]) -> Result<ServerCertVerified, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ROOT).unwrap()).unwrap();
        let address = ServerName::try_from("203.0.113.7").unwrap();
        let certificate = CertificateDer::from_pem_slice(shown).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_900_000_000));
        verifier(endpoint, roots).unwrap().verify_server_cert(&certificate, &[], &address, &[], now)
    }

    #[test]
    fn node_certificate_is_checked_against_endpoint_name() {
        assert!(evaluated("cassandra.eu-central-1.amazonaws.com", NODE).is_ok());
        assert!(evaluated("cassandra.us-east-1.amazonaws.com", NODE).is_err());
        assert!(evaluated("cassandra.eu-central-1.amazonaws.com", ROOT).is_err());
    }

    #[test]
    fn endpoint_without_name_is_rejected() {
        assert!(with_roots("no name", RootCertStore::empty()).is_err());
    }
}
