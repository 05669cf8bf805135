//! What rustls needs, made of the options and the files.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, InconsistentKeys, SupportedProtocolVersion};

use super::expiry::{public_key, validity};
use super::material::{Identity, Loader, Material};
use super::verify::Trust;
use crate::error::ConfigProblem;
use crate::options::{TlsOptions, TlsVersion};

/// What connections use from now on.
pub(super) struct Loaded {
    pub(super) config: Arc<ClientConfig>,
    /// Differs when the content of the files differs.
    pub(super) fingerprint: u64,
    /// Until when our certificate is valid.
    pub(super) not_after: Option<std::time::SystemTime>,
}

/// Reads the files and puts everything together.
///
/// # Errors
/// Everything that cannot be used.
pub(super) fn load(options: &TlsOptions) -> Result<Loaded, Vec<ConfigProblem>> {
    let mut loader = Loader::default();
    let loaded = build(options, &mut loader);
    let fingerprint = loader.fingerprint();
    match loaded {
        Some((config, not_after)) => {
            Ok(Loaded { config: Arc::new(config), fingerprint, not_after })
        }
        None => Err(loader.into_problems()),
    }
}

/// The cryptography: the feature `aws-lc-rs` chooses its own, else it is ring's.
pub(crate) fn provider() -> CryptoProvider {
    #[cfg(feature = "aws-lc-rs")]
    return rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    rustls::crypto::ring::default_provider()
}

type Built = (ClientConfig, Option<std::time::SystemTime>);

fn build(options: &TlsOptions, loader: &mut Loader) -> Option<Built> {
    let material = loader.load(options);
    let provider = narrowed(options, loader);
    check_names(options, loader);
    let (material, provider) = material.zip(provider).filter(|_| loader.is_content())?;
    let provider = Arc::new(provider);
    let trust = trust(options, &material, &provider)
        .map_err(|error| loader.problem("ca", "set", error))
        .ok()?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(options))
        .map_err(|_| {
            let message = "none of them can be used with these versions and groups";
            loader.problem("cipher_suites", options.cipher_suites.join(", "), message);
        })
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust));
    let mut not_after = None;
    let mut config = match material.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            not_after = identity.chain.first().and_then(|leaf| validity(leaf)).map(|v| v.not_after);
            let certified = certified(options, identity, &provider, loader)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        }
    };
    config.alpn_protocols = options.alpn.iter().map(|name| name.clone().into_bytes()).collect();
    Some((config, not_after))
}

fn trust(
    options: &TlsOptions,
    material: &Material,
    provider: &Arc<CryptoProvider>,
) -> Result<Trust, rustls::client::VerifierBuilderError> {
    if options.danger_accept_invalid_certs {
        return Ok(Trust::Anybody(Arc::clone(provider)));
    }
    let roots = Arc::clone(&material.roots);
    let webpki =
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build()?;
    Ok(Trust::Authorities { webpki, given: material.given.clone() })
}

/// Our certificate with its key, which must be the right one.
fn certified(
    options: &TlsOptions,
    identity: Identity,
    provider: &CryptoProvider,
    loader: &mut Loader,
) -> Option<CertifiedKey> {
    let (field, source) = match (&options.p12, &options.key) {
        (Some(p12), _) => ("p12", p12.to_string()),
        (None, key) => ("key", key.as_ref().map(ToString::to_string).unwrap_or_default()),
    };
    let cert = options.cert.as_ref().map_or_else(|| "in it".to_owned(), ToString::to_string);
    match pair(identity, provider) {
        Ok(certified) => Some(certified),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let message = format!("it is not the key of the certificate {cert}");
            loader.problem(field, source, message);
            None
        }
        Err(rustls::Error::InvalidCertificate(_)) => {
            let field = if options.p12.is_some() { field } else { "cert" };
            loader.problem(field, cert, "it is no X.509 certificate");
            None
        }
        Err(error) => {
            let why = match error {
                rustls::Error::General(text) => text,
                other => other.to_string(),
            };
            loader.problem(field, source, format!("a key of this kind cannot be used: {why}"));
            None
        }
    }
}

