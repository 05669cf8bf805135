//! Private keys in all their formats.

use p12_keystore::error::Error as P12Error;
use p12_keystore::{Certificate, Pkcs12Archive};
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::material::{Identity, has, is_der};

/// Reads a key: PKCS#8, also encrypted, PKCS#1 or SEC1, each as PEM or DER.
///
/// # Errors
/// What is wrong with it, and what to do.
pub(super) fn read(
    bytes: &[u8],
    password: Option<&[u8]>,
) -> Result<PrivateKeyDer<'static>, String> {
    if is_der(bytes) {
        if EncryptedPrivateKeyInfoRef::try_from(bytes).is_ok() {
            return decrypt(bytes, password);
        }
        let key = PrivateKeyDer::try_from(bytes.to_vec());
        return key.map_err(|_| "it is no private key: PKCS#8, PKCS#1 or SEC1 is expected".into());
    }
    if has(bytes, "-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return decrypt(&encrypted_section(bytes)?, password);
    }
    if has(bytes, "Proc-Type: 4,ENCRYPTED") {
        return Err(
            "it is encrypted in the old way of OpenSSL: convert it with `openssl pkcs8 -topk8`"
                .into(),
        );
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound if has(bytes, "-----BEGIN CERTIFICATE") => {
            "it has a certificate and no private key".to_owned()
        }
        rustls::pki_types::pem::Error::NoItemsFound => {
            "it has no private key: PKCS#8, PKCS#1 or SEC1 as PEM or DER is expected".to_owned()
        }
        error => format!("its PEM is damaged: {error}"),
    })
}

/// Opens a PKCS#12 file: the certificate of its key, those of the issuers, and the key.
///
/// # Errors
/// What is wrong with it.
pub(super) fn open_p12(bytes: &[u8], password: Option<&[u8]>) -> Result<Identity, String> {
    let text = str::from_utf8(password.unwrap_or_default())
        .map_err(|_| "key_password is not UTF-8".to_owned())?;
    let opened = Pkcs12Archive::from_pkcs12(bytes, text).map_err(|error| match error {
        P12Error::MacError(_) if password.is_none() => {
            "it is encrypted: its password is missing (key_password_file, --key-password-file)"
                .to_owned()
        }
        P12Error::MacError(_) => "the password does not open it".to_owned(),
        P12Error::DerError(_) => "it is no PKCS#12 file".to_owned(),
        other => format!("it cannot be opened: {other}"),
    })?;
    let [bag] = opened.keys.as_slice() else {
        let found = opened.keys.len();
        return Err(format!("it has {found} private keys: exactly one is expected"));
    };
    let id = bag.local_key_id.as_ref().map(|id| id.0.as_slice());
    let all: Vec<&Certificate> = opened.certs.iter().map(|certificate| &certificate.cert).collect();
    let of_key = opened.certs.iter().find(|c| id.is_some() && c.local_key_id.as_deref() == id);
    // Some programs leave the id out: the certificate that issued none of the others is the key's.
    let leaf = of_key.map(|bag| &bag.cert).or_else(|| {
        let issued = |c: &Certificate| all.iter().any(|o| *o != c && o.issuer() == c.subject());
        all.iter().copied().find(|certificate| !issued(certificate))
    });
    let Some(mut last) = leaf else {
        return Err("it has no certificate".to_owned());
    };
    let mut chain = vec![last];
    while let Some(issuer) =
        all.iter().find(|c| c.subject() == last.issuer() && !chain.contains(c)).copied()
    {
        chain.push(issuer);
        last = issuer;
    }
    Ok(Identity {
        chain: chain.iter().map(|c| CertificateDer::from(c.as_der().to_vec())).collect(),
        key: PrivatePkcs8KeyDer::from(bag.key.as_der().to_vec()).into(),
    })
}

/// The DER inside of an encrypted key's PEM.
fn encrypted_section(bytes: &[u8]) -> Result<Vec<u8>, String> {
    // The parser knows every label but this one; the content is what it says.
    let text = String::from_utf8_lossy(bytes).replace("ENCRYPTED PRIVATE KEY", "PRIVATE KEY");
    let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes());
    key.map(|key| key.secret_pkcs8_der().to_vec())
        .map_err(|error| format!("its PEM is damaged: {error}"))
}

