//! User, password and token: fixed, from files, or from code of the application.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Attempt, AuthFuture};
use crate::error::Error;
use crate::options::Secret;

/// Says who the session is, anew for every attempt to connect: for tokens that expire, or a vault.
///
/// Set by [`SessionBuilder::credentials`](crate::SessionBuilder::credentials) it gives the user name and password of CONNECT; the
/// methods of this module take one, too. It has the time of one attempt; an error fails the attempt, which is retried like a
/// connection that failed.
///
/// ```
/// use mqttx::auth::{Attempt, AuthFuture, Credentials, CredentialsProvider};
///
/// struct Vault;
///
/// impl CredentialsProvider for Vault {
///     fn credentials<'a>(&'a self, attempt: &'a Attempt) -> AuthFuture<'a, Credentials> {
///         Box::pin(async move { Ok(Credentials::new(attempt.client_id.as_str(), "fetched now")) })
///     }
/// }
///
/// let options = mqttx::SessionOptions::quick_connect("s", "localhost").credentials(Vault).build()?;
/// # Ok::<(), mqttx::ConfigErrors>(())
/// ```
pub trait CredentialsProvider: Send + Sync {
    /// The credentials for this attempt.
    fn credentials<'a>(&'a self, attempt: &'a Attempt) -> AuthFuture<'a, Credentials>;
}

/// Who the session is, and what proves it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Credentials {
    /// The user name.
    pub username: Option<String>,
    /// The password, or the token.
    pub password: Option<Secret>,
    /// How long they are valid from now on; `None`: for ever. With enhanced authentication the session authenticates again after
    /// four fifths of this time.
    pub valid_for: Option<Duration>,
}

impl Credentials {
    /// A user and a password.
    #[must_use]
    pub fn new(username: impl Into<String>, password: impl Into<Secret>) -> Self {
        let (username, password) = (Some(username.into()), Some(password.into()));
        Self { username, password, valid_for: None }
    }

    /// A token alone, as for [`OauthBearer`](super::OauthBearer).
    #[must_use]
    pub fn token(token: impl Into<Secret>) -> Self {
        Self { password: Some(token.into()), ..Self::default() }
    }

    /// Sets how long they are valid from now on.
    #[must_use]
    pub fn valid_for(mut self, time: Duration) -> Self {
        self.valid_for = Some(time);
        self
    }
}

impl CredentialsProvider for Credentials {
    fn credentials<'a>(&'a self, _: &'a Attempt) -> AuthFuture<'a, Credentials> {
        Box::pin(async { Ok(self.clone()) })
    }
}

impl<T: CredentialsProvider + ?Sized> CredentialsProvider for Arc<T> {
    fn credentials<'a>(&'a self, attempt: &'a Attempt) -> AuthFuture<'a, Credentials> {
        (**self).credentials(attempt)
    }
}

/// A password or token in a file, which is read at every attempt; one newline at its end is not part of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileCredentials {
    username: Option<String>,
    path: PathBuf,
}

impl FileCredentials {
    /// The largest file that is read, in bytes.
    pub const MAX_SIZE: u64 = 65_535 + 2;

    /// The password of `username`, or with `None` a token.
    #[must_use]
    pub fn new(username: Option<String>, path: impl Into<PathBuf>) -> Self {
        Self { username, path: path.into() }
    }
}

impl CredentialsProvider for FileCredentials {
    fn credentials<'a>(&'a self, _: &'a Attempt) -> AuthFuture<'a, Credentials> {
        Box::pin(async move {
            let path = self.path.clone();
            // Reading may block, on a network file system for a long time.
            let read = tokio::task::spawn_blocking(move || read_secret(&path)).await;
            let password =
                read.map_err(|_| Error::authentication("reading a file was given up"))??;
            Ok(Credentials {
                username: self.username.clone(),
                password: Some(password),
                valid_for: None,
            })
        })
    }
}

/// A secret from a file.
///
/// # Errors
/// The file cannot be read, or is larger than any password.
pub(crate) fn read_secret(path: &Path) -> Result<Secret, Error> {
    let mut bytes = read_bounded(path).map_err(|error| {
        let text = format!("the file with the password or token cannot be read: {error}");
        Error::authentication(text).with_context("file", path.display()).with_source(error)
    })?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(bytes.into())
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FileCredentials::MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FileCredentials::MAX_SIZE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it has more than 65535 bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_loses_one_newline_and_has_a_bound() {
        let directory = mqttx_test::TempDir::new("credentials");
        let path = directory.path().join("secret");
        let read = |content: &[u8]| {
            std::fs::write(&path, content).expect("a file");
            read_secret(&path).map(|secret| secret.expose().to_vec())
        };
        for (content, expected) in
            [("geheim\n\n", "geheim\n"), ("geheim\r\n", "geheim"), ("\n", ""), ("", "")]
        {
            assert_eq!(read(content.as_bytes()).expect("readable"), expected.as_bytes());
        }
        assert_eq!(read(&[b'x'; 65_535]).expect("readable").len(), 65_535);
        let error = read(&[b'x'; 65_538]).expect_err("too long");
        assert!(error.to_string().contains("65535"), "{error}");
    }
}
