//! The authorities that the system trusts.

use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;

/// Reading and parsing them takes milliseconds, and they change with the system's packages only.
static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();

/// The system's authorities, or those of Mozilla where the system has none. `SSL_CERT_FILE` and `SSL_CERT_DIR` say where
/// they are, if they are elsewhere. Read once in the process.
pub(crate) fn of_the_system() -> Arc<RootCertStore> {
    Arc::clone(SYSTEM.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "an authority of the system cannot be read");
        }
        Arc::new(or_mozillas(found.certs))
    }))
}

fn or_mozillas(found: Vec<rustls::pki_types::CertificateDer<'static>>) -> RootCertStore {
    let mut store = RootCertStore::empty();
    let (added, ignored) = store.add_parsable_certificates(found);
    tracing::debug!(added, ignored, "authorities of the system");
    if store.is_empty() {
        tracing::warn!("the system has no authorities: those of Mozilla are used");
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    store
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_authorities_gets_those_of_mozilla() {
        let store = or_mozillas(vec![vec![1, 2, 3].into()]);
        assert_eq!(store.len(), webpki_roots::TLS_SERVER_ROOTS.len());
    }
}
