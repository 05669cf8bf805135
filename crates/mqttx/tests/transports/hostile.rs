//! Peers that waste time and memory: on a stopped clock, through a transport of the tests' own.

use std::io;
use std::time::Duration;

use mqttx::{
    Endpoint, Error, Proxy, Session, SessionManager, SessionOptions, Transport, TransportFuture,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::ways::start;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams whose other ends come out of a channel.
struct InMemory(mpsc::UnboundedSender<DuplexStream>);

impl Transport for InMemory {
    fn connect<'a>(&'a self, _endpoint: &'a Endpoint) -> TransportFuture<'a> {
        let (near, far) = duplex(64 << 10);
        let sent = self.0.send(far).map_err(|_| io::ErrorKind::ConnectionRefused.into());
        Box::pin(async move { sent.map(|()| Box::new(near) as _) })
    }
}

fn session(url: &str) -> (SessionManager, Session, mpsc::UnboundedReceiver<DuplexStream>) {
    let (sender, connections) = mpsc::unbounded_channel();
    let options = SessionOptions::quick_connect("s", url)
        .transport(InMemory(sender))
        .connect_timeout(CONNECT_TIMEOUT)
        .auto_reconnect(false);
    let (manager, session) = start(options);
    (manager, session, connections)
}

/// How the only attempt ended, and after what time.
async fn end(session: &Session) -> (Error, Duration) {
    let begun = Instant::now();
    let error = session.wait_connected(Duration::from_secs(3600)).await.expect_err("no connection");
    (session.last_error().unwrap_or(error), begun.elapsed())
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Accept: ";

/// Answers the handshake of a WebSocket.
async fn shake_hands(stream: &mut DuplexStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.expect("a request"));
    }
    let request = String::from_utf8(request).expect("text");
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let accept = tungstenite::handshake::derive_accept_key(key.expect("a key").as_bytes());
    stream.write_all(format!("{SWITCH}{accept}\r\n\r\n").as_bytes()).await.expect("room");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_has_the_time_of_an_attempt() {
    for (url, part) in [
        ("mqtt://h", "CONNACK"),
        ("ws://h", "no answer to the WebSocket handshake after 10000 ms"),
        ("mqtts://h", "no answer to TLS after 10000 ms"),
        ("wss://h", "no answer to TLS after 10000 ms"),
    ] {
        let (_manager, session, mut connections) = session(url);
        let _stream = connections.recv().await.expect("a connection");
        let (error, time) = end(&session).await;
        assert_eq!((error.code(), time.as_secs()), ("connection.timeout", 10), "{url}: {error}");
        assert!(error.is_temporary() && error.to_string().contains(part), "{url}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_one_byte_a_second_does_not_prolong_the_attempt() {
    // The header of a handshake record of 16 KiB, and never its end.
    let record = [&[0x16, 3, 3, 0x40, 0][..], &[2; 100]].concat();
    for (url, answer) in [
        ("mqtt://h", b"\x20\x7f".repeat(100)),
        ("ws://h", SWITCH.as_bytes().to_vec()),
        ("mqtts://h", record),
    ] {
        let (_manager, session, mut connections) = session(url);
        let mut stream = connections.recv().await.expect("a connection");
        tokio::spawn(async move {
            for byte in answer {
                sleep(Duration::from_secs(1)).await;
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
            }
        });
        let (error, time) = end(&session).await;
        assert!((9..=11).contains(&time.as_secs()), "{url}: {time:?}, {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_answer_is_cut_off() {
    let (_manager, session, mut connections) = session("ws://h");
    let mut stream = connections.recv().await.expect("a connection");
    let taken = tokio::spawn(async move {
        let mut taken = 0;
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n").await.expect("room");
        while stream
            .write_all(b"x-y: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
            .await
            .is_ok()
        {
            taken += 50;
        }
        taken
    });
    let (error, _) = end(&session).await;
    assert!(error.to_string().contains("HTTP response"), "{error}");
    assert!(taken.await.expect("the peer") < 200_000, "what the pipe held and 16 KiB");
}

#[tokio::test(start_paused = true)]
async fn a_reset_in_the_handshake_is_a_failed_attempt() {
    for start in ["", "HTTP/1.1 101 Swi"] {
        let (_manager, session, mut connections) = session("ws://h");
        let mut stream = connections.recv().await.expect("a connection");
        stream.write_all(start.as_bytes()).await.expect("room");
        drop(stream);
        let (error, time) = end(&session).await;
        assert!(error.is_temporary() && time < CONNECT_TIMEOUT, "{error}");
        assert!(error.to_string().contains("broke off the WebSocket handshake"), "{error}");
    }
}

#[test]
fn a_packet_that_announces_a_lot_holds_no_memory() {
    // A CONNACK of 256 MiB, in plain and in a frame that claims to be much longer.
    let huge = b"\x20\xff\xff\xff\x7f\x00\x00".to_vec();
    let frame = [b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff".as_slice(), &huge].concat();
    for (url, bytes) in [("mqtt://h", huge), ("ws://h", frame)] {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let used = allocation_counter::measure(|| {
            runtime.block_on(async {
                let (_manager, session, mut connections) = session(url);
                let mut stream = connections.recv().await.expect("a connection");
                if url.starts_with("ws") {
                    shake_hands(&mut stream).await;
                }
                stream.write_all(&bytes).await.expect("room");
                let (error, time) = end(&session).await;
                assert!(time.as_secs() <= 11, "{url}: {time:?}, {error}");
            });
        });
        assert!((1000..1 << 20).contains(&used.bytes_max), "{url}: {} bytes", used.bytes_max);
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_announces_a_lot_is_read_as_it_comes() {
    let (_manager, session, mut connections) = session("ws://h");
    let mut stream = connections.recv().await.expect("a connection");
    shake_hands(&mut stream).await;
    // A CONNACK at the start of a frame of 256 MiB that never ends.
    stream.write_all(b"\x82\x7f\0\0\0\0\x10\0\0\0\x20\x03\x00\x00\x00").await.expect("room");
    session.wait_connected(Duration::from_secs(1)).await.expect("connected");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_pings_is_answered_without_a_queue() {
    let (_manager, session, mut connections) = session("ws://h");
    let mut stream = connections.recv().await.expect("a connection");
    shake_hands(&mut stream).await;
    stream.write_all(b"\x82\x05\x20\x03\x00\x00\x00").await.expect("room");
    session.wait_connected(Duration::from_secs(1)).await.expect("connected");
    // Nobody reads the answers: the pipe fills, and the rest is dropped.
    let ping = [b"\x89\x7d".as_slice(), &[0; 125]].concat();
    let flood = async {
        for _ in 0..10_000 {
            stream.write_all(&ping).await.expect("the client reads on");
        }
    };
    tokio::time::timeout(Duration::from_secs(1), flood).await.expect("the client reads on");
    assert!(session.is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_text_frame_ends_the_connection() {
    let (_manager, session, mut connections) = session("ws://h");
    let mut stream = connections.recv().await.expect("a connection");
    shake_hands(&mut stream).await;
    stream.write_all(b"\x81\x05\x20\x03\x00\x00\x00").await.expect("room");
    let (error, _) = end(&session).await;
    assert!(error.to_string().contains("text frame"), "{error}");
}

#[tokio::test]
async fn a_proxy_that_says_nothing_has_the_time_of_an_attempt() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    for scheme in ["http", "socks5h"] {
        let proxy: Proxy = format!("{scheme}://{address}").parse().expect("a proxy");
        let options = SessionOptions::quick_connect("s", "mqtt://broker.invalid")
            .proxy(proxy)
            .connect_timeout(CONNECT_TIMEOUT)
            .auto_reconnect(false);
        let (_manager, session) = start(options);
        let (mut silent, _) = listener.accept().await.expect("a client");
        silent.read_u8().await.expect("a request");
        tokio::time::pause();
        let (error, _) = end(&session).await;
        tokio::time::resume();
        assert_eq!(error.code(), "connection.timeout", "{error}");
        let text = format!("no connection through the proxy {scheme}://{address} after 10000 ms");
        assert!(error.to_string().contains(&text), "{error}");
    }
}