/// Puts certificate and key together if they fit, as far as that can be told.
fn pair(identity: Identity, provider: &CryptoProvider) -> Result<CertifiedKey, rustls::Error> {
    let key = provider.key_provider.load_private_key(identity.key)?;
    let certified = CertifiedKey::new(identity.chain, key);
    let unreadable = match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
            return Ok(certified);
        }
        Err(error @ rustls::Error::InvalidCertificate(_)) => error,
        Err(error) => return Err(error),
    };
    // rustls reads version 3 of X.509 alone, and servers take a client's certificate of version 1, too: it is what
    // `openssl x509 -req` makes without extensions.
    let leaf = certified.end_entity_cert()?;
    let Some(in_certificate) = public_key(leaf) else { return Err(unreadable) };
    match certified.key.public_key() {
        Some(ours) if ours.as_ref() != in_certificate => Err(InconsistentKeys::KeyMismatch.into()),
        _ => Ok(certified),
    }
}

fn versions(options: &TlsOptions) -> Vec<&'static SupportedProtocolVersion> {
    let wanted = |version| options.versions.is_empty() || options.versions.contains(&version);
    [(TlsVersion::V1_3, &rustls::version::TLS13), (TlsVersion::V1_2, &rustls::version::TLS12)]
        .into_iter()
        .filter_map(|(version, supported)| wanted(version).then_some(supported))
        .collect()
}

/// The cryptography with the suites and groups that are asked for.
fn narrowed(options: &TlsOptions, loader: &mut Loader) -> Option<CryptoProvider> {
    let mut provider = provider();
    // rustls calls those of TLS 1.3 `TLS13_…`.
    let name = |suite: &rustls::SupportedCipherSuite| {
        format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
    };
    let suites =
        chosen("cipher_suites", &options.cipher_suites, &provider.cipher_suites, name, loader);
    let name =
        |group: &&'static dyn rustls::crypto::SupportedKxGroup| format!("{:?}", group.name());
    let groups = chosen("key_exchange", &options.key_exchange, &provider.kx_groups, name, loader);
    provider.cipher_suites = suites?;
    provider.kx_groups = groups?;
    Some(provider)
}

/// The items with these names, in their order; all when none is named, `None` when a name is wrong.
fn chosen<T: Copy>(
    field: &str,
    wanted: &[String],
    known: &[T],
    name: impl Fn(&T) -> String,
    loader: &mut Loader,
) -> Option<Vec<T>> {
    if wanted.is_empty() {
        return Some(known.to_vec());
    }
    let mut found = Vec::new();
    for text in wanted {
        let same = |item: &&T| name(item).eq_ignore_ascii_case(text);
        if let Some(item) = known.iter().find(same) {
            found.push(*item);
        } else {
            let names: Vec<_> = known.iter().map(&name).collect();
            loader.problem(field, text, format!("allowed are {}", names.join(", ")));
        }
    }
    (found.len() == wanted.len()).then_some(found)
}

fn check_names(options: &TlsOptions, loader: &mut Loader) {
    if let Some(name) = &options.sni
        && ServerName::try_from(name.as_str()).is_err()
    {
        loader.problem("sni", name, "it is neither a host name nor an address");
    }
    for protocol in &options.alpn {
        if protocol.is_empty() || protocol.len() > 255 {
            loader.problem("alpn", protocol, "1 to 255 bytes are allowed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqttx_test::{Identity as Files, Pki};

    #[test]
    fn a_client_certificate_may_be_of_version_1_and_its_key_must_fit_all_the_same() {
        let Files { cert, key } = Files::version_1();
        let with = |key: String| {
            let (cert, key) = (cert.clone().into_bytes(), key.into_bytes());
            load(&TlsOptions::new().client_certificate(cert, key))
        };
        let loaded = with(key).map_err(|problems| problems[0].to_string());
        assert!(loaded.expect("usable").not_after.is_some());
        let problems = with(Pki::new("ca").client("gw").key).err().expect("another key");
        assert!(problems[0].message.contains("is not the key"), "{}", problems[0]);
    }
}
