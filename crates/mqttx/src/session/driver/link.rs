//! The input and output of one connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use mqttx_proto::{CloseCause, Transmit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::auth::Auth;
use crate::options::SessionOptions;
use crate::transport::{Fault, Stream};

/// Pieces of one vectored write.
const SLICES: usize = 32;
/// How long the last bytes may take.
const FLUSH_TIME: Duration = Duration::from_secs(1);
/// How long the peer may take to close after we did. Closing with unread input would reset the
/// connection, and the peer could lose our last bytes.
const LINGER_TIME: Duration = Duration::from_millis(250);

/// A transport with what belongs to it.
pub(super) struct Link {
    stream: Stream,
    pub(super) traffic: Box<Traffic>,
    /// What is to be written was not touched since it was filled.
    untouched: bool,
    needs_flush: bool,
    /// Since when the socket takes nothing.
    stalled: Option<Instant>,
    last_read: Instant,
    /// When the transport was connected; from CONNACK on, when the server accepted the connection.
    since: Instant,
    online: bool,
    /// Nothing is read: slow routes hold too many bytes.
    pub(super) paused: bool,
    /// QoS 0 messages that slow routes cannot take are dropped.
    pub(super) shedding: bool,
    /// Enhanced authentication, where there is an authenticator.
    pub(super) auth: Option<Box<Auth>>,
    closing: Option<Box<Closing>>,
    /// Writing failed; what the peer said before it closed is still to be read.
    broken: Option<Box<(io::Error, Instant)>>,
}

/// What goes out and comes in.
///
/// A piece of its own: Tokio wants the registration of a socket aligned to 128 bytes, and where an allocator leaves a gap before it
/// this fits in, so that thousands of sessions pay for one of the two.
#[derive(Default)]
pub(super) struct Traffic {
    pub(super) transmit: Transmit,
    /// Bytes that the core does not know to be written yet.
    pub(super) written: usize,
    /// The beginning of a packet, until the rest arrives; no memory when empty.
    pub(super) partial: Vec<u8>,
    /// Messages with QoS > 0 that found no room. After the first one none is taken on this connection.
    pub(super) refused: usize,
}

/// The last moments of a connection.
struct Closing {
    cause: CloseCause,
    until: Instant,
    shut: bool,
}

/// How the connection stands after a step.
pub(super) enum Step {
    Moved,
    Stuck,
    /// It ended: by the core's decision, or by the transport.
    Ended(End),
}

/// Why a connection ended.
pub(super) enum End {
    Closed(CloseCause),
    Lost(io::Error),
}

impl Link {
    pub(super) fn new(stream: Stream, now: Instant) -> Self {
        Self {
            stream,
            traffic: Box::default(),
            untouched: true,
            needs_flush: false,
            stalled: None,
            last_read: now,
            since: now,
            online: false,
            paused: false,
            shedding: false,
            auth: None,
            closing: None,
            broken: None,
        }
    }

    /// The core wants the connection closed, once the last bytes are out.
    pub(super) fn close(&mut self, now: Instant, cause: CloseCause) {
        if self.closing.is_none() {
            let until = now + FLUSH_TIME;
            self.closing = Some(Box::new(Closing { cause, until, shut: false }));
        }
    }

    /// Whether the socket took nothing of what is left to write.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    /// When the server accepted the connection.
    pub(super) fn online_since(&self) -> Option<Instant> {
        self.online.then_some(self.since)
    }

