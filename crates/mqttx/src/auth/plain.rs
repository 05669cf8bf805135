//! PLAIN, RFC 4616: the password itself.

use std::time::Duration;

use super::{Attempt, AuthFuture, Authenticator, Credentials, CredentialsProvider, Exchange};
use crate::error::Error;

/// The method `PLAIN` (RFC 4616): user and password, readable for everybody on the way. Only for encrypted connections.
///
/// ```
/// use mqttx::auth::{Credentials, Plain};
///
/// let options = mqttx::SessionOptions::quick_connect("s", "localhost")
///     .authenticator(Plain::new(Credentials::new("user", "pencil")))
///     .build()?;
/// # Ok::<(), mqttx::ConfigErrors>(())
/// ```
#[derive(Clone, Debug)]
pub struct Plain<P>(std::sync::Arc<P>);

impl<P: CredentialsProvider + 'static> Plain<P> {
    /// With the user and the password that `provider` gives for each exchange.
    #[must_use]
    pub fn new(provider: P) -> Self {
        Self(std::sync::Arc::new(provider))
    }
}

impl<P: CredentialsProvider + 'static> Authenticator for Plain<P> {
    fn method(&self) -> &str {
        "PLAIN"
    }

    fn begin(&self, attempt: &Attempt) -> Box<dyn Exchange> {
        let (provider, attempt) = (std::sync::Arc::clone(&self.0), attempt.clone());
        Box::new(Running { provider, attempt, valid_for: None })
    }
}

struct Running<P> {
    provider: std::sync::Arc<P>,
    attempt: Attempt,
    valid_for: Option<Duration>,
}

impl<P: CredentialsProvider + 'static> Exchange for Running<P> {
    fn initial(&mut self) -> AuthFuture<'_, Option<Vec<u8>>> {
        Box::pin(async {
            let credentials = self.provider.credentials(&self.attempt).await?;
            self.valid_for = credentials.valid_for;
            message(&credentials).map(Some)
        })
    }

    fn respond<'a>(&'a mut self, _: &'a [u8]) -> AuthFuture<'a, Option<Vec<u8>>> {
        let error = Error::bad_authentication("PLAIN: the server asks for more than the password");
        Box::pin(async { Err(error) })
    }

    fn valid_for(&self) -> Option<Duration> {
        self.valid_for
    }
}

/// `[authzid] NUL authcid NUL passwd`, section 2 of RFC 4616.
fn message(credentials: &Credentials) -> Result<Vec<u8>, Error> {
    let user = credentials.username.as_deref().unwrap_or_default();
    let password = credentials.password.as_ref().map_or(&[][..], |password| password.expose());
    let fits = |part: &[u8]| !part.is_empty() && !part.contains(&0);
    if !fits(user.as_bytes()) || !fits(password) || std::str::from_utf8(password).is_err() {
        let text = "PLAIN needs a user and a password, UTF-8 text without NUL";
        return Err(Error::bad_authentication(text));
    }
    Ok([b"\0", user.as_bytes(), b"\0", password].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        // Section 4 of RFC 4616, the first exchange.
        let credentials = Credentials::new("tim", "tanstaaftanstaaf");
        assert_eq!(message(&credentials).expect("valid"), b"\0tim\0tanstaaftanstaaf");
    }

    #[test]
    fn what_plain_cannot_say_is_an_error_without_the_password() {
        for (user, password) in [("", "pw"), ("u", ""), ("u\0v", "pw"), ("u", "p\0w")] {
            let error = message(&Credentials::new(user, password)).expect_err("not valid");
            assert!(!error.is_temporary() && !error.to_string().contains("p\0w"), "{error}");
        }
        let binary = Credentials::new("u", vec![0xff]);
        assert!(message(&binary).is_err());
    }
}
