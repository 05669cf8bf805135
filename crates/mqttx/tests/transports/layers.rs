//! What WebSocket servers and proxies see, and what they refuse.

use mqttx::{Error, Proxy, QoS, SessionBuilder, SessionStatus};
use mqttx_test::{ClosedPort, HttpProxy, LoadOptions, LoadPeer, ScriptedBroker, SocksProxy, hex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::ways::*;

#[tokio::test]
async fn a_websocket_server_sees_the_request_and_the_farewell() {
    let peer = LoadPeer::start(LoadOptions::default());
    let path = Path::to(Way::Ws, peer.address()).await;
    let (manager, session) = path.start(path.options("s").ws_header("X-Token", "abc"));
    for _ in 0..20 {
        // Each answer is a message of its own, and some are followed by a ping.
        session.publish("t", "x", QoS::AtLeastOnce, false).await.expect("acknowledged");
    }
    let ws = path.ws.as_ref().expect("a server");
    assert_eq!(ws.requests("x-token"), [("/mqtt?way".to_owned(), Some("abc".to_owned()))]);
    assert_eq!(ws.requests("sec-websocket-protocol")[0].1.as_deref(), Some("mqtt"));
    manager.shutdown(PATIENCE).await;
    assert!(ws.pongs() > 0, "pings are answered");
    assert_eq!(ws.closes(), [1000], "a close frame after DISCONNECT");
}

#[tokio::test]
async fn proxies_are_asked_for_what_they_are_to_resolve() {
    let peer = LoadPeer::start(LoadOptions::default());
    for (way, name) in [
        (Way::HttpProxy, "127.0.0.1"),
        (Way::Socks5, "127.0.0.1"),
        (Way::Socks5h, "broker.invalid"),
        (Way::WsThroughSocks5h, "broker.invalid"),
    ] {
        let path = Path::to(way, peer.address()).await;
        let (_manager, session) = path.start(path.options("s"));
        session.wait_connected(PATIENCE).await.expect("connected");
        let asked = match (&path.http, &path.socks) {
            (Some(proxy), _) => proxy.asked(),
            (_, Some(proxy)) => proxy.asked(),
            (None, None) => unreachable!("a proxy"),
        };
        assert_eq!(asked, [format!("{name}:{}", path.cutter.address().port())], "{way:?}");
    }
}

#[tokio::test]
async fn a_name_is_resolved_here_for_socks5() {
    let peer = LoadPeer::start(LoadOptions::default());
    let proxy = SocksProxy::start(None).await;
    let url = format!("mqtt://localhost:{}", peer.address().port());
    let (_manager, session) = start(to(&url, &format!("socks5://{}", proxy.address())));
    session.wait_connected(PATIENCE).await.expect("connected");
    let asked = proxy.asked();
    let local = |asked: &String| asked.starts_with("127.0.0.1:") || asked.starts_with("[::1]:");
    assert!(!asked.is_empty() && asked.iter().all(local), "{asked:?}");
}

fn to(url: &str, proxy: &str) -> SessionBuilder {
    let proxy: Proxy = proxy.parse().expect("a proxy");
    mqttx::SessionOptions::quick_connect("s", url).proxy(proxy).auto_reconnect(false)
}

/// Why the first attempt failed.
async fn failure(options: SessionBuilder) -> (SessionStatus, Error) {
    let (_manager, session) = start(options.auto_reconnect(false));
    let error = session.wait_connected(PATIENCE).await.expect_err("no connection");
    (session.status(), session.last_error().unwrap_or(error))
}

#[tokio::test]
async fn refusals_of_proxies_name_the_proxy_and_its_reason() {
    let broker = ScriptedBroker::start().await;
    let port = ClosedPort::take();
    let closed = port.address();
    let http = HttpProxy::start(Some(("user", "secret"))).await;
    let open_http = HttpProxy::start(None).await;
    let socks = SocksProxy::start(Some(("user", "secret"))).await;
    let open_socks = SocksProxy::start(None).await;
    let (there, gone) = (broker.url(), format!("mqtt://{closed}"));
    for (url, proxy, temporary, part) in [
        (&there, format!("http://{}", http.address()), false, "refused: HTTP 407 Proxy Auth"),
        (&there, format!("http://user:wrong@{}", http.address()), false, "HTTP 407"),
        (&gone, format!("http://{}", open_http.address()), true, "refused: HTTP 502 Bad Gateway"),
        (&there, format!("socks5://{}", socks.address()), false, "asks for other credentials"),
        (&there, format!("socks5h://user:wrong@{}", socks.address()), false, "password is wrong"),
        (&gone, format!("socks5h://{}", open_socks.address()), true, "refused (reply 0x05)"),
        (&gone, format!("socks5://{}", open_socks.address()), true, "refused (reply 0x05)"),
        (&there, format!("http://{closed}"), true, "failed: Connection refused"),
        (&there, format!("socks5://{closed}"), true, "failed: Connection refused"),
    ] {
        let (_, error) = failure(to(url, &proxy)).await;
        let text = error.to_string();
        assert!(text.contains("the proxy ") && text.contains(part), "{proxy}: {text}");
        assert!(!text.contains("secret") && !text.contains("wrong@"), "{text}");
        assert_eq!(error.is_temporary(), temporary, "{proxy}: {text}");
    }
    broker.expect_no_connection(std::time::Duration::ZERO).await;
}

#[tokio::test]
async fn a_refusal_that_stays_ends_the_session_at_once() {
    let http = HttpProxy::start(Some(("user", "secret"))).await;
    let options = to("mqtt://127.0.0.1:1", &http.url()).auto_reconnect(true);
    let (_manager, session) = start(options);
    session.wait_connected(PATIENCE).await.expect_err("refused for good");
    assert_eq!((session.status(), http.asked().len()), (SessionStatus::Failed, 1));
}

#[tokio::test]
async fn a_websocket_server_that_refuses_is_quoted() {
    for (answer, temporary, code, part) in [
        ("401 Unauthorized", false, "connection.websocket.refused", "HTTP 401 Unauthorized"),
        ("404 Not Found", false, "connection.websocket.refused", "HTTP 404 Not Found"),
        ("301 Moved\r\nLocation: wss://h/x", false, "connection.websocket.refused", "wss://h/x"),
        ("503 Busy", true, "connection.websocket.refused", "HTTP 503 Busy"),
        ("101 Switching", false, "connection.websocket.handshake", "does not upgrade"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}/", listener.local_addr().expect("an address"));
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.expect("a request");
            assert!(request[..length].starts_with(b"GET / HTTP/1.1\r\n"));
            let answer = format!("HTTP/1.1 {answer}\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.expect("an open connection");
        };
        let options = mqttx::SessionOptions::quick_connect("s", &url);
        let ((_, error), ()) = tokio::join!(failure(options), serve);
        let text = error.to_string();
        assert!(text.contains(part), "{text}");
        assert_eq!((error.code(), error.is_temporary()), (code, temporary), "{text}");
    }
}

#[tokio::test]
async fn an_address_of_mqtt_at_a_websocket_port_and_the_other_way_round() {
    let broker = ScriptedBroker::start().await;
    let url = format!("ws://{}", broker.address());
    let serve = async {
        let mut peer = broker.accept().await;
        // What a broker does with the start of an HTTP request.
        peer.send_bytes(&hex("20 { 00 84 {} }")).await;
        peer.close().await;
    };
    let ((_, error), ()) =
        tokio::join!(failure(mqttx::SessionOptions::quick_connect("s", &url)), serve);
    assert!(error.to_string().contains("HTTP response"), "{error}");
}

/// The example is compiled into this test, so that it goes on working.
#[path = "../../examples/own_transport.rs"]
#[allow(dead_code, reason = "its main is not called here")]
mod own_transport;

#[tokio::test]
async fn the_example_of_an_own_transport_publishes_over_its_slow_line() {
    let answers = own_transport::run().await.expect("acknowledged");
    assert_eq!(answers, ["one: 0x00 (Success)", "two: 0x00 (Success)", "three: 0x00 (Success)"]);
}
