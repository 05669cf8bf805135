//! The built-in methods by name, as the configuration file and the command have them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::{
    Authenticator, Credentials, CredentialsProvider, FileCredentials, OauthBearer, Plain, Scram,
};
use crate::options::Secret;

/// A built-in method of enhanced authentication (MQTT 5).
///
/// ```
/// use mqttx::auth::AuthMethod;
///
/// assert_eq!("SCRAM-SHA-256".parse(), Ok(AuthMethod::ScramSha256));
/// let error = "KERBEROS".parse::<AuthMethod>().unwrap_err();
/// assert!(error.to_string().contains("OAUTHBEARER"), "the known ones are named");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum AuthMethod {
    /// [`Scram::sha256`], RFC 7677.
    ScramSha256,
    /// [`Scram::sha512`].
    ScramSha512,
    /// [`Plain`], RFC 4616.
    Plain,
    /// [`OauthBearer`], RFC 7628.
    OauthBearer,
}

impl AuthMethod {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::ScramSha256, Self::ScramSha512, Self::Plain, Self::OauthBearer];

    /// The name that CONNECT carries.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::Plain => "PLAIN",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }

    /// Whether it needs a token, and not a user with a password.
    #[must_use]
    pub const fn takes_token(self) -> bool {
        matches!(self, Self::OauthBearer)
    }

    /// The method with these credentials.
    #[must_use]
    pub fn authenticator(self, provider: Arc<dyn CredentialsProvider>) -> Arc<dyn Authenticator> {
        match self {
            Self::ScramSha256 => Arc::new(Scram::sha256(provider)),
            Self::ScramSha512 => Arc::new(Scram::sha512(provider)),
            Self::Plain => Arc::new(Plain::new(provider)),
            Self::OauthBearer => Arc::new(OauthBearer::new(provider)),
        }
    }
}

impl fmt::Display for AuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no method.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseAuthMethodError(String);

impl fmt::Display for ParseAuthMethodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = AuthMethod::ALL.iter().map(|method| method.name()).collect();
        write!(f, "unknown authentication method '{}': known are {}", self.0, names.join(", "))
    }
}

impl std::error::Error for ParseAuthMethodError {}

impl FromStr for AuthMethod {
    type Err = ParseAuthMethodError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|method| method.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| ParseAuthMethodError(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for AuthMethod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// `auth = { … }` of a session in the configuration file.
#[derive(Clone, Default, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AuthOptions {
    /// The method; without one, user and password go into CONNECT.
    pub method: Option<AuthMethod>,
    /// The user. Without user, password and token here those of the session are used, and go to the method alone.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// A file that holds the password, read at every attempt.
    pub password_file: Option<PathBuf>,
    /// The token of `OAUTHBEARER`.
    pub token: Option<Secret>,
    /// A file that holds the token, read at every attempt.
    pub token_file: Option<PathBuf>,
}

impl AuthOptions {
    /// Whether nothing but a method is said, so that the session's user and password are meant.
    pub(crate) fn takes_from_session(&self) -> bool {
        *self == Self { method: self.method, ..Self::default() }
    }

    /// The method with what is said here.
    pub(crate) fn authenticator(&self) -> Option<Arc<dyn Authenticator>> {
        let method = self.method?;
        let secret = self.token.clone().or_else(|| self.password.clone());
        let file = self.token_file.clone().or_else(|| self.password_file.clone());
        let provider: Arc<dyn CredentialsProvider> = match (secret, file) {
            (None, Some(path)) => Arc::new(FileCredentials::new(self.username.clone(), path)),
            (password, _) => {
                let username = self.username.clone();
                Arc::new(Credentials { username, password, ..Credentials::default() })
            }
        };
        Some(method.authenticator(provider))
    }
}
