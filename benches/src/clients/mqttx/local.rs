//! A server in this process, without a socket: it accepts connections and answers pings.
//!
//! What sessions cost beyond the number of files that a process may open.

use std::io::Result;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use mqttx::{Endpoint, Transport, TransportFuture};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::contestant::Version;

pub(super) struct Local {
    /// What accepts a connection: the version decides.
    connack: &'static [u8],
}

impl Local {
    pub(super) fn shared(version: Version) -> Arc<dyn Transport> {
        let connack: &[u8] = match version {
            Version::V311 => &[0x20, 2, 0, 0],
            Version::V5 => &[0x20, 3, 0, 0, 0],
        };
        Arc::new(Self { connack })
    }
}

const PINGRESP: &[u8] = &[0xd0, 0];

impl Transport for Local {
    fn connect<'a>(&'a self, _server: &'a Endpoint) -> TransportFuture<'a> {
        let line = Line { connack: self.connack, answer: &[], reader: None };
        Box::pin(async move { Ok(Box::new(line) as _) })
    }
}

/// One connection. Idle sessions write one whole packet at a time.
struct Line {
    connack: &'static [u8],
    /// What was not read yet.
    answer: &'static [u8],
    reader: Option<Waker>,
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, packet: &[u8]) -> Poll<Result<usize>> {
        let line = self.get_mut();
        line.answer = match packet.first() {
            Some(0x10) => line.connack,
            Some(0xc0) => PINGRESP,
            _ => line.answer,
        };
        if let Some(reader) = line.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(packet.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let line = self.get_mut();
        if line.answer.is_empty() {
            line.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = line.answer.len().min(buffer.remaining());
        let (now, later) = line.answer.split_at(count);
        buffer.put_slice(now);
        line.answer = later;
        Poll::Ready(Ok(()))
    }
}
