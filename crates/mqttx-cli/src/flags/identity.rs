//! Who the command is: user, password or token, and the way to prove it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use mqttx::auth::{AuthMethod, Credentials, CredentialsProvider, FileCredentials};
use mqttx::proto::Version;
use mqttx::{Endpoint, Secret, SessionBuilder};

use super::ConnectionFlags;
use super::connection::check_length;
use crate::exit::Failure;

/// Enhanced authentication.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub(super) struct AuthFlags {
    /// Prove user and password of -u and -P with this method: SCRAM-SHA-256, SCRAM-SHA-512, PLAIN, or the token of --token-file
    /// with OAUTHBEARER (MQTT 5)
    ///
    /// User and password are not part of CONNECT then. SCRAM does not send the password at all, and has the server prove that it
    /// knows it, too; PLAIN and OAUTHBEARER are readable for everybody on the way unless the connection is encrypted.
    #[arg(long, value_name = "NAME")]
    auth_method: Option<AuthMethod>,

    /// File with the token for --auth-method OAUTHBEARER, read at every attempt to connect
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl AuthFlags {
    pub(super) fn is_given(&self) -> bool {
        self.auth_method.is_some()
    }
}

/// Who the command is; checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    username: Option<String>,
    secret: Option<Source>,
    method: Option<AuthMethod>,
}

/// A password or token.
#[derive(Clone, Debug)]
enum Source {
    Given(Secret),
    /// Read at every attempt.
    File(PathBuf),
}

impl Identity {
    /// Puts the flags together.
    ///
    /// # Errors
    /// Usage errors for what does not go together, a runtime error for a file that cannot be read.
    pub(super) fn resolve(flags: &ConnectionFlags) -> Result<Self, Failure> {
        let (url_name, url_password) = of_urls(&flags.url)?;
        let username = flags.username.clone().or(url_name);
        let method = flags.auth.auth_method;
        if let Some(method) = method {
            check_method(method, flags)?;
        } else if flags.auth.token_file.is_some() {
            return Err(Failure::usage("--token-file needs --auth-method OAUTHBEARER"));
        }
        let secret = match (&flags.password, &flags.password_file, &flags.auth.token_file) {
            (.., Some(path)) => Some(Source::read("token file", path)?),
            (Some(password), ..) => Some(Source::Given(password.clone())),
            (None, Some(path), _) => Some(Source::read("password file", path)?),
            (None, None, None) => {
                let password = url_password.filter(|_| !takes_token(method));
                password.map(Source::Given)
            }
        };
        if secret.is_some() && username.is_none() && flags.protocol_version == Version::V311 {
            return Err(Failure::usage("a password without a user needs MQTT 5: give -u"));
        }
        check_length("-u", username.as_ref().map_or(0, String::len))?;
        if let Some(Source::Given(password)) = &secret {
            check_length("the password", password.expose().len())?;
        }
        if let Some(method) = method.filter(|method| !method.takes_token())
            && (username.is_none() || secret.is_none())
        {
            return Err(Failure::usage(format_args!(
                "--auth-method {method} needs a user and a password: give -u and -P"
            )));
        }
        Ok(Self { username, secret, method })
    }

    /// Tells the session.
    pub(crate) fn apply(&self, mut builder: SessionBuilder) -> SessionBuilder {
        if let Some(method) = self.method {
            let username = self.username.clone();
            let provider: Arc<dyn CredentialsProvider> = match &self.secret {
                Some(Source::File(path)) => Arc::new(FileCredentials::new(username, path)),
                Some(Source::Given(secret)) => {
                    Arc::new(Credentials::new(username.unwrap_or_default(), secret.clone()))
                }
                None => Arc::new(Credentials::default()),
            };
            return builder.authenticator(method.authenticator(provider));
        }
        if let Some(username) = &self.username {
            builder = builder.username(username);
        }
        match &self.secret {
            Some(Source::Given(secret)) => builder.password(secret.clone()),
            Some(Source::File(path)) => builder.password_file(path),
            None => builder,
        }
    }
}

impl Source {
    /// What is no file but a pipe, as a shell's `<(…)`, can be read only once: it is kept.
    fn read(what: &str, path: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::runtime(format_args!("{what} {}: {error}", path.display()));
        let mut bytes = std::fs::read(path).map_err(failed)?;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        check_length(&format!("the {what}"), bytes.len())?;
        let is_file = std::fs::metadata(path).map_err(failed)?.is_file();
        Ok(if is_file { Self::File(path.to_owned()) } else { Self::Given(bytes.into()) })
    }
}

fn takes_token(method: Option<AuthMethod>) -> bool {
    method.is_some_and(AuthMethod::takes_token)
}

fn check_method(method: AuthMethod, flags: &ConnectionFlags) -> Result<(), Failure> {
    if flags.protocol_version != Version::V5 {
        return Err(Failure::usage("--auth-method needs MQTT 5"));
    }
    let has_password = flags.password.is_some() || flags.password_file.is_some();
    match (method.takes_token(), flags.auth.token_file.is_some()) {
        (true, false) => {
            Err(Failure::usage(format_args!("--auth-method {method} needs --token-file")))
        }
        (true, true) if has_password => Err(Failure::usage(format_args!(
            "--auth-method {method} takes the token of --token-file, no password"
        ))),
        (false, true) => Err(Failure::usage(format_args!(
            "--token-file is for OAUTHBEARER: --auth-method {method} takes a password"
        ))),
        _ => Ok(()),
    }
}

/// User and password of the URLs, which must agree.
fn of_urls(urls: &[Endpoint]) -> Result<(Option<String>, Option<Secret>), Failure> {
    let of_url = |url: &Endpoint| {
        let name = url.username().filter(|name| !name.is_empty()).map(str::to_owned);
        let password = url.password().cloned();
        Some((name, password)).filter(|(name, password)| name.is_some() || password.is_some())
    };
    let mut found = urls.iter().filter_map(of_url);
    let first = found.next().unwrap_or_default();
    if found.any(|other| other != first) {
        return Err(Failure::usage("the URLs name different users: give -u and -P"));
    }
    Ok(first)
}
