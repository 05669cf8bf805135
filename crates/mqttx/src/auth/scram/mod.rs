//! SCRAM-SHA-256 and SCRAM-SHA-512, RFC 5802 and RFC 7677: the password never leaves the client, and the server proves that it
//! knows it, too.

mod keys;
mod message;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::{Attempt, AuthFuture, Authenticator, CredentialsProvider, Exchange};
use crate::error::Error;
use keys::{Hash, Keys};
pub(super) use message::saslname;
use message::{ServerFinal, ServerFirst};

/// The methods `SCRAM-SHA-256` (RFC 7677) and `SCRAM-SHA-512`, without channel binding.
///
/// User and password are prepared with SASLprep (RFC 4013). The server must ask for 4096 to 1 000 000 iterations: fewer make a
/// stolen exchange cheap to search, more would let a server take the client's processor. The keys that the iterations give are
/// remembered for the last salt, so that a session that comes back does not compute them again; the first time it happens on the
/// blocking pool.
///
/// ```
/// use mqttx::auth::{Credentials, Scram};
///
/// let options = mqttx::SessionOptions::quick_connect("s", "localhost")
///     .authenticator(Scram::sha256(Credentials::new("user", "pencil")))
///     .build()?;
/// # Ok::<(), mqttx::ConfigErrors>(())
/// ```
#[derive(Debug)]
pub struct Scram<P> {
    hash: Hash,
    provider: Arc<P>,
    known: Arc<Known>,
}

impl<P: CredentialsProvider + 'static> Scram<P> {
    /// The fewest iterations that are accepted (RFC 7677, section 4).
    pub const MIN_ITERATIONS: u32 = message::MIN_ITERATIONS;
    /// The most iterations that are accepted.
    pub const MAX_ITERATIONS: u32 = message::MAX_ITERATIONS;

    /// `SCRAM-SHA-256` with the user and the password that `provider` gives for each exchange.
    #[must_use]
    pub fn sha256(provider: P) -> Self {
        Self { hash: Hash::Sha256, provider: Arc::new(provider), known: Arc::default() }
    }

    /// `SCRAM-SHA-512` with the user and the password that `provider` gives for each exchange.
    #[must_use]
    pub fn sha512(provider: P) -> Self {
        Self { hash: Hash::Sha512, ..Self::sha256(provider) }
    }
}

impl<P: CredentialsProvider + 'static> Authenticator for Scram<P> {
    fn method(&self) -> &str {
        match self.hash {
            Hash::Sha256 => "SCRAM-SHA-256",
            Hash::Sha512 => "SCRAM-SHA-512",
        }
    }

    fn begin(&self, attempt: &Attempt) -> Box<dyn Exchange> {
        Box::new(Running {
            hash: self.hash,
            provider: Arc::clone(&self.provider),
            attempt: attempt.clone(),
            known: Arc::clone(&self.known),
            valid_for: None,
            step: Step::Begun,
        })
    }
}

/// The keys of the last exchange (RFC 5802, section 5.1, allows to keep them).
#[derive(Default)]
struct Known(Mutex<Option<Keys>>);

impl Known {
    fn find(&self, password: &str, first: &ServerFirst) -> Option<Keys> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|keys| keys.are_of(password, &first.salt, first.iterations)).cloned()
    }

    fn keep(&self, keys: &Keys) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(keys.clone());
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

struct Running<P> {
    hash: Hash,
    provider: Arc<P>,
    attempt: Attempt,
    known: Arc<Known>,
    valid_for: Option<Duration>,
    step: Step,
}

/// How far the exchange has come.
enum Step {
    Begun,
    /// client-first is sent.
    First {
        bare: String,
        nonce: String,
        password: zeroize::Zeroizing<String>,
    },
    /// client-final is sent: the server's signature is awaited.
    Final {
        auth_message: String,
        keys: Keys,
    },
    Verified,
    Failed,
}

