//! The certificates and keys that the options name, read and parsed.

use std::borrow::Cow;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{key, roots};
use crate::error::ConfigProblem;
use crate::options::{TlsOptions, TlsSource};

/// What a connection needs of the files.
pub(super) struct Material {
    pub(super) roots: Arc<RootCertStore>,
    /// The certificates of `ca` and `ca_dir`; none when the system's count.
    pub(super) given: Vec<CertificateDer<'static>>,
    pub(super) identity: Option<Identity>,
}

/// Our certificate, its issuers and its key.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// Reads files, and remembers what is wrong with them and what was in them.
#[derive(Default)]
pub(super) struct Loader {
    problems: Vec<ConfigProblem>,
    /// Over all that was read, so that a change is noticed.
    content: DefaultHasher,
}

/// The largest file that is read; a bundle of all public authorities has a quarter of a megabyte.
const MAX_FILE: u64 = 8 << 20;
/// The most files of a directory that are read.
const MAX_FILES: usize = 4096;

impl Loader {
    /// Reads what the options name; `None` when something is wrong.
    pub(super) fn load(&mut self, options: &TlsOptions) -> Option<Material> {
        let given = self.authorities(options);
        let identity = self.identity(options);
        if !self.is_content() {
            return None;
        }
        let roots = if options.ca.is_some() || options.ca_dir.is_some() {
            let mut store = RootCertStore::empty();
            // Each was tried before.
            store.add_parsable_certificates(given.iter().cloned());
            Arc::new(store)
        } else {
            roots::of_the_system()
        };
        Some(Material { roots, given, identity })
    }

    /// A number that differs when the content of the files differs.
    pub(super) fn fingerprint(&self) -> u64 {
        self.content.finish()
    }

    /// Nothing is wrong so far.
    pub(super) fn is_content(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn into_problems(self) -> Vec<ConfigProblem> {
        self.problems
    }

    pub(super) fn problem(&mut self, field: &str, value: impl ToString, message: impl ToString) {
        let (value, message) = (value.to_string(), message.to_string());
        message.hash(&mut self.content);
        self.problems.push(ConfigProblem { field: format!("tls.{field}"), value, message });
    }

    fn authorities(&mut self, options: &TlsOptions) -> Vec<CertificateDer<'static>> {
        let mut all = Vec::new();
        if let Some(source) = &options.ca
            && let Some(bytes) = self.read("ca", source)
        {
            match authorities_of(&bytes) {
                Ok(certificates) => all.extend(certificates),
                Err(message) => self.problem("ca", source, message),
            }
        }
        if let Some(directory) = &options.ca_dir {
            match self.directory(directory) {
                Ok(certificates) if certificates.is_empty() => {
                    self.problem("ca_dir", directory.display(), "no file in it has a certificate");
                }
                Ok(certificates) => all.extend(certificates),
                Err(error) => self.problem("ca_dir", directory.display(), error),
            }
        }
        all
    }

    fn directory(&mut self, path: &Path) -> std::io::Result<Vec<CertificateDer<'static>>> {
        let entries = std::fs::read_dir(path)?.take(MAX_FILES);
        let mut files: Vec<PathBuf> =
            entries.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
        files.sort_unstable();
        let mut all = Vec::new();
        // What cannot be read, or is something else, is passed over: other programs use the directory, too.
        for bytes in files.iter().filter(|file| file.is_file()).filter_map(|f| read_file(f).ok()) {
            if let Ok(certificates) = authorities_of(&bytes) {
                bytes.hash(&mut self.content);
                all.extend(certificates);
            }
        }
        Ok(all)
    }

    fn identity(&mut self, options: &TlsOptions) -> Option<Identity> {
        let password = self.password(options);
        if password.is_none() && options.key_password_file.is_some() {
            // That was told; that a key stays closed without it is no news.
            return None;
        }
        let password = password.as_deref();
        match (&options.cert, &options.key, &options.p12) {
            (None, None, None) => None,
            (None, None, Some(source)) => {
                let bytes = self.read("p12", source)?;
                key::open_p12(&bytes, password)
                    .map_err(|message| self.problem("p12", source, message))
                    .ok()
            }
            (Some(cert), Some(key), None) => {
                let chain = self.read("cert", cert).and_then(|bytes| {
                    certificates_of(&bytes)
                        .map_err(|message| self.problem("cert", cert, message))
                        .ok()
                });
                let key = self.read("key", key).and_then(|bytes| {
                    key::read(&bytes, password)
                        .map_err(|message| self.problem("key", key, message))
                        .ok()
                });
                Some(Identity { chain: chain?, key: key? })
            }
            (Some(cert), None, None) => {
                self.problem("cert", cert, "key is missing: both are needed");
                None
            }
            (None, Some(key), None) => {
                self.problem("key", key, "cert is missing: both are needed");
                None
            }
            (_, _, Some(p12)) => {
                self.problem("p12", p12, "cert and key are set, too: give one of them");
                None
            }
        }
    }

    fn password(&mut self, options: &TlsOptions) -> Option<Vec<u8>> {
        match (&options.key_password, &options.key_password_file) {
            (None, None) => None,
            (Some(password), None) => Some(password.expose().to_vec()),
            (None, Some(path)) => {
                let mut bytes =
                    self.read("key_password_file", &path.as_path().into())?.into_owned();
                if bytes.last() == Some(&b'\n') {
                    bytes.pop();
                    bytes.pop_if(|last| *last == b'\r');
                }
                Some(bytes)
            }
            (Some(_), Some(path)) => {
                let message = "key_password is set, too: only one of them is allowed";
                self.problem("key_password_file", path.display(), message);
                None
            }
        }
    }

    fn read<'a>(&mut self, field: &str, source: &'a TlsSource) -> Option<Cow<'a, [u8]>> {
        let bytes = match source {
            TlsSource::Bytes(bytes) => Cow::Borrowed(&**bytes),
            TlsSource::File(path) => match read_file(path) {
                Ok(bytes) => Cow::Owned(bytes),
                Err(error) => {
                    self.problem(field, source, error);
                    return None;
                }
            },
        };
        bytes.hash(&mut self.content);
        Some(bytes)
    }
}

fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(std::io::Error::other(format!("it has more than {} MiB", MAX_FILE >> 20)));
    }
    Ok(bytes)
}

/// Certificates of authorities: each can be used as one.
fn authorities_of(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = certificates_of(bytes)?;
    let mut store = RootCertStore::empty();
    for (n, certificate) in (1..).zip(&certificates) {
        let added = store.add(certificate.clone());
        added.map_err(|_| format!("its certificate number {n} is no X.509 certificate"))?;
    }
    Ok(certificates)
}

/// The certificates of a file, at least one: PEM, or one in DER.
fn certificates_of(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    if is_der(bytes) {
        return Ok(vec![CertificateDer::from(bytes.to_vec())]);
    }
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match certificates {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) if has(bytes, "PRIVATE KEY-----") => {
            Err("it has a private key and no certificate".to_owned())
        }
        Ok(_) => Err("it has no certificate: PEM or DER is expected".to_owned()),
        Err(error) => Err(format!("its PEM is damaged: {error}")),
    }
}

/// Whether it begins like the one ASN.1 sequence that certificates, keys and PKCS#12 files are.
pub(super) fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x80..=0x84, ..] | [0x30, 0x20..=0x7f, ..])
}

pub(super) fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
