use super::*;
use tokio::io::{AsyncReadExt, DuplexStream};

/// What the client says, and what becomes of it when the server answers with that; `{key}` is the
/// answer to its key.
async fn shake(
    url: &str,
    options: &WebSocketOptions,
    answer: &str,
) -> (String, Result<Vec<u8>, ConnectError>) {
    let endpoint: Endpoint = url.parse().expect("an address");
    let (mut near, far) = tokio::io::duplex(4096);
    let client = async move { shake_hands(&mut near, &endpoint, options).await };
    let (outcome, request) = tokio::join!(client, serve(far, answer));
    (request, outcome)
}

async fn serve(mut stream: DuplexStream, answer: &str) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.expect("the request"));
    }
    let request = String::from_utf8(request).expect("text");
    let key = field(&request, "Sec-WebSocket-Key").expect("a key");
    let answer = answer.replace("{key}", &derive_accept_key(key.as_bytes()));
    // The client may have given up already.
    let _ = stream.write_all(answer.as_bytes()).await;
    request
}

fn field<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

const GRANTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: {key}\r\n\
    Sec-WebSocket-Protocol: mqtt\r\n\r\n";

#[tokio::test]
async fn the_request_has_what_was_asked_for() {
    let mut options = WebSocketOptions::default();
    options.headers.insert("X-Token".to_owned(), "abc".into());
    let (request, outcome) = shake("ws://u:p@[::1]:8080/a%20b?c=d", &options, GRANTED).await;
    assert_eq!(outcome.expect("granted"), b"");
    assert!(request.starts_with("GET /a%20b?c=d HTTP/1.1\r\n"), "{request}");
    for (name, value) in [
        ("Host", "[::1]:8080"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Protocol", "mqtt"),
        ("X-Token", "abc"),
    ] {
        assert_eq!(field(&request, name), Some(value), "{request}");
    }
    assert_eq!(field(&request, "Authorization"), None, "user and password are those of MQTT");
    let (plain, _) = shake("ws://h", &WebSocketOptions::default(), GRANTED).await;
    assert_eq!(field(&plain, "Host"), Some("h"), "80 is the scheme's own port");
    assert_ne!(field(&plain, "Sec-WebSocket-Key"), field(&request, "Sec-WebSocket-Key"));
}

#[tokio::test]
async fn what_came_with_the_answer_is_kept() {
    let answer = format!("{GRANTED}\u{2}frame");
    let (_, outcome) = shake("ws://h", &WebSocketOptions::default(), &answer).await;
    assert_eq!(outcome.expect("granted"), b"\x02frame");
}

#[tokio::test]
async fn refusals_say_what_the_server_said() {
    for (answer, permanent, part) in [
        ("HTTP/1.1 401 Unauthorized\r\n\r\n", true, "HTTP 401 Unauthorized"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", true, "HTTP 403 Forbidden"),
        ("HTTP/1.1 404 Not Found\r\n\r\n", true, "HTTP 404 Not Found"),
        ("HTTP/1.1 301 Moved\r\nLocation: wss://h/x\r\n\r\n", true, "301 Moved, see wss://h/x"),
        ("HTTP/1.1 429 Too Many Requests\r\n\r\n", false, "HTTP 429"),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", false, "HTTP 503"),
        ("HTTP/1.1 200 OK\r\n\r\n<html>", true, "HTTP 200 OK"),
    ] {
        let (_, outcome) = shake("ws://h", &WebSocketOptions::default(), answer).await;
        let error = outcome.expect_err(part);
        assert_eq!((error.code, error.permanent), ("connection.websocket.refused", permanent));
        assert!(error.error.to_string().contains(part), "{}", error.error);
    }
}

#[tokio::test]
async fn answers_that_open_no_websocket_are_errors() {
    let without = |line: &str| GRANTED.replacen(line, "", 1);
    for (answer, part) in [
        (without("Upgrade: WebSocket\r\n"), "does not upgrade"),
        (without("Connection: keep-alive, Upgrade\r\n"), "does not upgrade"),
        (without("Sec-WebSocket-Accept: {key}\r\n"), "Sec-WebSocket-Accept"),
        (GRANTED.replace("{key}", "c3VyZQ=="), "Sec-WebSocket-Accept"),
        (without("Sec-WebSocket-Protocol: mqtt\r\n"), "did not choose the subprotocol"),
        (GRANTED.replace("Protocol: mqtt", "Protocol: mqttv3.1"), "'mqttv3.1' instead of mqtt"),
        (
            GRANTED.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
            "extensions that nobody asked for",
        ),
    ] {
        let (_, outcome) = shake("ws://h", &WebSocketOptions::default(), &answer).await;
        let error = outcome.expect_err(part);
        assert!(error.permanent && error.code == "connection.websocket.handshake");
        assert!(error.error.to_string().contains(part), "{}", error.error);
    }
}

#[tokio::test]
async fn a_server_without_http_is_an_error_that_may_pass() {
    let (_, outcome) = shake("ws://h", &WebSocketOptions::default(), "\u{20}\u{2}\0\0").await;
    let error = outcome.expect_err("no HTTP");
    assert!(!error.permanent && error.error.to_string().contains("closed before"));
}
