//! OAUTHBEARER, RFC 7628: a bearer token.

use std::time::Duration;

use super::scram::saslname;
use super::{Attempt, AuthFuture, Authenticator, Credentials, CredentialsProvider, Exchange};
use crate::error::Error;

/// The method `OAUTHBEARER` (RFC 7628): a token, such as a JWT. Only for encrypted connections.
///
/// The provider's password is the token, its user name, if any, whom to act as. If it says how long the token is valid, the
/// session authenticates again before its end, without losing the connection.
///
/// ```
/// use mqttx::auth::{FileCredentials, OauthBearer};
///
/// let options = mqttx::SessionOptions::quick_connect("s", "localhost")
///     .authenticator(OauthBearer::new(FileCredentials::new(None, "/run/secrets/token")))
///     .build()?;
/// # Ok::<(), mqttx::ConfigErrors>(())
/// ```
#[derive(Clone, Debug)]
pub struct OauthBearer<P>(std::sync::Arc<P>);

impl<P: CredentialsProvider + 'static> OauthBearer<P> {
    /// With the token that `provider` gives for each exchange.
    #[must_use]
    pub fn new(provider: P) -> Self {
        Self(std::sync::Arc::new(provider))
    }
}

impl<P: CredentialsProvider + 'static> Authenticator for OauthBearer<P> {
    fn method(&self) -> &str {
        "OAUTHBEARER"
    }

    fn begin(&self, attempt: &Attempt) -> Box<dyn Exchange> {
        let (provider, attempt) = (std::sync::Arc::clone(&self.0), attempt.clone());
        Box::new(Running { provider, attempt, valid_for: None, refused: false })
    }
}

struct Running<P> {
    provider: std::sync::Arc<P>,
    attempt: Attempt,
    valid_for: Option<Duration>,
    refused: bool,
}

impl<P: CredentialsProvider + 'static> Exchange for Running<P> {
    fn initial(&mut self) -> AuthFuture<'_, Option<Vec<u8>>> {
        Box::pin(async {
            let credentials = self.provider.credentials(&self.attempt).await?;
            self.valid_for = credentials.valid_for;
            message(&credentials).map(Some)
        })
    }

    /// The server says why it does not take the token, and ends the exchange after a dummy answer (section 3.2.3).
    fn respond<'a>(&'a mut self, _: &'a [u8]) -> AuthFuture<'a, Option<Vec<u8>>> {
        let twice = std::mem::replace(&mut self.refused, true);
        Box::pin(async move {
            if twice {
                let text = "OAUTHBEARER: the server neither takes nor refuses the token";
                return Err(Error::bad_authentication(text));
            }
            Ok(Some(vec![SEPARATOR]))
        })
    }

    fn finish<'a>(&'a mut self, _: Option<&'a [u8]>) -> AuthFuture<'a, ()> {
        let refused = self.refused;
        Box::pin(async move {
            if refused {
                let text = "OAUTHBEARER: the server took a token that it had refused";
                return Err(Error::bad_authentication(text));
            }
            Ok(())
        })
    }

    fn valid_for(&self) -> Option<Duration> {
        self.valid_for
    }
}

const SEPARATOR: u8 = 1;

/// `n,[a=USER],^Aauth=Bearer TOKEN^A^A`, section 3.1 of RFC 7628.
fn message(credentials: &Credentials) -> Result<Vec<u8>, Error> {
    let token = credentials.password.as_ref().map_or(&[][..], |token| token.expose());
    // Section 2.1 of RFC 6750; another character could end the message early.
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    if token.is_empty() || !token.iter().all(allowed) {
        let text = "OAUTHBEARER needs a token of letters, digits and -._~+/=";
        return Err(Error::bad_authentication(text));
    }
    let user = match credentials.username.as_deref().filter(|user| !user.is_empty()) {
        Some(user) => format!("a={}", saslname(user)?),
        None => String::new(),
    };
    Ok([b"n,", user.as_bytes(), b",\x01auth=Bearer ", token, b"\x01\x01"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_stands_between_separators() {
        let token = message(&Credentials::token("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="));
        let expected = b"n,,\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01";
        assert_eq!(token.expect("valid"), expected);
        let user = message(&Credentials::new("a,b=c", "t"));
        assert_eq!(user.expect("valid"), b"n,a=a=2Cb=3Dc,\x01auth=Bearer t\x01\x01");
    }

    #[test]
    fn a_token_that_would_break_the_message_is_an_error_that_does_not_show_it() {
        for token in ["", "a b", "se\u{1}cret", "se\ncret"] {
            let error = message(&Credentials::token(token)).expect_err("not valid");
            assert!(!error.to_string().contains("cret"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_refused_token_is_acknowledged_once_and_never_accepted_afterwards() {
        let attempt = Attempt {
            session: "s".into(),
            client_id: String::new(),
            broker: String::new(),
            attempt: 1,
            again: false,
        };
        let mut exchange = OauthBearer::new(Credentials::token("t")).begin(&attempt);
        exchange.initial().await.expect("a token");
        let answer = exchange.respond(br#"{"status":"invalid_token"}"#).await.expect("an answer");
        assert_eq!(answer, Some(vec![1]));
        assert!(exchange.finish(None).await.is_err());
        assert!(exchange.respond(b"{}").await.is_err());
    }
}
