//! Byte streams to a broker. This layer knows no MQTT and no session.

mod endpoint;
#[cfg(test)]
pub(crate) mod mem;
mod resolve;
mod stream;
mod tcp;

pub use endpoint::{Endpoint, EndpointError};

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::TcpStream;

/// What the driver reads and writes. TCP needs no box, since thousands of sessions have it.
pub(crate) enum Stream {
    Tcp(TcpStream),
    /// A transport of tests.
    #[cfg(test)]
    Memory(tokio::io::DuplexStream),
}

/// How to open a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TransportOptions {
    /// The local address; `None` lets the system choose.
    pub(crate) bind: Option<IpAddr>,
}

/// Opens a stream to `endpoint`; every address of its name is tried in turn.
///
/// # Errors
/// The last address's error; [`io::ErrorKind::TimedOut`] when `timeout` is over first.
pub(crate) async fn connect(
    endpoint: Endpoint,
    options: TransportOptions,
    timeout: Duration,
) -> io::Result<Stream> {
    #[cfg(test)]
    if let Some(stream) = mem::dial(&endpoint) {
        return stream;
    }
    match tokio::time::timeout(timeout, tcp::connect(&endpoint, options)).await {
        Ok(stream) => Ok(Stream::Tcp(stream?)),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no connection after {} ms", timeout.as_millis()),
        )),
    }
}
