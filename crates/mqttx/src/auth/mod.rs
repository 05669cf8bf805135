//! Who the session is: credentials that are asked for at every attempt, and MQTT 5's enhanced authentication.
//!
//! An [`Authenticator`] is what a session was given; each connection gets an [`Exchange`] of its own from it. Both are called in
//! tasks of their own, never on a driver's turn. Built in are [`Scram`], [`Plain`] and [`OauthBearer`], which take their user,
//! password or token from a [`CredentialsProvider`]: [`Credentials`] that never change, or [`FileCredentials`].
//!
//! This layer knows no session and no connection.

mod credentials;
mod method;
mod oauthbearer;
mod plain;
mod scram;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use credentials::read_secret;
pub use credentials::{Credentials, CredentialsProvider, FileCredentials};
pub use method::{AuthMethod, AuthOptions, ParseAuthMethodError};
pub use oauthbearer::OauthBearer;
pub use plain::Plain;
pub use scram::Scram;

use crate::error::{Error, ErrorKind};

/// What an authentication works on: it runs in a task of its own, and may wait as long as the attempt may.
pub type AuthFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// An authentication method of MQTT 5 (section 4.12): makes an [`Exchange`] for each connection.
///
/// ```
/// use mqttx::auth::{Attempt, AuthFuture, Authenticator, Exchange};
///
/// struct Echo;
///
/// impl Authenticator for Echo {
///     fn method(&self) -> &str {
///         "ECHO"
///     }
///
///     fn begin(&self, _: &Attempt) -> Box<dyn Exchange> {
///         Box::new(Self)
///     }
/// }
///
/// impl Exchange for Echo {
///     fn initial(&mut self) -> AuthFuture<'_, Option<Vec<u8>>> {
///         Box::pin(async { Ok(None) })
///     }
///
///     fn respond<'a>(&'a mut self, challenge: &'a [u8]) -> AuthFuture<'a, Option<Vec<u8>>> {
///         Box::pin(async { Ok(Some(challenge.to_vec())) })
///     }
/// }
///
/// let options = mqttx::SessionOptions::quick_connect("s", "localhost").authenticator(Echo).build()?;
/// # Ok::<(), mqttx::ConfigErrors>(())
/// ```
pub trait Authenticator: Send + Sync {
    /// The name of the method as CONNECT says it, at most 65 535 bytes `[MQTT-4.12.0-5]`.
    fn method(&self) -> &str;

    /// Begins an exchange: for a new connection, or again on one that is there.
    fn begin(&self, attempt: &Attempt) -> Box<dyn Exchange>;
}

impl<T: Authenticator + ?Sized> Authenticator for Arc<T> {
    fn method(&self) -> &str {
        (**self).method()
    }

    fn begin(&self, attempt: &Attempt) -> Box<dyn Exchange> {
        (**self).begin(attempt)
    }
}

/// One authentication, from the first data to the server's proof.
///
/// An error ends it. Before CONNACK the attempt has failed; on a connection that is there it is closed with DISCONNECT 0x80, or,
/// if [`initial`](Self::initial) failed, left as it was. An error that is not [temporary](Error::is_temporary) counts as bad
/// credentials, others are retried like a lost connection.
pub trait Exchange: Send {
    /// The data that goes first, with CONNECT or the AUTH that begins again; `None` when the server speaks first.
    fn initial(&mut self) -> AuthFuture<'_, Option<Vec<u8>>>;

    /// The answer to what the server asks; data that the server left out is empty. At most 16 times in one exchange.
    fn respond<'a>(&'a mut self, challenge: &'a [u8]) -> AuthFuture<'a, Option<Vec<u8>>>;

    /// The server says that it is content, and perhaps proves who it is: before this returned, nothing but AUTH is sent to it,
    /// and nothing is delivered. Default: believes it.
    fn finish<'a>(&'a mut self, data: Option<&'a [u8]>) -> AuthFuture<'a, ()> {
        let _ = data;
        Box::pin(async { Ok(()) })
    }

    /// How long the credentials are valid, from when [`initial`](Self::initial) was called. After four fifths of it the session
    /// authenticates again. Default: for ever.
    fn valid_for(&self) -> Option<Duration> {
        None
    }
}

/// What is asked for: which session wants to connect to which server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The session's name.
    pub session: Arc<str>,
    /// Its client id; empty if the server is to choose one.
    pub client_id: String,
    /// The server's address, without credentials.
    pub broker: String,
    /// Counts from 1 since the last connection that proved stable.
    pub attempt: u32,
    /// The connection is there, and authenticates again.
    pub again: bool,
}

impl Error {
    /// Credentials that cannot be had, or an authentication that cannot go on; a retry may help.
    #[must_use]
    pub fn authentication(message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Authentication, message)
    }

    /// An authentication that will hardly go better the next time: the server could not prove itself, or the credentials
    /// cannot be used.
    #[must_use]
    pub fn bad_authentication(message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Self::authentication(message).with_temporary(false)
    }
}

impl fmt::Debug for dyn Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authenticator").field(&self.method()).finish()
    }
}
