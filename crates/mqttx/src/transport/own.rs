//! Ways to a broker that programs bring along.

use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Endpoint;

/// A way to reach brokers in place of this crate's sockets and proxies: a serial line, a tunnel, a link in
/// memory.
///
/// What the scheme of the address asks for above it, TLS and WebSocket, is laid on its streams. So
/// `mqtt://` gives MQTT on them, whatever host and port mean to it. The time that an attempt may take is the
/// session's `connect_timeout`: then the future is dropped. Errors are tried again like those of a socket.
///
/// The future and the streams are polled by the session's own task: what blocks in them holds up the session and other
/// tasks of its thread, and a panic ends the session, as if it had been removed.
///
/// ```
/// use mqttx::{Endpoint, Transport, TransportFuture};
/// use tokio::io::duplex;
///
/// /// A broker in the same process.
/// struct InMemory(tokio::sync::mpsc::Sender<tokio::io::DuplexStream>);
///
/// impl Transport for InMemory {
///     fn connect<'a>(&'a self, _broker: &'a Endpoint) -> TransportFuture<'a> {
///         Box::pin(async move {
///             let (near, far) = duplex(4096);
///             let gone = |_| std::io::Error::other("the broker is gone");
///             self.0.send(far).await.map_err(gone)?;
///             Ok(Box::new(near) as _)
///         })
///     }
/// }
///
/// let (broker, _connections) = tokio::sync::mpsc::channel(16);
/// let options = mqttx::SessionOptions::quick_connect("plant", "mqtt://in-memory")
///     .transport(InMemory(broker))
///     .build()?;
/// # Ok::<(), mqttx::ConfigErrors>(())
/// ```
pub trait Transport: Send + Sync {
    /// Opens a stream to the broker at that address.
    ///
    /// # Errors
    /// Why there is none; its text is part of the session's error.
    fn connect<'a>(&'a self, endpoint: &'a Endpoint) -> TransportFuture<'a>;
}

/// What [`Transport::connect`] returns.
pub type TransportFuture<'a> =
    Pin<Box<dyn Future<Output = io::Result<Box<dyn ByteStream>>> + Send + 'a>>;

/// Bytes in both directions, in order and without loss. A read of no bytes is the end.
///
/// Every type with these traits has this one. A stream that says
/// [`is_write_vectored`](AsyncWrite::is_write_vectored) gets many packets in one write.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}
