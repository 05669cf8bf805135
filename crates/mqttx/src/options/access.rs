//! Who the session is: checks, and what is made of the options for connections.

use std::path::PathBuf;
use std::sync::Arc;

use mqttx_proto::Version;

use super::asked::is_same_object;
use super::check::{MAX_FIELD, Problems};
use super::{Secret, SessionOptions};
use crate::auth::{
    AuthMethod, AuthOptions, Authenticator, CredentialsProvider, FileCredentials, read_secret,
};
use crate::error::Error;

/// Who is asked at every attempt.
#[derive(Clone, Default)]
pub(crate) struct Access {
    pub(crate) credentials: Option<Arc<dyn CredentialsProvider>>,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
}

/// What a session has of its own of user, password and method.
#[derive(Default)]
pub(super) struct Identity {
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) access: Access,
    /// As they were asked for, where something else was made of them.
    pub(super) asked: Option<Box<AskedIdentity>>,
}

/// The options as they were.
pub(super) struct AskedIdentity {
    username: Option<String>,
    password: Option<Secret>,
    password_file: Option<PathBuf>,
    auth: Option<AuthOptions>,
    credentials: Option<Arc<dyn CredentialsProvider>>,
    authenticator: Option<Arc<dyn Authenticator>>,
}

impl Identity {
    pub(super) fn is_blank(&self) -> bool {
        self.username.is_none() && self.password.is_none() && self.asked.is_none()
    }

    /// Takes it out of checked options.
    ///
    /// # Errors
    /// A file that cannot be read now will hardly be readable later.
    pub(super) fn take(options: &mut SessionOptions) -> Result<Self, Error> {
        let files = options.auth.iter().flat_map(|auth| [&auth.password_file, &auth.token_file]);
        for path in files.chain([&options.password_file]).flatten() {
            read_secret(path)?;
        }
        let asked = AskedIdentity {
            username: options.username.take(),
            password: options.password.take(),
            password_file: options.password_file.take(),
            auth: options.auth.take(),
            credentials: options.credentials.take(),
            authenticator: options.authenticator.take(),
        };
        let (username, password) = (asked.username.clone(), asked.password.clone());
        if asked.is_simple() {
            return Ok(Self { username, password, ..Self::default() });
        }
        let mut made = Self { username, password, ..Self::default() };
        made.access.credentials.clone_from(&asked.credentials);
        made.access.authenticator.clone_from(&asked.authenticator);
        let mut file = asked.password_file.clone();
        if let Some(mut auth) = asked.auth.clone() {
            if auth.takes_from_session() {
                // What the method proves does not go out in the open as well.
                auth.username = made.username.take();
                auth.password = made.password.take();
                auth.password_file = file.take();
            }
            if auth.method.is_some() {
                made.access.authenticator = auth.authenticator();
            } else {
                (made.username, made.password) = (auth.username, auth.password);
                file = auth.password_file;
            }
        }
        if let Some(path) = file {
            made.access.credentials = Some(Arc::new(FileCredentials::new(None, path)));
        }
        made.asked = Some(Box::new(asked));
        Ok(made)
    }

    /// Puts back what was taken.
    pub(super) fn put(&self, options: &mut SessionOptions) {
        match &self.asked {
            None => {
                options.username.clone_from(&self.username);
                options.password.clone_from(&self.password);
            }
            Some(asked) => {
                options.username.clone_from(&asked.username);
                options.password.clone_from(&asked.password);
                options.password_file.clone_from(&asked.password_file);
                options.auth.clone_from(&asked.auth);
                options.credentials.clone_from(&asked.credentials);
                options.authenticator.clone_from(&asked.authenticator);
            }
        }
    }
}

/// Equal ones were asked for the same; who is asked at every attempt is the same if it is the same object.
impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        match (&self.asked, &other.asked) {
            (None, None) => self.username == other.username && self.password == other.password,
            (Some(asked), Some(other)) => asked.is_same(other),
            _ => false,
        }
    }
}

impl AskedIdentity {
    fn is_same(&self, other: &Self) -> bool {
        // Every field is named, so that a new one is not forgotten.
        let Self { username, password, password_file, auth, credentials, authenticator } = self;
        *username == other.username
            && *password == other.password
            && *password_file == other.password_file
            && *auth == other.auth
            && is_same_object(credentials.as_ref(), other.credentials.as_ref())
            && is_same_object(authenticator.as_ref(), other.authenticator.as_ref())
    }