    /// When the connection began its present stage.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// The server accepted it.
    pub(super) fn set_online(&mut self, now: Instant) {
        (self.since, self.online) = (now, true);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Whether nothing is read from now on. What did not arrive meanwhile is no silence of the peer.
    pub(super) fn pause(&mut self, now: Instant, paused: bool) {
        if self.paused && !paused {
            self.last_read = now;
        }
        self.paused = paused;
    }

    /// When something is over: a stalled write, silence, the last moments.
    pub(super) fn deadline(&self, options: &SessionOptions) -> Option<Instant> {
        if let Some(closing) = &self.closing {
            return Some(closing.until);
        }
        if let Some(broken) = &self.broken {
            return Some(broken.1);
        }
        let performance = &options.performance;
        let stalled = self.stalled.map(|since| since + performance.write_timeout);
        let silent = performance.read_timeout.filter(|_| !self.paused).map(|t| self.last_read + t);
        let renewal = self.auth.as_ref().and_then(|auth| auth.deadline());
        [stalled, silent, renewal].into_iter().flatten().min()
    }

    /// The error of a deadline that is over.
    pub(super) fn overdue(&self, now: Instant, options: &SessionOptions) -> Option<io::Error> {
        let performance = &options.performance;
        let over = |since: Instant, limit: Duration| now >= since + limit;
        if self.stalled.is_some_and(|since| over(since, performance.write_timeout)) {
            let text = "the socket took no byte within performance.write_timeout";
            return Some(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        let limit = performance.read_timeout.filter(|_| !self.paused)?;
        over(self.last_read, limit).then(|| {
            let text = "nothing arrived within performance.read_timeout";
            io::Error::new(io::ErrorKind::TimedOut, text)
        })
    }

    /// Writes what the socket takes; `true` if it took some, or takes nothing from now on.
    ///
    /// An error does not end the connection yet: the peer may have said why before it closed.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.broken.is_none() {
            match self.try_write(cx, now) {
                Ok(moved) => return moved,
                Err(error) => self.broken = Some(Box::new((error, now + FLUSH_TIME))),
            }
        }
        self.traffic.transmit.clear();
        (self.needs_flush, self.stalled) = (false, None);
        false
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// The error that ended writing, once the peer had time to say why.
    pub(super) fn take_broken(&mut self, now: Instant) -> Option<io::Error> {
        self.broken.take_if(|broken| broken.1 <= now).map(|broken| broken.0)
    }

    fn try_write(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<bool> {
        let mut moved = false;
        while !self.traffic.transmit.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = self.traffic.transmit.io_slices(&mut slices);
            let slices = slices.get(..filled).unwrap_or_default();
            match Pin::new(&mut self.stream).poll_write_vectored(cx, slices) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => {
                    self.traffic.transmit.advance(n);
                    self.traffic.written += n;
                    self.untouched = self.traffic.transmit.is_empty();
                    self.needs_flush = true;
                    self.stalled = None;
                    moved = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    // Whether anything is read may depend on it: another turn looks at that.
                    moved |= self.stalled.is_none();
                    self.stalled.get_or_insert(now);
                    return Ok(moved);
                }
            }
        }
        if self.needs_flush {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(outcome) => {
                    outcome?;
                    self.needs_flush = false;
                    self.stalled = None;
                }
                Poll::Pending => {
                    self.stalled.get_or_insert(now);
                }
            }
        }
        Ok(moved)
    }

    /// Reads into `buffer`; the number of bytes, 0 at the end.
    pub(super) fn read(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                self.last_read = now;
                Poll::Ready(Ok(buffer.filled().len()))
            }
        }
    }

    /// What is wrong when the first answer to CONNECT, `length` bytes of `read`, is one of TLS or HTTP.
    pub(super) fn answer_of_others(&self, read: &[u8], length: usize) -> Option<Fault> {
        let first = self.online_since().is_none() && self.traffic.partial.is_empty();
        first.then(|| Fault::of_answer(read.get(..length)?)).flatten()
    }

    /// The last moments: everything out, then our end closed, then the peer's awaited for a while.
    pub(super) fn drive_closing(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        buffer: &mut [u8],
    ) -> Step {
        let mut moved = self.write(cx, now);
        let flushed = self.traffic.transmit.is_empty() && !self.needs_flush;
        let Some(closing) = &mut self.closing else { return Step::Stuck };
        // The server closes by itself after its own refusal or DISCONNECT; nothing of ours waits.
        let ours =
            !matches!(closing.cause, CloseCause::Refused(_) | CloseCause::ServerDisconnect(_));
        let mut over = now >= closing.until || (flushed && !moved && !ours);
        if flushed && !moved && !closing.shut && !over {
            over = !matches!(Pin::new(&mut self.stream).poll_shutdown(cx), Poll::Ready(Ok(())));
            closing.shut = true;
            closing.until = closing.until.min(now + LINGER_TIME);
            moved = true;
        }
        // What still arrives is not ours any more, but must not fill the socket.
        match self.read(cx, now, buffer) {
            Poll::Ready(Ok(0) | Err(_)) => over = true,
            Poll::Ready(Ok(_)) => moved = true,
            Poll::Pending => {}
        }
        if over && let Some(closing) = self.closing.take() {
            return Step::Ended(End::Closed(closing.cause));
        }
        if moved { Step::Moved } else { Step::Stuck }
    }

    /// Why it ends although the transport failed first.
    pub(super) fn cause_or(&mut self, error: io::Error) -> End {
        match self.closing.take() {
            Some(closing) => End::Closed(closing.cause),
            None => End::Lost(error),
        }
    }

    /// Whether `transmit` holds bytes of which none was written.
    pub(super) fn fresh(&self) -> bool {
        self.untouched && !self.traffic.transmit.is_empty()
    }

    /// Copies the bytes to write, for a log.
    pub(super) fn copy_transmit(&self, out: &mut Vec<u8>) {
        out.clear();
        let mut slices =
            vec![IoSlice::new(&[]); 2 * self.traffic.transmit.remaining().div_ceil(4096) + 2];
        let filled = self.traffic.transmit.io_slices(&mut slices);
        for slice in slices.iter().take(filled) {
            out.extend_from_slice(slice);
        }
    }
}
