//! Why no stream came up, or why one ended.

use std::fmt;
use std::io;

/// Why no stream came up.
#[derive(Debug)]
pub(crate) struct ConnectError {
    /// The stable name of [`Error::code`](crate::Error::code).
    pub(crate) code: &'static str,
    /// Whether another attempt will hardly change it.
    pub(crate) permanent: bool,
    /// What failed, and why.
    pub(crate) error: io::Error,
}

#[cfg(not(feature = "websocket"))]
impl ConnectError {
    /// The address needs what this build does not have.
    pub(crate) fn no_feature(feature: &str) -> Self {
        let text = format!("this address needs the feature `{feature}` of the crate mqttx");
        let error = io::Error::new(io::ErrorKind::Unsupported, text);
        Self { code: "connection.unsupported", permanent: true, error }
    }
}

/// A failure of which more is known than an [`io::Error`] can say; it travels inside of one.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) permanent: bool,
    /// What was wrong with what, and what to do.
    pub(crate) text: String,
}

impl Fault {
    /// The options do not allow this connection.
    pub(crate) fn config(text: impl Into<String>) -> Self {
        Self { code: "config.invalid", permanent: true, text: text.into() }
    }

    /// The first bytes of an answer to a plain CONNECT are those of TLS or HTTP, which no packet of a server begins like.
    pub(crate) fn of_answer(bytes: &[u8]) -> Option<Self> {
        Self::of_tls(bytes).or_else(|| {
            bytes.starts_with(b"HTTP/").then(|| Self {
                code: "connection.websocket.expected",
                permanent: true,
                text: "the server speaks HTTP at this port: use ws://, or its port for MQTT"
                    .to_owned(),
            })
        })
    }

    /// The first bytes of an answer are a record of TLS.
    pub(super) fn of_tls(bytes: &[u8]) -> Option<Self> {
        const ALERT: u8 = 0x15;
        const HANDSHAKE: u8 = 0x16;
        matches!(bytes, [ALERT | HANDSHAKE, 3, ..]).then(|| Self {
            code: "connection.tls.expected",
            permanent: true,
            text: "the server speaks TLS at this port: use mqtts:// (wss://), or its plain port"
                .to_owned(),
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::new(io::ErrorKind::InvalidData, fault)
    }
}

impl From<Fault> for ConnectError {
    fn from(fault: Fault) -> Self {
        io::Error::from(fault).into()
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>());
        let (code, permanent) = match (fault, error.kind()) {
            (Some(fault), _) => (fault.code, fault.permanent),
            (None, io::ErrorKind::TimedOut) => ("connection.timeout", false),
            (None, _) => ("connection.failed", false),
        };
        Self { code, permanent, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_travels_inside_an_io_error() {
        let error: ConnectError = io::Error::from(Fault::config("no")).into();
        assert_eq!((error.code, error.permanent), ("config.invalid", true));
        assert_eq!(error.error.to_string(), "no");
        let other: ConnectError = io::Error::from(io::ErrorKind::BrokenPipe).into();
        assert_eq!((other.code, other.permanent), ("connection.failed", false));
    }

    #[test]
    fn tls_and_http_are_no_answer_to_a_plain_connect() {
        let told = |bytes: &[u8]| Fault::of_answer(bytes).map(|fault| fault.code);
        assert_eq!(told(&[0x15, 3, 1, 0, 2, 2, 70]), Some("connection.tls.expected"));
        assert_eq!(told(b"HTTP/1.1 400 Bad Request\r\n"), Some("connection.websocket.expected"));
        for answer in [&[0x20, 3, 0, 0, 0][..], &[0x15], &[]] {
            assert!(Fault::of_answer(answer).is_none(), "{answer:?}");
        }
    }
}
