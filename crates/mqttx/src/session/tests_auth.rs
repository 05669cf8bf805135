//! Authentication in stopped time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use crate::auth::{
    Attempt, AuthFuture, Authenticator, Credentials, CredentialsProvider, Exchange, OauthBearer,
};
use crate::options::{Backoff, Jitter, SessionBuilder, SessionOptions};
use crate::transport::mem::{Listener, Peer};
use crate::{Error, EventKind, ManagerBuilder, SessionManager};

const METHOD: &str = "15 <OAUTHBEARER>";
const HOUR: Duration = Duration::from_secs(3600);

/// Tokens that are valid for this long; every second one of those on a connection cannot be had.
#[derive(Clone)]
struct Tokens {
    valid_for: Duration,
    /// When they were asked for, and whether they could be had.
    asked: Arc<Mutex<Vec<(Instant, bool)>>>,
    closed: Arc<Mutex<bool>>,
}

impl Tokens {
    fn new(valid_for: Duration) -> Self {
        Self { valid_for, asked: Arc::default(), closed: Arc::default() }
    }

    /// Seconds between the questions.
    fn pauses(&self) -> Vec<u64> {
        let asked = self.asked.lock().expect("free");
        asked.windows(2).map(|two| (two[1].0 - two[0].0).as_secs()).collect()
    }
}

impl CredentialsProvider for Tokens {
    fn credentials<'a>(&'a self, _: &'a Attempt) -> AuthFuture<'a, Credentials> {
        Box::pin(async {
            let closed = *self.closed.lock().expect("free");
            self.asked.lock().expect("free").push((Instant::now(), !closed));
            if closed {
                return Err(Error::authentication("the vault is closed"));
            }
            Ok(Credentials::token("t").valid_for(self.valid_for))
        })
    }
}

fn options() -> SessionBuilder {
    let backoff = Backoff::default().jitter(Jitter::None);
    SessionOptions::quick_connect("s", "mem").receive_maximum(None).reconnect(backoff)
}

async fn connected(builder: SessionBuilder) -> (SessionManager, Session, Listener, Peer) {
    let mut listener = Listener::bind("mem");
    let manager = ManagerBuilder::default().connect_rate(0).build();
    // Pings are not what this is about.
    let options = builder.keep_alive(Duration::ZERO).build().expect("valid");
    let session = manager.add_session(options).expect("a session");
    let peer = listener.accept_and_answer("20 { 00 00 {} }").await;
    session.wait_ready(HOUR).await.expect("ready");
    (manager, session, listener, peer)
}

