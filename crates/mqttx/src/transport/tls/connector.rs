//! What sessions with the same options share.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::pki_types::ServerName;

use super::config::{Loaded, load};
use super::expiry::{End, validity};
use super::fault::told_of_handshake;
use super::stream::TlsStream;
use crate::error::{ConfigErrors, Error};
use crate::event::{EventBus, EventKind};
use crate::options::{TlsOptions, TlsSource};
use crate::transport::error::Fault;
use crate::transport::{ByteStream, ConnectError, Endpoint};

/// The certificates of sessions with the same options, and the tickets by which their servers know them again.
pub(crate) struct Connector {
    options: TlsOptions,
    events: Arc<EventBus>,
    state: Mutex<State>,
}

struct State {
    loaded: Loaded,
    /// The end of our certificate.
    own: Option<End>,
    /// The ends of those that the servers showed, by address.
    servers: BTreeMap<String, End>,
    /// The content of the files that could not be used, so that this is told once.
    broken: Option<u64>,
}

/// Servers whose certificates are watched; beyond them those that come first in their order stay.
const SERVERS: usize = 256;

impl Connector {
    /// Reads the files.
    ///
    /// # Errors
    /// What cannot be used.
    pub(super) fn new(options: TlsOptions, events: Arc<EventBus>) -> Result<Self, ConfigErrors> {
        let loaded = load(&options).map_err(errors)?;
        let own = loaded.not_after.map(End::new);
        let state = State { loaded, own, servers: BTreeMap::new(), broken: None };
        let connector = Self { options, events, state: Mutex::new(state) };
        connector.tell_of_ends(SystemTime::now());
        Ok(connector)
    }

    pub(super) fn options(&self) -> &TlsOptions {
        &self.options
    }

    /// The handshake over `stream`.
    ///
    /// # Errors
    /// It failed, or the server is not the one.
    pub(crate) async fn connect<S: ByteStream>(
        self: &Arc<Self>,
        stream: S,
        endpoint: &Endpoint,
    ) -> Result<TlsStream<S>, ConnectError> {
        let name = self.options.sni.as_deref().unwrap_or_else(|| endpoint.host());
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            Fault::config(format!(
                "'{name}' is no name that a certificate can have: give one with sni"
            ))
        })?;
        let config = Arc::clone(&self.state().loaded.config);
        let connecting = tokio_rustls::TlsConnector::from(config).connect(name, stream);
        match connecting.await {
            Ok(stream) => {
                self.on_connected(endpoint, stream.get_ref().1);
                Ok(TlsStream::new(stream, Arc::clone(self)))
            }
            Err(error) => Err(told_of_handshake(error, &self.options).into()),
        }
    }

    fn on_connected(&self, endpoint: &Endpoint, connection: &rustls::ClientConnection) {
        let leaf = connection.peer_certificates().and_then(|chain| chain.first());
        let Some(validity) = leaf.and_then(|leaf| validity(leaf)) else { return };
        let server = address(endpoint);
        let mut state = self.state();
        let known = state.servers.get(&server).map(|end| end.not_after);
        if known == Some(validity.not_after) {
            return;
        }
        state.servers.insert(server, End::new(validity.not_after));
        if state.servers.len() > SERVERS {
            state.servers.pop_last();
        }
        drop(state);
        self.tell_of_ends(SystemTime::now());
    }

    /// Until when our certificate is valid; `None` when there is none.
    pub(crate) fn client_not_after(&self) -> Option<SystemTime> {
        self.state().own.map(|end| end.not_after)
    }

    /// Until when the certificate is valid that the server showed last.
    pub(crate) fn server_not_after(&self, endpoint: &Endpoint) -> Option<SystemTime> {
        self.state().servers.get(&address(endpoint)).map(|end| end.not_after)
    }

    /// Takes the files as they are now; new connections use them. `Ok(false)`: nothing has changed.
    ///
    /// # Errors
    /// They cannot be used: what was there before stays. The same broken files are told once.
    pub(super) fn reload(&self) -> Result<bool, Error> {
        let loaded = match load(&self.options) {
            Ok(loaded) => loaded,
            Err(problems) => return Err(self.on_broken(problems)),
        };
        let mut state = self.state();
        state.broken = None;
        if loaded.fingerprint == state.loaded.fingerprint {
            return Ok(false);
        }
        state.own = loaded.not_after.map(End::new);
        state.loaded = loaded;
        drop(state);
        tracing::info!(files = ?self.files(), "certificates reloaded");
        self.events.emit(None, EventKind::TlsReloaded { files: self.files() });
        self.tell_of_ends(SystemTime::now());
        Ok(true)
    }

    fn on_broken(&self, problems: Vec<crate::error::ConfigProblem>) -> Error {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let error = Error::from(errors(problems));
        let mut hasher = DefaultHasher::new();
        error.message().hash(&mut hasher);
        let broken = Some(hasher.finish());
        if std::mem::replace(&mut self.state().broken, broken) != broken {
            tracing::warn!(%error, "changed certificates cannot be used: those of before stay");
            self.events.emit(None, EventKind::TlsReloadFailed { error: error.clone() });
        }
        error
    }

    /// The files that are read.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let options = &self.options;
        let sources = [&options.ca, &options.cert, &options.key, &options.p12];
        let files = sources.into_iter().flatten().filter_map(|source| match source {
            TlsSource::File(path) => Some(path.clone()),
            TlsSource::Bytes(_) => None,
        });
        files.chain(options.ca_dir.clone()).chain(options.key_password_file.clone()).collect()
    }

    /// Tells of certificates that end soon; returns how long until the next has to be told.
    pub(super) fn tell_of_ends(&self, now: SystemTime) -> Option<Duration> {
        let warnings = &self.options.expiry_warnings;
        let mut state = self.state();
        let State { own, servers, .. } = &mut *state;
        let own = own.iter_mut().map(|end| (self.own_name(), end));
        let servers = servers.iter_mut().map(|(s, end)| (format!("the certificate of {s}"), end));
        let mut told = Vec::new();
        let mut next = None;
        for (certificate, end) in own.chain(servers) {
            if let Some(left) = end.due(now, warnings) {
                told.push((certificate, end.not_after, left));
            }
            next = next.into_iter().chain(end.next(now, warnings)).min();
        }
        drop(state);
        for (certificate, not_after, remaining) in told {
            let hours = remaining.as_secs() / 3600;
            tracing::warn!(certificate, hours, "a certificate ends");
            let kind = EventKind::CertificateExpires { certificate, not_after, remaining };
            self.events.emit(None, kind);
        }
        next
    }

    fn own_name(&self) -> String {
        let source = self.options.cert.as_ref().or(self.options.p12.as_ref());
        source.map_or_else(String::new, |source| format!("our certificate {source}"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("options", &self.options).finish_non_exhaustive()
    }
}

fn errors(problems: Vec<crate::error::ConfigProblem>) -> ConfigErrors {
    // There is a problem, or there would be no error.
    ConfigErrors::from_problems(problems).unwrap_or_default()
}

fn address(endpoint: &Endpoint) -> String {
    format!("{}:{}", endpoint.host(), endpoint.port())
}
