//! What an application asks of TLS. The same struct is a table of the configuration file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{Secret, human};

/// What an application asks of TLS: whom to trust, who we are, and how to speak.
///
/// Without any option the server's certificate must be issued by an authority that the system trusts, and name
/// the host of the address. It is the table `tls` of a session in a file; unknown keys are errors.
///
/// ```
/// use mqttx::{SessionOptions, TlsOptions};
///
/// let tls = TlsOptions::new().ca("ca.pem").client_certificate("gw.pem", "gw.key").reload(true);
/// let errors = SessionOptions::new("plant").broker("mqtts://plant").tls(tls).build().unwrap_err();
/// assert!(errors.to_string().contains("tls.ca = ca.pem"), "no such file: {errors}");
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TlsOptions {
    /// The authorities that are trusted, in place of the system's: PEM with any number of certificates, or one in DER.
    /// A certificate that the server itself shows may stand here, too.
    pub ca: Option<TlsSource>,
    /// A directory of such files, in addition to `ca`. What is no certificate is passed over.
    pub ca_dir: Option<PathBuf>,
    /// Our certificate, PEM or DER, in PEM followed by those of its issuers. It needs `key`.
    pub cert: Option<TlsSource>,
    /// The key of `cert`: PKCS#8, PKCS#1 or SEC1, PEM or DER; PKCS#8 may be encrypted.
    pub key: Option<TlsSource>,
    /// What opens an encrypted `key`, or `p12`.
    pub key_password: Option<Secret>,
    /// A file that holds that password; one newline at its end is not part of it.
    pub key_password_file: Option<PathBuf>,
    /// Our certificate, its issuers and its key as PKCS#12, in place of `cert` and `key`.
    pub p12: Option<TlsSource>,
    /// The protocols offered by ALPN (RFC 7301), the preferred first, each 1 to 255 bytes. Default: none.
    #[serde(deserialize_with = "list")]
    pub alpn: Vec<String>,
    /// The name that the server is asked for (RFC 6066) and that its certificate must have. Default: the address's host.
    pub sni: Option<String>,
    /// The versions that may be used. Default: 1.2 and 1.3.
    #[serde(deserialize_with = "list")]
    pub versions: Vec<TlsVersion>,
    /// The cipher suites that may be used, by their names of RFC 8446 and RFC 5289, such as `TLS_AES_128_GCM_SHA256`.
    /// Default: all that are safe.
    #[serde(deserialize_with = "list")]
    pub cipher_suites: Vec<String>,
    /// The groups of the key exchange, the preferred first: `X25519`, `secp256r1`, `secp384r1`. Default: all.
    #[serde(deserialize_with = "list")]
    pub key_exchange: Vec<String>,
    /// Whether any certificate is accepted: neither its issuer, its name nor its dates are checked, so that anybody
    /// between us and the server reads and changes everything. Each such connection is told by an event. Default `false`.
    #[serde(rename = "insecure")]
    pub danger_accept_invalid_certs: bool,
    /// Whether the files are watched: connections that begin after a change use what it brought. Default `false`.
    pub reload: bool,
    /// How long before the end of our certificate, or the server's, an event tells. Default 30, 7 and 1 days; empty is
    /// never.
    #[serde(deserialize_with = "durations")]
    pub expiry_warnings: Vec<Duration>,
}

/// Where certificates or keys are: in a file, or in memory.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "PathBuf")]
pub enum TlsSource {
    /// A file.
    File(PathBuf),
    /// Its content.
    Bytes(Arc<[u8]>),
}

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2, RFC 5246.
    V1_2,
    /// TLS 1.3, RFC 8446.
    V1_3,
}

const DAY: u64 = 86_400;

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            ca: None,
            ca_dir: None,
            cert: None,
            key: None,
            key_password: None,
            key_password_file: None,
            p12: None,
            alpn: Vec::new(),
            sni: None,
            versions: Vec::new(),
            cipher_suites: Vec::new(),
            key_exchange: Vec::new(),
            danger_accept_invalid_certs: false,
            reload: false,
            expiry_warnings: [30, 7, 1].map(|days| Duration::from_secs(days * DAY)).into(),
        }
    }
}

impl TlsOptions {
    /// The system's authorities, no certificate of our own.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the authorities: a file, or PEM or DER in memory.
    #[must_use]
    pub fn ca(mut self, source: impl Into<TlsSource>) -> Self {
        self.ca = Some(source.into());
        self
    }