async fn accept_renewal(peer: &mut Peer) {
    let auth = peer.recv().await;
    assert_eq!((auth[0], auth[2]), (0xf0, 0x19), "{auth:02x?}");
    peer.send(&format!("f0 {{ 00 {{ {METHOD} }} }}")).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_after_four_fifths_of_its_time() {
    let tokens = Tokens::new(Duration::from_secs(1000));
    let builder = options().authenticator(OauthBearer::new(tokens.clone()));
    let (manager, _session, _listener, mut peer) = connected(builder).await;
    let mut events = manager.events();
    for _ in 0..3 {
        accept_renewal(&mut peer).await;
        while !matches!(
            events.next().await.expect("an event").kind,
            EventKind::SessionReauthenticated
        ) {}
    }
    assert_eq!(tokens.pauses(), [800, 800, 800]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_hardly_valid_does_not_keep_the_session_busy() {
    let tokens = Tokens::new(Duration::ZERO);
    let builder = options().authenticator(OauthBearer::new(tokens.clone()));
    let (_manager, _session, _listener, mut peer) = connected(builder).await;
    for _ in 0..3 {
        accept_renewal(&mut peer).await;
    }
    assert_eq!(tokens.pauses(), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_is_closed_costs_neither_the_connection_nor_a_busy_loop() {
    let tokens = Tokens::new(Duration::from_secs(1000));
    let builder = options().authenticator(OauthBearer::new(tokens.clone()));
    let (manager, session, _listener, mut peer) = connected(builder).await;
    let mut events = manager.events();
    *tokens.closed.lock().expect("free") = true;
    for _ in 0..9 {
        while !matches!(
            &events.next().await.expect("an event").kind,
            EventKind::SessionReauthenticationFailed { error } if error.is_temporary()
        ) {}
    }
    assert_eq!(tokens.pauses(), [800, 1, 2, 4, 8, 16, 32, 60, 60]);
    assert!(session.is_connected());
    assert_eq!(session.metrics().errors, 9);
    *tokens.closed.lock().expect("free") = false;
    accept_renewal(&mut peer).await;
    accept_renewal(&mut peer).await;
    assert_eq!(tokens.pauses()[9..], [60, 800], "all is forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_finish_a_renewal_is_left_after_the_timeout() {
    let tokens = Tokens::new(HOUR);
    let builder = options().authenticator(OauthBearer::new(tokens));
    let builder = builder.connect_timeout(Duration::from_secs(5));
    let (_manager, session, _listener, mut peer) = connected(builder).await;
    let start = Instant::now();
    let again = tokio::spawn({
        let session = session.clone();
        async move { session.reauthenticate().await }
    });
    assert_eq!(peer.recv().await[2], 0x19);
    // One more is wanted meanwhile, and never begun.
    let more = tokio::spawn({
        let session = session.clone();
        async move { session.reauthenticate().await }
    });
    assert_eq!(peer.recv().await, [0xe0, 1, 0x80]);
    assert_eq!(start.elapsed().as_secs(), 5);
    drop(peer);
    let error = again.await.expect("no panic").expect_err("too late");
    assert!(error.is_timeout(), "{error}");
    more.await.expect("no panic").expect_err("nobody waits for ever");
}

/// Never says anything.
struct Silent;

impl Authenticator for Silent {
    fn method(&self) -> &str {
        "SILENT"
    }

    fn begin(&self, _: &Attempt) -> Box<dyn Exchange> {
        Box::new(Self)
    }
}

impl Exchange for Silent {
    fn initial(&mut self) -> AuthFuture<'_, Option<Vec<u8>>> {
        Box::pin(async { Ok(None) })
    }

    fn respond<'a>(&'a mut self, _: &'a [u8]) -> AuthFuture<'a, Option<Vec<u8>>> {
        Box::pin(std::future::pending())
    }

    fn finish<'a>(&'a mut self, _: Option<&'a [u8]>) -> AuthFuture<'a, ()> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn the_handshake_has_its_time_whoever_is_silent() {
    for said in ["f0 { 18 { 15 <SILENT> } }", "20 { 00 00 { 15 <SILENT> } }", ""] {
        let mut listener = Listener::bind("mem");
        let manager = ManagerBuilder::default().connect_rate(0).build();
        let builder = options().authenticator(Silent).connect_timeout(Duration::from_secs(5));
        let session = manager.add_session(builder.build().expect("valid")).expect("a session");
        let mut peer = listener.accept().await;
        peer.recv().await;
        peer.send(said).await;
        let start = Instant::now();
        assert_eq!(peer.try_recv().await, None, "{said}");
        assert_eq!(start.elapsed().as_secs(), 5, "{said}");
        assert!(!session.is_connected());
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_floods_while_its_proof_is_judged_is_not_read() {
    let mut listener = Listener::bind("mem");
    let manager = ManagerBuilder::default().connect_rate(0).build();
    let options = options().authenticator(Silent).build().expect("valid");
    manager.add_session(options).expect("a session");
    let mut peer = listener.accept().await;
    peer.recv().await;
    peer.send("20 { 00 00 { 15 <SILENT> } }").await;
    let flood = format!("30 {{ <t> {{}} '{}' }}", "x".repeat(100));
    let start = Instant::now();
    // The transport holds 4 KiB, one read takes some more; then the server waits.
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_secs(1), peer.send(&flood)).await.is_ok() {
        sent += 1;
        assert!(sent < 3000, "it is read and kept");
    }
    assert!(start.elapsed() < Duration::from_secs(2));
}
