//! Clients that want too much.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{Events, get, post};
use super::daemon::Bridge;

const PATIENCE: Duration = Duration::from_secs(20);

async fn answer_to(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    // A reset while the rest of the request is on its way is an end, too.
    let _ = tokio::time::timeout(PATIENCE, read).await.expect("an end in time");
    text
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let bridge = Bridge::start("").await;
    let mut stream = TcpStream::connect(bridge.daemon.address).await.expect("it listens");
    let request =
        format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    let _ = stream.write_all(request.as_bytes()).await;
    let answer = answer_to(stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = (0..200).map(|n| format!("X{n}: y\r\n")).collect::<String>();
    let mut stream = TcpStream::connect(bridge.daemon.address).await.expect("it listens");
    let request = format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{many}\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    assert!(answer_to(stream).await.starts_with("HTTP/1.1 431"));
    assert_eq!(get(bridge.daemon.address, "/healthz").await.status, 200);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_places_come_back() {
    let bridge = Bridge::start("").await;
    let address = bridge.daemon.address;
    let mut held = Vec::new();
    for _ in 0..256 {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("it reads");
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 200");
        held.push(stream);
    }
    let refused = TcpStream::connect(address).await.expect("the system accepts");
    assert_eq!(answer_to(refused).await, "");
    held.clear();
    let again = async {
        loop {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(request).await;
            if answer_to(stream).await.starts_with("HTTP/1.1 200") {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("places come back");
}

#[tokio::test]
async fn connections_that_ask_nothing_make_room_for_those_that_do() {
    let bridge = Bridge::start("").await;
    let address = bridge.daemon.address;
    let mut events = Events::start(address).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let _ = stream.write_all(b"GET /heal").await;
        silent.push(stream);
    }
    for _ in 0..5 {
        assert_eq!(get(address, "/healthz").await.status, 200);
    }
    // The oldest had to go, and whoever asked something stays.
    assert_eq!(answer_to(silent.remove(0)).await, "");
    let order = tokio::spawn(async move { post(address, "/api/v1/sessions/dst/reconnect").await });
    events.until("session_disconnected").await;
    assert_eq!(order.await.expect("no panic").status, 200);
}

#[tokio::test]
async fn the_event_stream_has_a_limit_of_its_own() {
    let bridge = Bridge::start("").await;
    let mut listeners = Vec::new();
    for _ in 0..32 {
        listeners.push(Events::start(bridge.daemon.address).await);
    }
    assert_eq!(get(bridge.daemon.address, "/api/v1/events").await.status, 503);
    listeners.pop();
    let again = async {
        // The place is free once the server has seen that its client left.
        loop {
            let mut stream = TcpStream::connect(bridge.daemon.address).await.expect("it listens");
            let request = b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n";
            stream.write_all(request).await.expect("it reads");
            let mut first = [0; 12];
            stream.read_exact(&mut first).await.expect("an answer");
            if &first == b"HTTP/1.1 200" {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("a place comes back");
}

#[tokio::test]
async fn a_listener_does_not_hold_up_the_end() {
    let bridge = Bridge::start("").await;
    let mut idle = TcpStream::connect(bridge.daemon.address).await.expect("it listens");
    idle.write_all(b"GET /heal").await.expect("it reads");
    let mut events = Events::start(bridge.daemon.address).await;
    bridge.daemon.signal().await;
    while events.next().await.is_some() {}
    let (code, log) = bridge.daemon.end().await;
    assert_eq!(code, Some(0), "{log}");
}
