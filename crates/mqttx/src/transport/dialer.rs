//! From an address to a stream.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

#[cfg(feature = "websocket")]
use super::ws;
use super::{ConnectError, Endpoint, Scheme, Stream, tcp, unix};

/// How streams are opened: what sessions of one kind have in common.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dialer {
    /// The local address; `None` lets the system choose.
    pub(crate) bind: Option<IpAddr>,
    /// What is asked of WebSockets.
    #[cfg(feature = "websocket")]
    pub(crate) ws: crate::options::WebSocketOptions,
}

impl Dialer {
    /// Opens a stream to `endpoint` within `timeout`.
    ///
    /// # Errors
    /// What failed last, where several addresses were tried.
    pub(crate) async fn dial(
        &self,
        endpoint: &Endpoint,
        timeout: Duration,
    ) -> Result<Stream, ConnectError> {
        #[cfg(test)]
        if let Some(stream) = super::mem::dial(endpoint) {
            return Ok(stream?);
        }
        let stream = tokio::time::timeout(timeout, self.open(endpoint)).await;
        stream.unwrap_or_else(|_| {
            let text = format!("no connection after {} ms", timeout.as_millis());
            Err(io::Error::new(io::ErrorKind::TimedOut, text).into())
        })
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<Stream, ConnectError> {
        match endpoint.scheme() {
            Scheme::Tcp => Ok(Stream::Tcp(tcp::connect(endpoint, self.bind).await?)),
            #[cfg(feature = "websocket")]
            Scheme::Ws => {
                let stream = tcp::connect(endpoint, self.bind).await?;
                let stream = ws::open(Stream::Tcp(stream), endpoint, &self.ws).await?;
                Ok(Stream::Other(Box::new(stream)))
            }
            #[cfg(not(feature = "websocket"))]
            Scheme::Ws => Err(ConnectError::no_feature("websocket")),
            Scheme::Unix => Ok(Stream::Other(Box::new(unix::connect(endpoint).await?))),
        }
    }
}