    /// Sets a directory of authorities.
    #[must_use]
    pub fn ca_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.ca_dir = Some(directory.into());
        self
    }

    /// Sets our certificate and its key: files, or PEM or DER in memory.
    #[must_use]
    pub fn client_certificate(
        mut self,
        cert: impl Into<TlsSource>,
        key: impl Into<TlsSource>,
    ) -> Self {
        (self.cert, self.key) = (Some(cert.into()), Some(key.into()));
        self
    }

    /// Sets our certificate and its key as PKCS#12.
    #[must_use]
    pub fn p12(mut self, source: impl Into<TlsSource>) -> Self {
        self.p12 = Some(source.into());
        self
    }

    /// Sets what opens the key, or the PKCS#12 file.
    #[must_use]
    pub fn key_password(mut self, password: impl Into<Secret>) -> Self {
        self.key_password = Some(password.into());
        self
    }

    /// Sets the file that holds that password.
    #[must_use]
    pub fn key_password_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_password_file = Some(path.into());
        self
    }

    /// Sets the protocols offered by ALPN.
    #[must_use]
    pub fn alpn<I: IntoIterator<Item: Into<String>>>(mut self, protocols: I) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the name that the server is asked for and must prove.
    #[must_use]
    pub fn sni(mut self, name: impl Into<String>) -> Self {
        self.sni = Some(name.into());
        self
    }

    /// Sets the versions that may be used.
    #[must_use]
    pub fn versions(mut self, versions: impl IntoIterator<Item = TlsVersion>) -> Self {
        self.versions = versions.into_iter().collect();
        self
    }

    /// Sets the cipher suites that may be used.
    #[must_use]
    pub fn cipher_suites<I: IntoIterator<Item: Into<String>>>(mut self, names: I) -> Self {
        self.cipher_suites = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the groups of the key exchange.
    #[must_use]
    pub fn key_exchange<I: IntoIterator<Item: Into<String>>>(mut self, names: I) -> Self {
        self.key_exchange = names.into_iter().map(Into::into).collect();
        self
    }

    /// Accepts any certificate: anybody between us and the server can read and change everything.
    #[must_use]
    pub fn danger_accept_invalid_certs(mut self, accept: bool) -> Self {
        self.danger_accept_invalid_certs = accept;
        self
    }

    /// Sets whether the files are watched.
    #[must_use]
    pub fn reload(mut self, on: bool) -> Self {
        self.reload = on;
        self
    }

    /// Sets how long before the end of a certificate events tell.
    #[must_use]
    pub fn expiry_warnings(mut self, before: impl IntoIterator<Item = Duration>) -> Self {
        self.expiry_warnings = before.into_iter().collect();
        self
    }

    /// Makes relative paths count from `directory`.
    pub fn resolve_paths(&mut self, directory: &Path) {
        let sources = [&mut self.ca, &mut self.cert, &mut self.key, &mut self.p12];
        let files = sources.into_iter().flatten().filter_map(|source| match source {
            TlsSource::File(path) => Some(path),
            TlsSource::Bytes(_) => None,
        });
        let paths = [&mut self.ca_dir, &mut self.key_password_file].into_iter().flatten();
        files.chain(paths).for_each(|path| *path = directory.join(&path));
    }
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("ca", &self.ca)
            .field("ca_dir", &self.ca_dir)
            .field("cert", &self.cert)
            .field("p12", &self.p12)
            .field("danger_accept_invalid_certs", &self.danger_accept_invalid_certs)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for TlsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Bytes(bytes) => write!(f, "{} bytes in memory", bytes.len()),
        }
    }
}

/// Keys in memory are not shown.
impl fmt::Debug for TlsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<PathBuf> for TlsSource {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&Path> for TlsSource {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

/// The path of a file.
impl From<&str> for TlsSource {
    fn from(path: &str) -> Self {
        Self::File(path.into())
    }
}

/// The path of a file.
impl From<String> for TlsSource {
    fn from(path: String) -> Self {
        Self::File(path.into())
    }
}

/// The content.
impl From<Vec<u8>> for TlsSource {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// The content.
impl From<&[u8]> for TlsSource {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl FromStr for TlsVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim_start_matches("tlsv") {
            "1.2" => Ok(Self::V1_2),
            "1.3" => Ok(Self::V1_3),
            _ => Err(format!("'{text}' is not a version of TLS: allowed are 1.2 and 1.3")),
        }
    }
}

/// One value or a list of them.
fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a text or a list of texts")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    let texts = match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    };
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

fn durations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
    let texts: Vec<String> = list(deserializer)?;
    let parsed = texts.iter().map(|text| human::parse_duration(text));
    parsed.collect::<Result<_, _>>().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TlsOptions, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn table_of_a_file_has_every_key() {
        let text = "ca = 'ca.pem'\nca_dir = 'cas'\ncert = 'c.pem'\nkey = 'c.key'\nkey_password = 'x'\n\
                    p12 = 'c.p12'\nalpn = 'mqtt'\nsni = 'plant'\nversions = ['1.2', '1.3']\n\
                    insecure = true\nreload = true\nexpiry_warnings = ['14d', '12h']\n";
        let mut options = parse(text).expect("valid");
        assert_eq!(options.ca, Some("ca.pem".into()));
        assert_eq!(options.alpn, ["mqtt"]);
        assert_eq!(options.versions, [TlsVersion::V1_2, TlsVersion::V1_3]);
        assert_eq!(options.expiry_warnings.len(), 2);
        assert!(options.reload && options.danger_accept_invalid_certs);
        options.resolve_paths(Path::new("/etc/gw"));
        assert_eq!(options.key, Some("/etc/gw/c.key".into()));
        assert_eq!(options.ca_dir.as_deref(), Some(Path::new("/etc/gw/cas")));
    }

    #[test]
    fn wrong_values_are_told_with_what_is_allowed() {
        for (text, part) in [
            ("versions = '1.1'", "allowed are 1.2 and 1.3"),
            ("alpn = 7", "a text or a list"),
            ("cafile = 'x'", "unknown field"),
            ("expiry_warnings = ['soon']", "not a duration"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let options = TlsOptions::new().key_password("geheim").ca(b"-----BEGIN".as_slice());
        let shown = format!("{options:?}");
        assert!(!shown.contains("geheim") && !shown.contains("BEGIN"), "{shown}");
    }
}
