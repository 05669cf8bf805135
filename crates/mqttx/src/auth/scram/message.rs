//! The messages of SCRAM, section 7 of RFC 5802.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::Error;

/// No channel binding, and nobody else to act as.
pub(super) const GS2_HEADER: &str = "n,,";
pub(super) const MIN_ITERATIONS: u32 = 4096;
pub(super) const MAX_ITERATIONS: u32 = 1_000_000;

/// `r=NONCE,s=SALT,i=ITERATIONS`
pub(super) struct ServerFirst<'a> {
    pub(super) text: &'a str,
    /// Ours, and the server's behind it.
    pub(super) nonce: &'a str,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
}

/// What the server says at the end.
pub(super) enum ServerFinal<'a> {
    Signature(Vec<u8>),
    Error(&'a str),
}

impl<'a> ServerFirst<'a> {
    /// `ours`: the nonce that we sent.
    pub(super) fn parse(message: &'a [u8], ours: &str) -> Result<Self, Error> {
        let bad = |what: &str| Error::bad_authentication(format!("SCRAM: the server {what}"));
        let text = std::str::from_utf8(message).map_err(|_| bad("sent no text"))?;
        let mut attributes = text.split(',');
        let mut next = |name: &str| attributes.next().and_then(|part| part.strip_prefix(name));
        let nonce = next("r=").ok_or_else(|| match text.strip_prefix("m=") {
            Some(_) => bad("demands an extension"),
            None => bad("sent no nonce"),
        })?;
        if nonce.len() <= ours.len() || !nonce.starts_with(ours) {
            return Err(bad("sent a nonce that does not begin with ours"));
        }
        let salt = next("s=").ok_or_else(|| bad("sent no salt"))?;
        let salt = STANDARD.decode(salt).map_err(|_| bad("sent a salt that is not base64"))?;
        let iterations = next("i=").ok_or_else(|| bad("sent no number of iterations"))?;
        let iterations = match iterations.parse() {
            Ok(n) if (MIN_ITERATIONS..=MAX_ITERATIONS).contains(&n) => n,
            _ => {
                let text = format!(
                    "asks for '{}' iterations: allowed are {MIN_ITERATIONS} to {MAX_ITERATIONS}",
                    iterations.chars().take(12).collect::<String>().escape_debug()
                );
                return Err(bad(&text));
            }
        };
        if salt.is_empty() {
            return Err(bad("sent an empty salt"));
        }
        Ok(Self { text, nonce, salt, iterations })
    }
}

impl<'a> ServerFinal<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, Error> {
        let bad = || Error::bad_authentication("SCRAM: the server's last message is malformed");
        let text = std::str::from_utf8(message).map_err(|_| bad())?;
        let first = text.split(',').next().unwrap_or_default();
        if let Some(signature) = first.strip_prefix("v=") {
            return STANDARD.decode(signature).map(ServerFinal::Signature).map_err(|_| bad());
        }
        let error = first.strip_prefix("e=").ok_or_else(bad)?;
        // The errors of the RFC are short words.
        let word = error.len() <= 40 && error.bytes().all(|b| b.is_ascii_graphic());
        Ok(Self::Error(if word { error } else { "that it failed" }))
    }
}

/// Without the proof.
pub(super) fn client_final(nonce: &str) -> String {
    format!("c={},r={nonce}", encode(GS2_HEADER.as_bytes()))
}

pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The user or password after SASLprep (RFC 4013).
pub(super) fn prepared(what: &str, text: Option<&str>) -> Result<String, Error> {
    let needed = || Error::bad_authentication(format!("SCRAM needs a {what}, UTF-8 text"));
    let text = text.filter(|text| !text.is_empty()).ok_or_else(needed)?;
    let prepared = stringprep::saslprep(text).map_err(|_| {
        let message = format!("SCRAM: the {what} has a character that SASLprep does not allow");
        Error::bad_authentication(message)
    })?;
    // All of it may have been mapped to nothing.
    if prepared.is_empty() { Err(needed()) } else { Ok(prepared.into_owned()) }
}

/// `=` and `,` have a meaning in messages of RFC 5801.
///
/// # Errors
/// The name has a NUL.
pub(in crate::auth) fn saslname(name: &str) -> Result<String, Error> {
    if name.contains('\0') {
        return Err(Error::bad_authentication("the user has a NUL character"));
    }
    Ok(name.replace('=', "=3D").replace(',', "=2C"))
}
