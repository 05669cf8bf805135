//! A small HTTP client, so that the tests see what is on the wire.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, "GET", path, &[]).await
}

pub(crate) async fn post(address: SocketAddr, path: &str) -> Answer {
    send(address, "POST", path, &[]).await
}

pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("Content-Length: 0\r\n\r\n");
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("it answers");
        bytes
    };
    let bytes = tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time");
    parse(&String::from_utf8(bytes).expect("UTF-8"))
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let chunked = headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Answer { status: status.unwrap_or_else(|| panic!("no status: {text}")), headers, body }
}

fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    loop {
        let (size, more) = rest.split_once("\r\n").expect("the size of a chunk");
        let size = usize::from_str_radix(size, 16).expect("a hexadecimal size");
        if size == 0 {
            return body;
        }
        body.push_str(&more[..size]);
        rest = more[size..].strip_prefix("\r\n").expect("the end of a chunk");
    }
}

/// A client of a stream of server-sent events.
pub(crate) struct Events {
    lines: BufReader<TcpStream>,
}

impl Events {
    /// Of the events; connected once the first line is there.
    pub(crate) async fn start(address: SocketAddr) -> Self {
        let mut events = Self::asked(address, "/api/v1/events").await;
        while events.line().await.expect("the first comment") != ": events" {}
        events
    }

    /// Of what the dashboard shows.
    pub(crate) async fn watch(address: SocketAddr) -> Self {
        Self::asked(address, "/api/v1/dashboard").await
    }

    /// Of what is at that path; the head of the answer is read.
    async fn asked(address: SocketAddr, path: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut events = Self { lines: BufReader::new(stream) };
        let head = events.line().await.expect("a status");
        assert_eq!(head, "HTTP/1.1 200 OK");
        while !events.line().await.expect("a head").is_empty() {}
        events
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line);
        let read = tokio::time::timeout(PATIENCE, read).await.expect("a line in time");
        (read.expect("a line") > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            let line = self.line().await?;
            if let Some(data) = line.strip_prefix("data: ") {
                return Some(serde_json::from_str(data).expect("JSON"));
            }
        }
    }

    /// The next event of that type.
    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the end before {kind}"));
            if event["type"] == kind {
                return event;
            }
        }
    }
}
