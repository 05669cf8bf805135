//! Why no stream came up.

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

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::TimedOut => "connection.timeout",
            _ => "connection.failed",
        };
        Self { code, permanent: false, error }
    }
}
