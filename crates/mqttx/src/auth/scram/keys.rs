//! The keys of SCRAM, section 3 of RFC 5802.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

/// The hash function of the method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

/// What password, salt and iterations give.
#[derive(Clone)]
pub(super) struct Keys {
    hash: Hash,
    password: Zeroizing<String>,
    salt: Vec<u8>,
    iterations: u32,
    client: Zeroizing<Vec<u8>>,
    server: Zeroizing<Vec<u8>>,
}

impl Keys {
    /// Takes long, on purpose: milliseconds for 4096 iterations.
    pub(super) fn derive(
        hash: Hash,
        password: Zeroizing<String>,
        salt: Vec<u8>,
        iterations: u32,
    ) -> Self {
        let salted = hash.salted(password.as_bytes(), &salt, iterations);
        let client = Zeroizing::new(hash.hmac(&salted, b"Client Key"));
        let server = Zeroizing::new(hash.hmac(&salted, b"Server Key"));
        Self { hash, password, salt, iterations, client, server }
    }

    pub(super) fn are_of(&self, password: &str, salt: &[u8], iterations: u32) -> bool {
        *self.password == password && self.salt == salt && self.iterations == iterations
    }

    /// `ClientKey XOR HMAC(H(ClientKey), AuthMessage)`.
    pub(super) fn proof(&self, auth_message: &[u8]) -> Vec<u8> {
        let stored = Zeroizing::new(self.hash.digest(&self.client));
        let signature = self.hash.hmac(&stored, auth_message);
        self.client.iter().zip(signature).map(|(key, byte)| key ^ byte).collect()
    }

    /// Whether this is `HMAC(ServerKey, AuthMessage)`; takes the same time whatever differs.
    pub(super) fn is_signature(&self, auth_message: &[u8], signature: &[u8]) -> bool {
        match self.hash {
            Hash::Sha256 => is_mac::<Hmac<Sha256>>(&self.server, auth_message, signature),
            Hash::Sha512 => is_mac::<Hmac<Sha512>>(&self.server, auth_message, signature),
        }
    }
}

impl Hash {
    /// `Hi(password, salt, i)`: PBKDF2 with the length of the hash.
    fn salted(self, password: &[u8], salt: &[u8], iterations: u32) -> Zeroizing<Vec<u8>> {
        let mut salted = Zeroizing::new(vec![0; self.len()]);
        match self {
            Self::Sha256 => {
                pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted);
            }
            Self::Sha512 => {
                pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut salted);
            }
        }
        salted
    }

    fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => mac_of::<Hmac<Sha256>>(key, data),
            Self::Sha512 => mac_of::<Hmac<Sha512>>(key, data),
        }
    }

    fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }
}

fn mac<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> M {
    // HMAC takes keys of every length.
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("any key fits");
    mac.update(data);
    mac
}

fn mac_of<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
    mac::<M>(key, data).finalize().into_bytes().to_vec()
}

fn is_mac<M: Mac + KeyInit>(key: &[u8], data: &[u8], expected: &[u8]) -> bool {
    mac::<M>(key, data).verify_slice(expected).is_ok()
}
