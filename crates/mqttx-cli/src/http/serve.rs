//! Accepting connections, within limits.

use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::places::{Place, Places};
use super::stalling::Stalling;

/// Connections at a time. One more takes the place of one that asked nothing yet; without such a one it is closed at once.
pub(super) const CONNECTIONS: usize = 256;
/// The time for the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Bytes of the head of a request; beyond it the answer is 431.
const HEAD_BYTES: usize = 16 << 10;
/// Headers of a request.
const HEADERS: usize = 64;
/// The time for answers that are under way at the end.
pub(super) const LAST_MOMENTS: Duration = Duration::from_secs(1);
/// After an error of the system, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` says so.
pub(super) async fn serve(listener: StdListener, router: Router, mut stop: watch::Receiver<bool>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let mut places = Places::new(CONNECTIONS);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let Some(place) = places.take().await else { continue };
                connections.spawn(drive(stream, place, router.clone(), stop.clone()));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_MOMENTS, ended).await;
}

/// One connection, until it ends or the server does, or its place is for another one.
async fn drive(
    stream: TcpStream,
    mut place: Place,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let (router, asked) = (TowerToHyperService::new(router), Arc::clone(&place.asked));
    let service = service_fn(move |request| {
        asked.store(true, Ordering::Relaxed);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Stalling::new(stream)), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // A client that left, or spoke no HTTP, is nobody's error here.
        _ = connection.as_mut() => return,
        Ok(()) = &mut place.leave => return,
        _ = stop.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