impl<P: CredentialsProvider + 'static> Exchange for Running<P> {
    fn initial(&mut self) -> AuthFuture<'_, Option<Vec<u8>>> {
        Box::pin(async {
            let mut random = [0; 24];
            getrandom::fill(&mut random).map_err(|error| {
                Error::authentication("the system has no random numbers").with_source(error)
            })?;
            self.begin(STANDARD_NO_PAD.encode(random)).await.map(Some)
        })
    }

    fn respond<'a>(&'a mut self, challenge: &'a [u8]) -> AuthFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            match std::mem::replace(&mut self.step, Step::Failed) {
                Step::First { bare, nonce, password } => {
                    self.answer(challenge, &bare, &nonce, password).await.map(Some)
                }
                // Servers that prove themselves with AUTH before CONNACK get an empty answer.
                Step::Final { auth_message, keys } => {
                    self.verify(challenge, &auth_message, &keys).map(|()| None)
                }
                Step::Begun | Step::Verified | Step::Failed => {
                    Err(Error::bad_authentication("SCRAM: the server asks out of turn"))
                }
            }
        })
    }

    fn finish<'a>(&'a mut self, data: Option<&'a [u8]>) -> AuthFuture<'a, ()> {
        Box::pin(async move {
            match (std::mem::replace(&mut self.step, Step::Failed), data) {
                (Step::Verified, None) => Ok(()),
                (Step::Final { auth_message, keys }, Some(data)) => {
                    self.verify(data, &auth_message, &keys)
                }
                _ => {
                    let text = "SCRAM: the server did not prove that it knows the password";
                    Err(Error::bad_authentication(text))
                }
            }
        })
    }

    fn valid_for(&self) -> Option<Duration> {
        self.valid_for
    }
}

impl<P: CredentialsProvider> Running<P> {
    /// client-first-message: `n,,n=USER,r=NONCE`.
    async fn begin(&mut self, nonce: String) -> Result<Vec<u8>, Error> {
        let credentials = self.provider.credentials(&self.attempt).await?;
        self.valid_for = credentials.valid_for;
        let user = message::prepared("user", credentials.username.as_deref())?;
        let password = credentials.password.as_ref();
        let password = password.and_then(|password| std::str::from_utf8(password.expose()).ok());
        let password = zeroize::Zeroizing::new(message::prepared("password", password)?);
        let bare = format!("n={},r={nonce}", saslname(&user)?);
        let message = format!("{}{bare}", message::GS2_HEADER);
        self.step = Step::First { bare, nonce, password };
        Ok(message.into_bytes())
    }

    /// client-final-message: `c=…,r=NONCE,p=PROOF`.
    async fn answer(
        &mut self,
        challenge: &[u8],
        bare: &str,
        nonce: &str,
        password: zeroize::Zeroizing<String>,
    ) -> Result<Vec<u8>, Error> {
        let first = ServerFirst::parse(challenge, nonce)?;
        let keys = match self.known.find(&password, &first) {
            Some(keys) => keys,
            None => {
                let (hash, salt, iterations) = (self.hash, first.salt.clone(), first.iterations);
                let derive = move || Keys::derive(hash, password, salt, iterations);
                let keys = tokio::task::spawn_blocking(derive).await;
                keys.map_err(|_| Error::authentication("SCRAM: the keys were not computed"))?
            }
        };
        let without_proof = message::client_final(first.nonce);
        let auth_message = format!("{bare},{},{without_proof}", first.text);
        let proof = keys.proof(auth_message.as_bytes());
        let message = format!("{without_proof},p={}", message::encode(&proof));
        self.step = Step::Final { auth_message, keys };
        Ok(message.into_bytes())
    }

    /// server-final-message: `v=SIGNATURE`, or `e=ERROR`.
    fn verify(&mut self, data: &[u8], auth_message: &str, keys: &Keys) -> Result<(), Error> {
        let signature = match ServerFinal::parse(data)? {
            ServerFinal::Signature(signature) => signature,
            ServerFinal::Error(why) => {
                return Err(Error::bad_authentication(format!("SCRAM: the server says {why}")));
            }
        };
        if !keys.is_signature(auth_message.as_bytes(), &signature) {
            let text = "SCRAM: the server's signature is wrong: it does not know the password";
            return Err(Error::bad_authentication(text));
        }
        self.known.keep(keys);
        self.step = Step::Verified;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
