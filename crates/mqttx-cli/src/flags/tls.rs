//! TLS: whom to trust, and who we are.

use std::path::PathBuf;

use clap::Args;
use mqttx::{Endpoint, TlsOptions, TlsVersion};

use crate::exit::Failure;

/// Any of these makes -h and -p speak TLS, at port 8883.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "TLS: any of these makes -h and -p speak it, at port 8883")]
pub(super) struct TlsFlags {
    /// Authorities that are trusted, PEM or DER [default: those of the system]
    ///
    /// The server's own certificate may stand there, too.
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,

    /// Directory with files of authorities that are trusted
    #[arg(long, value_name = "DIR")]
    capath: Option<PathBuf>,

    /// Our certificate, PEM or DER, followed by those of its issuers
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// The key of the certificate, PEM or DER
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// File with the password of --key or --p12; one line break at its end does not count
    #[arg(long, value_name = "FILE")]
    key_password_file: Option<PathBuf>,

    /// Our certificate and its key as PKCS#12
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cert", "key"])]
    p12: Option<PathBuf>,

    /// Protocols offered by ALPN, separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    tls_alpn: Vec<String>,

    /// The only version that is spoken: 1.2 or 1.3 [default: both]
    #[arg(long, value_name = "VERSION")]
    tls_version: Option<TlsVersion>,

    /// Name that the server is asked for and must prove [default: the host]
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,

    /// Check nothing of the server's certificate: anybody may read and change what is sent
    #[arg(long)]
    insecure: bool,
}

/// The flag of each option that a file may be wrong for.
const FLAGS: [(&str, &str); 8] = [
    ("tls.ca", "--cafile"),
    ("tls.ca_dir", "--capath"),
    ("tls.cert", "--cert"),
    ("tls.key", "--key"),
    ("tls.key_password_file", "--key-password-file"),
    ("tls.p12", "--p12"),
    ("tls.alpn", "--tls-alpn"),
    ("tls.sni", "--sni"),
];

impl TlsFlags {
    fn is_given(&self) -> bool {
        self.insecure
            || !self.tls_alpn.is_empty()
            || self.tls_version.is_some()
            || self.sni.is_some()
            || [&self.cafile, &self.capath, &self.cert, &self.key_password_file, &self.p12]
                .into_iter()
                .any(Option::is_some)
    }

    /// The broker when no URL says where it is.
    pub(super) fn default_broker(&self) -> Endpoint {
        if self.is_given() {
            Endpoint::tls("localhost", 8883)
        } else {
            Endpoint::tcp("localhost", 1883)
        }
    }

    /// The options, when a flag asks for TLS.
    ///
    /// # Errors
    /// A URL speaks plain.
    pub(super) fn resolve(&self, urls: &[Endpoint]) -> Result<Option<TlsOptions>, Failure> {
        if !self.is_given() {
            return Ok(None);
        }
        if let Some(plain) = urls.iter().find(|url| !url.scheme().is_encrypted()) {
            return Err(Failure::usage(format_args!(
                "{plain} does not speak TLS, which the flags ask for: write mqtts://"
            )));
        }
        let mut tls = TlsOptions::new().alpn(self.tls_alpn.clone());
        tls.ca = self.cafile.clone().map(Into::into);
        tls.ca_dir.clone_from(&self.capath);
        tls.cert = self.cert.clone().map(Into::into);
        tls.key = self.key.clone().map(Into::into);
        tls.key_password_file.clone_from(&self.key_password_file);
        tls.p12 = self.p12.clone().map(Into::into);
        tls.versions.extend(self.tls_version);
        tls.sni.clone_from(&self.sni);
        Ok(Some(tls.danger_accept_invalid_certs(self.insecure)))
    }
}

/// What is wrong with the options of a session, as the flags call it: with a file it is not the usage.
pub(crate) fn failure_of(errors: &mqttx::ConfigErrors) -> Failure {
    let mut wrong_usage = false;
    let lines = errors.problems().iter().map(|problem| {
        let flag = FLAGS.iter().find(|(field, _)| *field == problem.field);
        let is_name = ["tls.alpn", "tls.sni"].contains(&problem.field.as_str());
        wrong_usage |= flag.is_none() || is_name;
        match flag {
            Some((_, flag)) => format!("{flag} {}: {}", problem.value, problem.message),
            None => problem.to_string(),
        }
    });
    let text = lines.collect::<Vec<_>>().join("; ");
    if wrong_usage { Failure::usage(text) } else { Failure::runtime(text) }
}
