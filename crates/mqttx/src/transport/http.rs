//! The heads of HTTP/1.1 responses: of WebSocket servers and of proxies.

use std::fmt;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::error::Fault;

/// The longest head that is read, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// The most header fields that are read.
const MAX_FIELDS: usize = 64;
/// Bytes of a value of theirs that an error repeats.
const SHOWN: usize = 200;

/// Status and header fields of a response.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    reason: String,
    fields: Vec<(String, Vec<u8>)>,
    /// What came in one piece with the head, and belongs to whatever follows it.
    pub(super) rest: Vec<u8>,
}

impl Head {
    /// Reads a head, and at most a kilobyte of what follows it.
    ///
    /// # Errors
    /// The stream's; a head that is no HTTP, or longer than 16 KiB; an end before it was whole.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut bytes = Vec::new();
        loop {
            let mut chunk = [0; 1024];
            let count = stream.read(&mut chunk).await?;
            let chunk = chunk.get(..count).unwrap_or_default();
            if chunk.is_empty() {
                let text = "the connection was closed before the HTTP response was whole";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            bytes.extend_from_slice(chunk);
            if let Some(fault) = Fault::of_tls(&bytes) {
                return Err(fault.into());
            }
            // A head that is not over with this chunk needs no look.
            if chunk.contains(&b'\n')
                && let Some(head) = Self::parse(&bytes)?
            {
                return Ok(head);
            }
            if bytes.len() > MAX_HEAD {
                return Err(invalid("the head of the HTTP response is longer than 16 KiB"));
            }
        }
    }

    fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => {
                return Err(invalid(format!("the answer is no HTTP response: {error}")));
            }
        };
        let fields = response.headers.iter();
        Ok(Some(Self {
            status: response.code.unwrap_or(0),
            reason: response.reason.unwrap_or_default().to_owned(),
            fields: fields.map(|field| (field.name.to_owned(), field.value.to_vec())).collect(),
            rest: bytes.get(length..).unwrap_or_default().to_vec(),
        }))
    }

    /// The field's value, if it is there and text; names do not tell cases apart.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let (_, value) = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok().map(str::trim)
    }

    /// Whether the field's comma-separated list has that member.
    #[cfg(any(test, feature = "websocket"))]
    pub(super) fn lists(&self, name: &str, member: &str) -> bool {
        let fields = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        fields
            .filter_map(|(_, value)| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().eq_ignore_ascii_case(member))
    }
}

/// Status and reason, such as `404 Not Found`, for an error: printable, and not endless.
impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, shown(&self.reason).trim())?;
        if (300..400).contains(&self.status)
            && let Some(location) = self.field("location")
        {
            write!(f, ", see {}", shown(location))?;
        }
        Ok(())
    }
}

/// A peer's text, short and without control characters.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> io::Result<Head> {
        Head::read(&mut &*bytes).await
    }

    #[tokio::test]
    async fn a_head_ends_at_the_empty_line_and_the_rest_is_kept() {
        let head = read(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\r\n\x82\x00")
            .await
            .expect("a head");
        assert_eq!((head.status, head.field("upgrade")), (101, Some("WebSocket")));
        assert!(head.lists("connection", "upgrade") && !head.lists("connection", "up"));
        assert_eq!(head.rest, b"\x82\x00");
    }

    #[tokio::test]
    async fn a_head_may_come_byte_by_byte() {
        let text = b"HTTP/1.0 407 Proxy Authentication Required\r\n\r\n";
        let (mut near, mut far) = tokio::io::duplex(1);
        let write = async { tokio::io::AsyncWriteExt::write_all(&mut far, text).await };
        let (head, written) = tokio::join!(Head::read(&mut near), write);
        written.expect("written");
        assert_eq!(head.expect("a head").to_string(), "407 Proxy Authentication Required");
    }

    #[tokio::test]
    async fn endless_and_broken_heads_are_errors() {
        let endless = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &[b'a'; 20_000]].concat();
        let lines =
            b"HTTP/1.1 200 OK\r\n".iter().copied().chain(b"a: b\r\n".repeat(3000)).collect();
        for (bytes, part) in [
            (endless, "longer than 16 KiB"),
            (lines, "no HTTP response"),
            (b"SSH-2.0-x\r\n\r\n".to_vec(), "no HTTP response"),
            (b"\x15\x03\x03\x00\x02\x02\x46".to_vec(), "speaks TLS at this port"),
            (b"\x20\x02\x00\x00\n".to_vec(), "no HTTP response"),
            (b"HTTP/1.1 101 x\r\nUpgrade: web".to_vec(), "closed before"),
            (Vec::new(), "closed before"),
        ] {
            let error = read(&bytes).await.expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[tokio::test]
    async fn what_a_server_says_is_shown_without_its_control_characters() {
        let head = read(b"HTTP/1.1 301 Moved\r\nLocation: http://h/\x7f\t\xc3\xa9\r\n\r\n").await;
        // A control character is no part of a header.
        assert!(head.is_err());
        let long = format!("HTTP/1.1 302 Found\r\nLocation: {}\r\n\r\n", "a".repeat(5000));
        let text = read(long.as_bytes()).await.expect("a head").to_string();
        assert!(text.starts_with("302 Found, see aaa") && text.len() < 300, "{text}");
    }
}
