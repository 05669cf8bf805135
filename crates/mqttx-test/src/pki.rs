//! Certificates of the test's own.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// An authority that issues certificates, in memory.
///
/// ```
/// let pki = mqttx_test::Pki::new("plant");
/// let server = pki.server(&["localhost", "127.0.0.1"]);
/// assert!(server.cert.starts_with("-----BEGIN CERTIFICATE-----"));
/// assert!(pki.ca().starts_with("-----BEGIN CERTIFICATE-----"));
/// ```
#[derive(Debug)]
pub struct Pki {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, both PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub cert: String,
    /// Its key, PKCS#8.
    pub key: String,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Pki {
    /// A new authority.
    ///
    /// # Panics
    /// When no key can be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = params(name, &[], SystemTime::now() - DAY, SystemTime::now() + 365 * DAY);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority") }
    }

    /// The authority's own certificate, PEM.
    #[must_use]
    pub fn ca(&self) -> String {
        self.issuer.pem()
    }

    /// The same, DER.
    #[must_use]
    pub fn ca_der(&self) -> Vec<u8> {
        self.issuer.der().to_vec()
    }

    /// A server's certificate for these names and addresses, valid today.
    #[must_use]
    pub fn server(&self, names: &[&str]) -> Identity {
        self.issue("server", names, SystemTime::now() - DAY, SystemTime::now() + 300 * DAY)
    }

    /// A client's certificate, valid today.
    #[must_use]
    pub fn client(&self, name: &str) -> Identity {
        self.issue(name, &[], SystemTime::now() - DAY, SystemTime::now() + 300 * DAY)
    }

    /// A certificate for servers and clients, valid between these times.
    ///
    /// # Panics
    /// When a name is none.
    #[must_use]
    pub fn issue(
        &self,
        name: &str,
        names: &[&str],
        not_before: SystemTime,
        not_after: SystemTime,
    ) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let mut params = params(name, names, not_before, not_after);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// A server's certificate for these names that nobody issued, and that may not issue others.
    ///
    /// # Panics
    /// When a name is none.
    #[must_use]
    pub fn self_signed(names: &[&str]) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let (from, to) = (SystemTime::now() - DAY, SystemTime::now() + 300 * DAY);
        let cert = params("alone", names, from, to).self_signed(&key).expect("a certificate");
        Identity { cert: cert.pem(), key: key.serialize_pem() }
    }
}

impl Identity {
    /// A certificate of X.509 version 1 and its key, as `openssl x509 -req` makes them without extensions: for `localhost`, but
    /// without subjectAltName, and valid for a century.
    #[must_use]
    pub fn version_1() -> Self {
        Self {
            cert: include_str!("pki/version_1.pem").to_owned(),
            key: include_str!("pki/version_1.key").to_owned(),
        }
    }

    /// Writes `NAME.pem` and `NAME.key` into the directory.
    ///
    /// # Panics
    /// When they cannot be written.
    #[must_use]
    pub fn write(&self, directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let cert = directory.join(format!("{name}.pem"));
        let key = directory.join(format!("{name}.key"));
        std::fs::write(&cert, &self.cert).expect("a file");
        std::fs::write(&key, &self.key).expect("a file");
        (cert, key)
    }
}

fn params(
    name: &str,
    names: &[&str],
    not_before: SystemTime,
    not_after: SystemTime,
) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (not_before.into(), not_after.into());
    params
}
