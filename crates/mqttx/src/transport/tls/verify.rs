//! Whether the server is the one.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::expiry::validity;

/// Whom we believe.
#[derive(Debug)]
pub(super) enum Trust {
    /// Certificates that an authority issued, or that are among those given.
    Authorities { webpki: Arc<WebPkiServerVerifier>, given: Vec<CertificateDer<'static>> },
    /// Anybody. Not even a signature is looked at: whoever lies between could show a certificate of their own, and those of
    /// X.509 version 1 cannot be read here.
    Anybody(Arc<CryptoProvider>),
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Self::Authorities { webpki, given } = self else {
            return Ok(ServerCertVerified::assertion());
        };
        let verdict =
            webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            // A certificate that is no authority's, but was given itself.
            Err(_) if given.iter().any(|given| given == end_entity) => {
                verify_given(end_entity, server_name, now)
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self {
            Self::Authorities { webpki, .. } => {
                webpki.verify_tls12_signature(message, cert, signature)
            }
            Self::Anybody(_) => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self {
            Self::Authorities { webpki, .. } => {
                webpki.verify_tls13_signature(message, cert, signature)
            }
            Self::Anybody(_) => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match self {
            Self::Authorities { webpki, .. } => webpki.supported_verify_schemes(),
            Self::Anybody(provider) => {
                provider.signature_verification_algorithms.supported_schemes()
            }
        }
    }
}

/// Name and dates of a certificate that is trusted by itself.
fn verify_given(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let Some(validity) = validity(certificate) else {
        return Err(CertificateError::BadEncoding.into());
    };
    let unix = |time: std::time::SystemTime| {
        let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        UnixTime::since_unix_epoch(since)
    };
    let (not_before, not_after) = (unix(validity.not_before), unix(validity.not_after));
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
    Ok(ServerCertVerified::assertion())
}
