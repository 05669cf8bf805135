//! Where the payloads of `pub` come from.

use std::io::{self, BufRead, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Payload;
use crate::exit::Failure;

/// What fits into a packet: the largest remaining length, in bytes.
const LARGEST: u64 = 268_435_455;

/// Lines read ahead of the one that is published.
const LINES_AHEAD: usize = 256;

/// The payloads, one after the other.
#[derive(Debug)]
pub(super) enum Source {
    /// One payload several times.
    Repeated { payload: Bytes, left: u64, delay: Duration, next: Instant },
    /// The lines of standard input, read by a thread of their own: reading blocks.
    Lines(mpsc::Receiver<io::Result<Bytes>>),
}

impl Source {
    /// Reads the payload, or starts reading lines.
    ///
    /// # Errors
    /// A file or standard input that cannot be read, or is larger than any packet.
    pub(super) fn open(payload: Payload, repeat: u64, delay: Duration) -> Result<Self, Failure> {
        let payload = if payload.stdin_line {
            return Ok(Self::Lines(read_lines()));
        } else if let Some(message) = payload.message {
            message.into_vec()
        } else if let Some(path) = payload.file {
            read_file(&path)?
        } else if payload.stdin_file {
            read_all(io::stdin().lock(), "standard input")?
        } else {
            Vec::new()
        };
        let payload = Bytes::from(payload);
        Ok(Self::Repeated { payload, left: repeat, delay, next: Instant::now() })
    }

    /// Whether it is as long as somebody writes lines.
    pub(super) fn is_lines(&self) -> bool {
        matches!(self, Self::Lines(_))
    }

    /// The next payload, in its time; `None` after the last. Cancelling loses nothing.
    ///
    /// # Errors
    /// Standard input cannot be read further.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        match self {
            Self::Repeated { left: 0, .. } => None,
            Self::Repeated { payload, left, delay, next } => {
                tokio::time::sleep_until(*next).await;
                *left -= 1;
                *next += *delay;
                Some(Ok(payload.clone()))
            }
            Self::Lines(lines) => Some(
                lines
                    .recv()
                    .await?
                    .map_err(|error| Failure::runtime(format_args!("standard input: {error}"))),
            ),
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = std::fs::File::open(path)
        .map_err(|error| Failure::runtime(format_args!("file {}: {error}", path.display())))?;
    read_all(file, &format!("file {}", path.display()))
}

fn read_all(input: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    input
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::runtime(format_args!("{name}: {error}")))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Failure::runtime(format_args!(
            "{name} is larger than the {LARGEST} bytes of a packet"
        )));
    }
    Ok(bytes)
}

fn read_lines() -> mpsc::Receiver<io::Result<Bytes>> {
    let (send, receive) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Some(line) = next_line(&mut input) {
            let failed = line.is_err();
            if send.blocking_send(line).is_err() || failed {
                break;
            }
        }
    });
    receive
}

/// A line without its line feed; the last one may have none.
fn next_line(input: &mut impl BufRead) -> Option<io::Result<Bytes>> {
    let mut line = Vec::new();
    match input.take(LARGEST + 1).read_until(b'\n', &mut line) {
        Ok(0) => return None,
        Ok(_) => {}
        Err(error) => return Some(Err(error)),
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() as u64 > LARGEST {
        return Some(Err(io::Error::other("a line is larger than any packet")));
    }
    Some(Ok(Bytes::from(line)))
}

#[cfg(test)]
mod tests {
    use super::next_line;

    fn lines(mut input: &[u8]) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| next_line(&mut input)).map(|line| line.unwrap().to_vec()).collect()
    }

    #[test]
    fn every_line_is_a_message_empty_ones_included() {
        let none: [&[u8]; 0] = [];
        assert_eq!(lines(b""), none);
        assert_eq!(lines(b"\n"), [b""]);
        assert_eq!(lines(b"a\n\nb\n"), [&b"a"[..], b"", b"b"]);
        assert_eq!(lines(b"a\nlast"), [&b"a"[..], b"last"]);
        assert_eq!(lines(b"\xff\x00\r\n"), [b"\xff\x00\r"]);
    }
}
