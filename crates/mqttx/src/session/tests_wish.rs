//! What somebody wants at the very moment at which an attempt or a connection ends.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc;

use super::{Session, SessionStatus};
use crate::options::SessionOptions;
use crate::transport::{Endpoint, Transport, TransportFuture};
use crate::{ManagerBuilder, SessionManager};

const HOUR: Duration = Duration::from_secs(3600);

/// What is done with the session while its driver is busy.
type Meanwhile = fn(&Session);

/// Hands the far ends of its streams to the test; when a stream is closed, or there is none, `meanwhile` is called.
struct Hooked {
    session: Arc<OnceLock<Session>>,
    meanwhile: Meanwhile,
    /// `None`: every attempt fails.
    streams: Option<mpsc::UnboundedSender<DuplexStream>>,
    attempts: mpsc::UnboundedSender<()>,
}

/// Calls when it is dropped; read as the end of a stream.
struct Hook {
    session: Arc<OnceLock<Session>>,
    meanwhile: Meanwhile,
}

impl Transport for Hooked {
    fn connect<'a>(&'a self, _: &'a Endpoint) -> TransportFuture<'a> {
        Box::pin(async move {
            self.attempts.send(()).expect("the test counts");
            let session = self.session.get().expect("it asked for the connection");
            let Some(streams) = &self.streams else {
                (self.meanwhile)(session);
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            let (stream, far) = duplex(4096);
            streams.send(far).expect("the test is the server");
            let hook = Hook { session: Arc::clone(&self.session), meanwhile: self.meanwhile };
            let (reader, writer) = tokio::io::split(stream);
            Ok(Box::new(tokio::io::join(reader.chain(hook), writer)) as _)
        })
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        (self.meanwhile)(self.session.get().expect("it had the connection"));
    }
}

impl AsyncRead for Hook {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Says what it wants; nobody waits for it.
fn begin(wish: impl Future<Output = ()>) {
    let _ = pin!(wish).poll(&mut Context::from_waker(Waker::noop()));
}

/// A session that wants to connect; the far ends of its streams, and its attempts.
fn hooked(
    meanwhile: Meanwhile,
    fails: bool,
) -> (SessionManager, Session, mpsc::UnboundedReceiver<DuplexStream>, mpsc::UnboundedReceiver<()>) {
    let (streams, far) = mpsc::unbounded_channel();
    let (attempts, attempted) = mpsc::unbounded_channel();
    let session = Arc::new(OnceLock::new());
    let transport = Hooked {
        session: Arc::clone(&session),
        meanwhile,
        streams: Some(streams).filter(|_| !fails),
        attempts,
    };
    let options = SessionOptions::quick_connect("s", "mqtt://hooked")
        .transport(transport)
        .manual_connect(true)
        .auto_reconnect(false);
    let manager = ManagerBuilder::default().connect_rate(0).build();
    let added = manager.add_session(options.build().expect("valid")).expect("a session");
    assert!(session.set(added.clone()).is_ok());
    added.connect();
    (manager, added, far, attempted)
}

async fn accept(
    session: &Session,
    streams: &mut mpsc::UnboundedReceiver<DuplexStream>,
) -> DuplexStream {
    let mut server = streams.recv().await.expect("a connection");
    server.write_all(&[0x20, 3, 0, 0, 0]).await.expect("room");
    session.wait_connected(HOUR).await.expect("connected");
    server
}

/// The connection ends, and the session stays away.
async fn ends(session: &Session, mut server: DuplexStream) {
    server.read_to_end(&mut Vec::new()).await.expect("DISCONNECT and the end");
    drop(server);
    comes_to_rest(session).await;
}

async fn comes_to_rest(session: &Session) {
    let resting = session.until(|state| state.status.is_at_rest().then_some(state.status));
    let status = tokio::time::timeout(HOUR, resting).await.expect("it comes to rest");
    assert_eq!(status, SessionStatus::Disconnected);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_removed_while_its_attempt_fails_ends() {
    let (_manager, session, _, _attempts) = hooked(|session| begin(session.close()), true);
    tokio::time::timeout(HOUR, session.closed()).await.expect("it ends");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_disconnected_while_its_attempt_fails_is_disconnected() {
    let (_manager, session, _, _attempts) = hooked(|session| begin(session.disconnect()), true);
    comes_to_rest(&session).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_asked_for_while_an_attempt_fails_is_tried() {
    let (_manager, _session, _, mut attempts) = hooked(Session::connect, true);
    for _ in 0..3 {
        let attempt = tokio::time::timeout(HOUR, attempts.recv()).await;
        attempt.expect("another attempt").expect("counted");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_disconnected_while_it_reconnects_is_disconnected() {
    let (_manager, session, mut streams, mut attempts) =
        hooked(|session| begin(session.disconnect()), false);
    let server = accept(&session, &mut streams).await;
    session.reconnect();
    ends(&session, server).await;
    assert!(attempts.recv().await.is_some() && attempts.try_recv().is_err(), "one attempt");
}

/// As a forwarder asks for a new connection, whatever its program wants meanwhile.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_disconnected_is_not_renewed() {
    let (_manager, session, mut streams, mut attempts) = hooked(|_| {}, false);
    let server = accept(&session, &mut streams).await;
    begin(session.disconnect());
    session.renew();
    ends(&session, server).await;
    assert!(attempts.recv().await.is_some() && attempts.try_recv().is_err(), "one attempt");
}