fn decrypt(der: &[u8], password: Option<&[u8]>) -> Result<PrivateKeyDer<'static>, String> {
    let Some(password) = password else {
        return Err(
            "it is encrypted: its password is missing (key_password_file, --key-password-file)"
                .to_owned(),
        );
    };
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| {
        "its encryption is not known: convert it with `openssl pkcs8 -topk8`".to_owned()
    })?;
    let key =
        encrypted.decrypt(password).map_err(|_| "the password does not open it".to_owned())?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use p12_keystore::{
        EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKey, PrivateKeyChain,
    };

    fn client() -> mqttx_test::Identity {
        mqttx_test::Pki::new("ca").client("gw")
    }

    fn key_der(identity: &mqttx_test::Identity) -> Vec<u8> {
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
        key.secret_der().to_vec()
    }

    /// One key, as OpenSSL writes it, encrypted with `secret`.
    const KEYS: [(&str, &str); 4] = [
        ("AES-256", include_str!("keys/aes.pem")),
        ("AES-128, SHA-1", include_str!("keys/sha1.pem")),
        ("3DES", include_str!("keys/des3.pem")),
        ("scrypt", include_str!("keys/scrypt.pem")),
    ];

    #[test]
    fn encrypted_keys_are_opened() {
        let plain = read(include_bytes!("keys/plain.pem"), None).expect("a key");
        for (how, pem) in KEYS {
            let key = read(pem.as_bytes(), Some(b"secret"));
            assert_eq!(
                key.as_ref().map(PrivateKeyDer::secret_der),
                Ok(plain.secret_der()),
                "{how}"
            );
            let der = encrypted_section(pem.as_bytes()).expect("a section");
            assert!(read(&der, Some(b"secret")).is_ok(), "{how}, DER");
            assert_eq!(
                read(pem.as_bytes(), Some(b"x")).unwrap_err(),
                "the password does not open it"
            );
            let missing = read(&der, None).unwrap_err();
            assert!(missing.contains("its password is missing"), "{missing}");
        }
    }

    #[test]
    fn sec1_and_der_are_keys_too() {
        let sec1 = read(include_bytes!("keys/sec1.pem"), None).expect("a key");
        assert!(matches!(sec1, PrivateKeyDer::Sec1(_)));
        assert!(matches!(read(sec1.secret_der(), None), Ok(PrivateKeyDer::Sec1(_))));
    }

    fn p12(
        password: &str,
        encryption: EncryptionAlgorithm,
        mac: MacAlgorithm,
    ) -> (Vec<u8>, Vec<u8>) {
        let identity = client();
        let cert = CertificateDer::from_pem_slice(identity.cert.as_bytes()).expect("a certificate");
        let key = PrivateKey::from_der(&key_der(&identity)).expect("a key");
        let cert = Certificate::from_der(&cert).expect("a certificate");
        let chain = PrivateKeyChain::new("id", key, [cert]);
        let mut store = KeyStore::new();
        store.add_entry("gw", KeyStoreEntry::PrivateKeyChain(chain));
        let writer = store.writer(password).encryption_algorithm(encryption).mac_algorithm(mac);
        (
            writer.encryption_iterations(100).mac_iterations(100).write().expect("a file"),
            key_der(&identity),
        )
    }

    #[test]
    fn pkcs12_of_today_and_of_before_is_opened() {
        for (encryption, mac) in [
            (EncryptionAlgorithm::PbeWithHmacSha256AndAes256, MacAlgorithm::HmacSha256),
            (EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc, MacAlgorithm::HmacSha1),
            (EncryptionAlgorithm::PbeWithShaAnd40BitRc4Cbc, MacAlgorithm::HmacSha1),
        ] {
            let (bytes, key) = p12("secret", encryption, mac);
            let opened = open_p12(&bytes, Some(b"secret")).expect("opened");
            assert_eq!((opened.chain.len(), opened.key.secret_der()), (1, key.as_slice()));
            let wrong = open_p12(&bytes, Some(b"other")).err().expect("wrong password");
            assert_eq!(wrong, "the password does not open it");
            let without = open_p12(&bytes, None).err().expect("no password");
            assert!(without.contains("its password is missing"), "{without}");
        }
        assert_eq!(open_p12(b"hello", None).err().as_deref(), Some("it is no PKCS#12 file"));
    }
}