    /// Whether user and password are all there is.
    fn is_simple(&self) -> bool {
        self.password_file.is_none()
            && self.auth.is_none()
            && self.credentials.is_none()
            && self.authenticator.is_none()
    }
}

impl SessionOptions {
    /// The ways to say who the session is, and which of them go together.
    pub(super) fn check_auth(&self, found: &mut Problems) {
        let has_password = self.password.is_some() || self.password_file.is_some();
        if self.credentials.is_some() && has_password {
            let text = "credentials are asked for, too: only one of them is allowed";
            found.add("password", "***", text);
        }
        if let Some(authenticator) = &self.authenticator {
            found.text("authenticator", authenticator.method());
            if self.auth.as_ref().is_some_and(|auth| auth.method.is_some()) {
                found.add("auth.method", "set", "there is an authenticator, too: give only one");
            }
        }
        let has_method = self.authenticator.is_some() || self.auth_method().is_some();
        let given = self.connect_properties.as_ref().authentication_method();
        if let Some(method) = given.filter(|_| has_method) {
            let text = "the method is set as an option, too: give only one";
            found.add("connect_properties.authentication-method", method, text);
        }
        if let Some(auth) = &self.auth {
            self.check_auth_options(auth, found);
        }
    }

    fn auth_method(&self) -> Option<AuthMethod> {
        self.auth.as_ref()?.method
    }

    fn check_auth_options(&self, auth: &AuthOptions, found: &mut Problems) {
        if let Some(username) = &auth.username {
            found.text("auth.username", username);
        }
        for (name, secret) in [("auth.password", &auth.password), ("auth.token", &auth.token)] {
            if secret.as_ref().is_some_and(|secret| secret.expose().len() > MAX_FIELD) {
                found.add(name, "***", "at most 65535 bytes are allowed");
            }
        }
        let files =
            [("auth.password_file", &auth.password_file), ("auth.token_file", &auth.token_file)];
        for (name, path) in files {
            if let Some(path) = path
                && let Err(error) = std::fs::File::open(path)
            {
                found.add(name, &path.display().to_string(), error);
            }
        }
        let has = [
            ("auth.password", auth.password.is_some(), false),
            ("auth.password_file", auth.password_file.is_some(), false),
            ("auth.token", auth.token.is_some(), true),
            ("auth.token_file", auth.token_file.is_some(), true),
        ];
        let mut given = has.iter().filter(|(_, is_set, _)| *is_set);
        if let (Some((first, ..)), Some((second, ..))) = (given.next(), given.next()) {
            found.add(second, "set", format!("{first} is set, too: only one of them is allowed"));
        }
        let takes_token = auth.method.is_some_and(AuthMethod::takes_token);
        for (name, is_set, is_token) in has {
            if is_set && is_token != takes_token {
                let text = match auth.method {
                    None => "a token needs auth.method = \"OAUTHBEARER\"".to_owned(),
                    Some(method) if is_token => format!("{method} takes a password, no token"),
                    Some(method) => format!("{method} takes a token, no password"),
                };
                found.add(name, "set", text);
            }
        }
        let own = !auth.takes_from_session();
        let session = self.password.is_some() || self.password_file.is_some();
        match auth.method {
            Some(method) if method.takes_token() => {
                if auth.token.is_none() && auth.token_file.is_none() {
                    let text = "OAUTHBEARER needs auth.token or auth.token_file";
                    found.add("auth.method", method.name(), text);
                }
            }
            Some(method) => {
                let has_password = auth.password.is_some() || auth.password_file.is_some();
                let complete = if own {
                    auth.username.is_some() && has_password
                } else {
                    self.username.is_some() && session
                };
                if !complete {
                    let text = format!("{method} needs a username and a password");
                    found.add("auth.method", method.name(), text);
                }
            }
            None => {
                if own && (self.username.is_some() || session) {
                    let text = "the session has a username or password, too: give only one";
                    found.add("auth", "set", text);
                }
                let has_password = auth.password.is_some() || auth.password_file.is_some();
                if has_password && auth.username.is_none() && self.protocol == Version::V311 {
                    let text = "MQTT 3.1.1 needs a username with a password";
                    found.add("auth.password", "***", text);
                }
            }
        }
    }
}
