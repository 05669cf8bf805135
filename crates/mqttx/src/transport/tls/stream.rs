//! The encrypted stream.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream as Inner;

use super::{Connector, fault};
use crate::transport::ByteStream;

/// A stream under TLS, whose errors say what was wrong with what.
pub(crate) struct TlsStream<S> {
    inner: Inner<S>,
    connector: Arc<Connector>,
}

impl<S: ByteStream> TlsStream<S> {
    pub(super) fn new(inner: Inner<S>, connector: Arc<Connector>) -> Self {
        Self { inner, connector }
    }

    fn told<T>(&self, error: io::Error) -> Poll<io::Result<T>> {
        Poll::Ready(Err(fault::told(error, self.connector.options())))
    }
}

impl<S: ByteStream> AsyncRead for TlsStream<S> {
    /// As much as there is: a read of rustls gives what one record brought, which may be a single small packet.
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        loop {
            let filled = buffer.filled().len();
            match Pin::new(&mut this.inner).poll_read(cx, buffer) {
                Poll::Ready(Ok(())) if buffer.filled().len() > filled && buffer.remaining() > 0 => {
                }
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                // What came before an error is told first; the error comes again.
                Poll::Pending | Poll::Ready(Err(_)) if filled > before => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => return Poll::Pending,
                // An end without close_notify: packets have lengths, so that nothing is cut off unnoticed.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(error)) => return this.told(error),
            }
        }
    }
}

impl<S: ByteStream> AsyncWrite for TlsStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    /// All pieces go into records of up to 16 KiB, whichever way they are cut.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
