//! The server's part of SCRAM-SHA-256: it stores what RFC 5802 has a server store, and never the password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// One user of a server, as RFC 5802 has a server know them.
///
/// ```
/// let mut server = mqttx_test::ScramServer::new("user", "pencil", 4096);
/// let first = server.first(b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
/// assert!(first.starts_with("r=fyko+d2lbbFgONRv9qkxdawL"));
/// assert!(server.last(format!("c=biws,{},p=AAAA", first.split(',').next().unwrap()).as_bytes()).is_none());
/// ```
#[derive(Debug)]
pub struct ScramServer {
    user: String,
    salt: Vec<u8>,
    iterations: u32,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
    client_first: String,
    server_first: String,
    nonce: String,
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// PBKDF2 written out, section 2.2 of RFC 5802.
fn hi(password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
    let mut last = hmac(password, &[salt, &1_u32.to_be_bytes()].concat());
    let mut result = last.clone();
    for _ in 1..iterations {
        last = hmac(password, &last);
        result.iter_mut().zip(&last).for_each(|(a, b)| *a ^= b);
    }
    result
}

impl ScramServer {
    /// The method as CONNECT names it.
    pub const METHOD: &str = "SCRAM-SHA-256";

    /// Knows the password of `user`, and asks for so many iterations.
    #[must_use]
    pub fn new(user: &str, password: &str, iterations: u32) -> Self {
        let salt = b"salt of the server".to_vec();
        let salted = hi(password.as_bytes(), &salt, iterations);
        Self {
            user: user.to_owned(),
            iterations,
            stored_key: Sha256::digest(hmac(&salted, b"Client Key")).to_vec(),
            server_key: hmac(&salted, b"Server Key"),
            salt,
            client_first: String::new(),
            server_first: String::new(),
            nonce: String::new(),
        }
    }

    /// The answer to client-first.
    ///
    /// # Panics
    /// When that is not of this user, or its nonce can be guessed.
    pub fn first(&mut self, message: &[u8]) -> String {
        let message = std::str::from_utf8(message).expect("text");
        let bare = message.strip_prefix("n,,").expect("no channel binding");
        let nonce = bare.strip_prefix(&format!("n={},r=", self.user)).expect("user and nonce");
        assert!(nonce.len() >= 24, "{nonce} can be guessed");
        self.client_first = bare.to_owned();
        self.nonce = format!("{nonce}-server");
        let salt = STANDARD.encode(&self.salt);
        self.server_first = format!("r={},s={salt},i={}", self.nonce, self.iterations);
        self.server_first.clone()
    }

    /// The answer to client-final; `None`: the proof is wrong.
    ///
    /// # Panics
    /// When that is not of this exchange.
    #[must_use]
    pub fn last(&self, message: &[u8]) -> Option<String> {
        let message = std::str::from_utf8(message).expect("text");
        let (without_proof, proof) = message.rsplit_once(",p=").expect("a proof");
        assert_eq!(without_proof, format!("c=biws,r={}", self.nonce));
        let auth_message = format!("{},{},{without_proof}", self.client_first, self.server_first);
        let proof = STANDARD.decode(proof).expect("base64");
        let signature = hmac(&self.stored_key, auth_message.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        if Sha256::digest(client_key).to_vec() != self.stored_key {
            return None;
        }
        let signature = hmac(&self.server_key, auth_message.as_bytes());
        Some(format!("v={}", STANDARD.encode(signature)))
    }
}

/// The authentication data of a CONNECT or AUTH that names this method; `None` when it has none.
///
/// # Panics
/// When the packet does not name the method.
#[must_use]
pub fn authentication_data(packet: &[u8], method: &str) -> Option<Vec<u8>> {
    let property = crate::hex(&format!("15 <{method}>"));
    let at = packet.windows(property.len()).position(|part| part == property);
    let rest = &packet[at.expect("the method") + property.len()..];
    let (&0x16, rest) = rest.split_first()? else { return None };
    let len = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
    Some(rest[2..2 + len].to_vec())
}
