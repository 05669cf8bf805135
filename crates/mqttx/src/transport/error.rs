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

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::TimedOut => "connection.timeout",
            _ => "connection.failed",
        };
        Self { code, permanent: false, error }
    }
}
