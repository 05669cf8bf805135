//! A WebSocket as a stream of bytes.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::frame::coding::{CloseCode, Control};

use super::decoder::{ControlFrame, Decoder, End};
use super::encoder;
use crate::transport::http::shown;

/// The bytes of the binary frames of a connection, after its handshake.
///
/// An idle one owns no buffer: frames are decoded where the caller reads to, and encoded in memory that
/// belongs to the thread. Only what the stream below did not take stays here.
#[derive(Debug)]
pub(super) struct WebSocket<S> {
    stream: S,
    decoder: Decoder,
    /// What came in one piece with the answer to the handshake.
    early: Vec<u8>,
    /// Encoded bytes that the stream did not take, from `taken` on.
    output: Vec<u8>,
    taken: usize,
    /// A control frame that is to be sent next: a close frame replaces a pong.
    reply: Option<Box<ControlFrame>>,
    /// A close frame was sent, or waits to be: no data may follow.
    closing: bool,
}

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl<S> WebSocket<S> {
    /// `early` is what was read of the stream behind the handshake.
    pub(super) fn new(stream: S, early: Vec<u8>) -> Self {
        let early = early.into_boxed_slice().into_vec();
        Self {
            stream,
            decoder: Decoder::default(),
            early,
            output: Vec::new(),
            taken: 0,
            reply: None,
            closing: false,
        }
    }

    fn close(&mut self, code: Option<CloseCode>) {
        if !self.closing {
            self.closing = true;
            let code = code.map(|code| u16::from(code).to_be_bytes());
            let payload = code.as_ref().map_or(&[][..], |code| code.as_slice());
            self.reply = Some(Box::new(ControlFrame::new(Control::Close, payload)));
        }
    }

    /// Answers what the server asked for.
    fn answer(&mut self) {
        if let Some(mut ping) = self.decoder.take_ping()
            && !self.closing
        {
            ping.kind = Control::Pong;
            self.reply = Some(ping);
        }
        let code = match self.decoder.end() {
            None => return,
            Some(End::Closed(code, _)) => code.filter(|code| code.is_allowed()),
            Some(End::Fault(code, _)) => Some(*code),
        };
        self.close(code);
    }

    /// What the end of the payload means: an orderly end is one of the stream.
    fn ended(end: &End) -> io::Result<()> {
        match end {
            End::Closed(None | Some(CloseCode::Normal | CloseCode::Away), _) => Ok(()),
            End::Closed(Some(code), text) => {
                let code = u16::from(*code);
                let text = format!("the server closed the WebSocket: {code} {}", shown(text));
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, text.trim_end().to_owned()))
            }
            End::Fault(_, text) => {
                let text = format!("the server broke the WebSocket protocol: {text}");
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> WebSocket<S> {
    /// Writes what was encoded, and then the reply that waits.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while let Some(rest) = self.output.get(self.taken..).filter(|rest| !rest.is_empty()) {
                match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => self.taken += count,
                }
            }
            (self.output, self.taken) = (Vec::new(), 0);
            match self.reply.take() {
                Some(reply) => encoder::control(&reply, &mut self.output),
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Sends a reply if that is possible now; what keeps it from going out is seen by whoever writes.
    fn try_reply(&mut self, cx: &mut Context<'_>) {
        let waits = self.reply.is_some() || !self.output.is_empty();
        if waits && let Poll::Ready(Ok(())) = self.poll_drain(cx) {
            let _ = Pin::new(&mut self.stream).poll_flush(cx);
        }
    }

    /// Writes a frame; what is not taken of it stays in `output`.
    fn poll_frame(&mut self, cx: &mut Context<'_>, frame: &[u8]) -> io::Result<()> {
        let mut rest = frame;
        while !rest.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => rest = rest.get(count..).unwrap_or_default(),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.output.extend_from_slice(rest);
                    break;
                }
            }
        }
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        // A pong for which there was no room: the write woke us.
        this.try_reply(cx);
        loop {
            if let Some(end) = this.decoder.end() {
                return Poll::Ready(Self::ended(end));
            }
            let space = buffer.initialize_unfilled();
            let count = if this.early.is_empty() {
                let mut raw = ReadBuf::new(space);
                ready!(Pin::new(&mut this.stream).poll_read(cx, &mut raw))?;
                raw.filled().len()
            } else {
                let count = this.early.len().min(space.len());
                space.iter_mut().zip(this.early.drain(..count)).for_each(|(to, from)| *to = from);
                if this.early.is_empty() {
                    this.early = Vec::new();
                }
                count
            };
            if count == 0 {
                return Poll::Ready(if this.decoder.is_inside_frame() {
                    let text = "the server closed the connection inside a WebSocket frame";
                    Err(io::Error::new(io::ErrorKind::UnexpectedEof, text))
                } else {
                    Ok(())
                });
            }
            let kept = this.decoder.decode(space.get_mut(..count).unwrap_or_default());
            this.answer();
            this.try_reply(cx);
            if kept > 0 {
                buffer.advance(kept);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        ready!(this.poll_drain(cx))?;
        if this.closing {
            let text = "the WebSocket is closed";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, text)));
        }
        let mut frame = SCRATCH.take();
        frame.clear();
        let length = encoder::binary(slices, &mut frame);
        let outcome = this.poll_frame(cx, &frame);
        SCRATCH.set(frame);
        Poll::Ready(outcome.map(|()| length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    /// Sends a close frame. The server closes the connection below (RFC 6455, section 7.1.1), unless it
    /// sent its close frame already.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.close(Some(CloseCode::Normal));
        ready!(this.poll_drain(cx))?;
        match this.decoder.end() {
            Some(_) => Pin::new(&mut this.stream).poll_shutdown(cx),
            None => Pin::new(&mut this.stream).poll_flush(cx),
        }
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
