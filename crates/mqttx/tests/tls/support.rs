//! What the claims share.

use std::time::Duration;

use mqttx::{
    Backoff, Error, Event, EventKind, EventName, EventStream, Session, SessionBuilder,
    SessionManager, SessionOptions, SessionStatus, TlsOptions,
};
use mqttx_test::{Identity, Pki, ScriptedBroker, TempDir, TlsFront};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const CONNACK: &str = "20 { 00 00 00 }";

/// An authority, a server of it, and what is behind the server's TLS.
pub(crate) struct Site {
    pub(crate) pki: Pki,
    pub(crate) broker: ScriptedBroker,
    pub(crate) directory: TempDir,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self {
            pki: Pki::new("plant authority"),
            broker: ScriptedBroker::start().await,
            directory: TempDir::new("tls"),
        }
    }

    /// A server with the certificate that it should have.
    pub(crate) async fn front(&self) -> TlsFront {
        self.front_with(&self.server()).await
    }

    pub(crate) async fn front_with(&self, identity: &Identity) -> TlsFront {
        TlsFront::builder(identity).start(self.broker.address()).await
    }

    /// One that wants a certificate of the same authority.
    pub(crate) async fn front_that_asks(&self) -> TlsFront {
        let builder = TlsFront::builder(&self.server()).clients_of(&self.pki);
        builder.start(self.broker.address()).await
    }

    pub(crate) fn server(&self) -> Identity {
        self.pki.server(&["127.0.0.1", "localhost"])
    }

    /// Trusts the authority.
    pub(crate) fn trust(&self) -> TlsOptions {
        TlsOptions::new().ca(self.pki.ca().into_bytes())
    }

    /// Writes a file, and returns its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> std::path::PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }
}

pub(crate) fn options(url: &str, tls: TlsOptions) -> SessionBuilder {
    let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(200));
    SessionOptions::quick_connect("s", url).tls(tls).reconnect(backoff)
}

pub(crate) fn start(options: SessionBuilder) -> (SessionManager, Session) {
    let manager = SessionManager::new();
    let session = manager.add_session(options.build().expect("valid")).expect("a session");
    (manager, session)
}

/// Why the session gives up.
pub(crate) async fn refusal(options: SessionBuilder) -> Error {
    let (_manager, session) = start(options);
    let error = session.wait_ready(PATIENCE).await.expect_err("no connection");
    assert_eq!(session.status(), SessionStatus::Failed, "it does not give up: {error}");
    session.last_error().expect("the reason")
}

/// Checks the one line that tells of it, and its code.
#[track_caller]
pub(crate) fn assert_told(error: &Error, code: &str, parts: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.code(), code, "{text}");
    assert!(!text.contains('\n'), "{text}");
    for part in parts {
        assert!(text.contains(part), "'{part}' is missing: {text}");
    }
}

/// The next event of that name.
pub(crate) async fn event(events: &mut EventStream, name: EventName) -> std::sync::Arc<Event> {
    let found = async {
        loop {
            let event = events.next().await.expect("the manager is there");
            if event.name() == name {
                return event;
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.unwrap_or_else(|_| panic!("no event {name}"))
}

pub(crate) fn broken(event: &Event) -> String {
    match &event.kind {
        EventKind::TlsReloadFailed { error } => error.to_string(),
        other => panic!("{other:?}"),
    }
}
