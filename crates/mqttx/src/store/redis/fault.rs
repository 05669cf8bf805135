//! What an error of Redis means for what was under way.

use ::redis::{ErrorKind, RedisError, ServerError, ServerErrorKind};

use super::address::Host;
use crate::error::Error;

/// What became of a command.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// This server cannot be used now: connect again, to another one maybe, and repeat.
    Away(Error),
    /// The server has no memory left.
    Full,
    /// The server has forgotten the scripts.
    NoScript,
    /// The session is on another node of the cluster: on this one.
    Moved(Option<Host>),
    /// It may work in a moment.
    Again(Error),
    /// It will not work, now or later.
    Final(Error),
}

impl Fault {
    /// Of a whole connection.
    pub(super) fn of_connection(error: &RedisError, host: &Host) -> Self {
        match error.kind() {
            ErrorKind::AuthenticationFailed => {
                Self::Final(credentials("wrong user or password", host))
            }
            ErrorKind::Server(_) | ErrorKind::Extension => Self::of_text(
                error.code().unwrap_or_default(),
                error.detail().unwrap_or_default(),
                host,
            ),
            ErrorKind::InvalidClientConfig => Self::Final(
                Error::config(format!("Redis at {host} cannot be used: {error}"))
                    .with_source(error.clone()),
            ),
            _ => Self::Away(away(&error.to_string(), host).with_source(error.clone())),
        }
    }

    /// Of one command.
    pub(super) fn of_reply(error: &ServerError, host: &Host) -> Self {
        let detail = error.details().unwrap_or_default();
        match error.kind() {
            Some(ServerErrorKind::NoScript) => Self::NoScript,
            Some(ServerErrorKind::Moved) => Self::Moved(redirection(detail)),
            // The slot moves from node to node, and a session is moved key by key. None can work with it until all are there.
            Some(ServerErrorKind::Ask | ServerErrorKind::TryAgain) => {
                Self::Again(away("the session moves to another node", host))
            }
            _ => Self::of_text(error.code(), detail, host),
        }
    }

    /// Scripts of older servers wrap the error of a command in one of their own: the text says what it was.
    fn of_text(code: &str, detail: &str, host: &Host) -> Self {
        let says = |what: &str| code.starts_with(what) || detail.contains(what);
        if code == "OOM" || detail.contains("OOM command") {
            return Self::Full;
        }
        if says("NOSCRIPT") {
            return Self::NoScript;
        }
        if ["NOAUTH", "WRONGPASS", "NOPERM", "ACL failure", "The user executing the script"]
            .into_iter()
            .any(says)
        {
            return Self::Final(credentials(&format!("{code} {detail}"), host));
        }
        let temporary = [
            "READONLY",
            "LOADING",
            "MASTERDOWN",
            "CLUSTERDOWN",
            "MISCONF",
            "NOREPLICAS",
            "BUSY",
            "UNKILLABLE",
            "max number of clients",
            "can't write against a read only",
        ];
        if temporary.into_iter().any(says) {
            return Self::Away(away(&format!("{code} {detail}"), host));
        }
        Self::Final(Error::store(format!(
            "Redis at {host} refuses what the store needs: {code} {detail}"
        )))
    }
}

fn redirection(detail: &str) -> Option<Host> {
    let (name, port) = detail.split_whitespace().nth(1)?.rsplit_once(':')?;
    Some(Host { name: name.to_owned(), port: port.parse().ok()? })
}

/// Redis cannot be reached, or does not take writes now.
pub(super) fn away(what: &str, host: &Host) -> Error {
    Error::store(format!("Redis at {host} cannot be used now: {what}"))
        .with_code("store.unavailable")
        .with_temporary(true)
}

pub(super) fn credentials(what: &str, host: &Host) -> Error {
    Error::store(format!(
        "Redis at {host} refuses the credentials of the store: {}; check user, password and permissions",
        what.trim()
    ))
    .with_code("store.credentials")
}

/// What Redis had confirmed is not there any more.
pub(super) fn lost(session: &str, what: &str) -> Error {
    Error::store(format!(
        "Redis has lost what it had confirmed: {what}; the session stops here rather than go on with a hole: open it again \
         to go on with what is left, and see the documentation of the store about appendfsync and replicas"
    ))
    .with_code("store.lost")
    .with_session(session)
}
