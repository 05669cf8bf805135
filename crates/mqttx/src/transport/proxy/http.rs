//! HTTP proxies: a tunnel by CONNECT (RFC 9110, section 9.3.6).

use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::ProxyServer;
use crate::transport::http::Head;
use crate::transport::{ConnectError, Endpoint};

/// Asks the proxy at the other end of `stream` for a tunnel to the broker.
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    proxy: &ProxyServer,
    mut stream: S,
    endpoint: &Endpoint,
) -> Result<S, ConnectError> {
    let request = request(proxy, endpoint);
    stream.write_all(request.as_bytes()).await.map_err(|error| proxy.failed(error))?;
    stream.flush().await.map_err(|error| proxy.failed(error))?;
    let head = Head::read(&mut stream).await.map_err(|error| proxy.failed(error))?;
    match head.status {
        // Whatever the broker speaks, the client begins.
        200..300 if !head.rest.is_empty() => {
            let text = "it sent data before the tunnel was used";
            Err(proxy.failed(io::Error::new(io::ErrorKind::InvalidData, text)))
        }
        200..300 => Ok(stream),
        status => {
            let permanent = !matches!(status, 408 | 425 | 429 | 500..);
            Err(proxy.refused(format_args!("HTTP {head}"), permanent))
        }
    }
}

fn request(proxy: &ProxyServer, endpoint: &Endpoint) -> String {
    let (host, port) = (endpoint.host(), endpoint.port());
    let target =
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some((user, password)) = proxy.credentials() {
        let credentials = BASE64_STANDARD.encode([user, b":", password].concat());
        request.push_str(&format!("Proxy-Authorization: Basic {credentials}\r\n"));
    }
    request.push_str("\r\n");
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    async fn tunnel(proxy: &str, to: &str, answer: &[u8]) -> (String, Result<(), ConnectError>) {
        let (proxy, endpoint) = (proxy.parse().expect("a proxy"), to.parse().expect("an address"));
        let (near, mut far) = tokio::io::duplex(40_000);
        let serve = async {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(far.read_u8().await.expect("the request"));
            }
            far.write_all(answer).await.expect("room");
            far.shutdown().await.expect("the end");
            String::from_utf8(request).expect("text")
        };
        let (outcome, request) = tokio::join!(connect(&proxy, near, &endpoint), serve);
        (request, outcome.map(drop))
    }

    #[tokio::test]
    async fn a_tunnel_is_asked_for_with_the_credentials() {
        let answer = b"HTTP/1.1 200 Connection established\r\n\r\n";
        let (request, outcome) = tunnel("http://p", "mqtt://[::1]:1884", answer).await;
        outcome.expect("a tunnel");
        assert_eq!(request, "CONNECT [::1]:1884 HTTP/1.1\r\nHost: [::1]:1884\r\n\r\n");
        let (request, _) = tunnel("http://Aladdin:open%20sesame@p", "plant", answer).await;
        let line = "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";
        assert!(request.starts_with("CONNECT plant:1883 ") && request.contains(line), "{request}");
    }

    #[tokio::test]
    async fn refusals_and_broken_answers_name_the_proxy() {
        let endless = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &[b'a'; 20_000]].concat();
        for (answer, permanent, part) in [
            (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n".as_slice(), true, "HTTP 407"),
            (b"HTTP/1.0 403 Forbidden\r\n\r\n", true, "refused: HTTP 403 Forbidden"),
            (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", false, "refused: HTTP 502 Bad Gateway"),
            (b"HTTP/1.1 200 OK\r\n\r\n\x20\x02", false, "before the tunnel was used"),
            (b"\x05\xff\n", false, "no HTTP response"),
            (b"", false, "closed before"),
            (&endless, false, "longer than 16 KiB"),
        ] {
            let (_, outcome) = tunnel("http://u:geheim@p:3128", "plant", answer).await;
            let error = outcome.expect_err(part);
            let text = error.error.to_string();
            assert!(text.starts_with("the proxy http://p:3128 "), "{text}");
            assert!(text.contains(part) && error.permanent == permanent, "{text}");
        }
    }
}
