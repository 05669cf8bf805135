//! Where the payloads of `pub` come from.

use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Payload;
use crate::exit::Failure;
use crate::flags::LARGEST_PAYLOAD;

/// Lines that are handed over at once, if they are there.
const BATCH: usize = 256;

/// Bytes read ahead.
const READ_AHEAD: usize = 64 << 10;

/// The payloads, one after the other.
#[derive(Debug)]
pub(super) enum Source {
    /// One payload several times.
    Repeated { payload: Bytes, left: u64, delay: Duration, next: Instant },
    /// The lines of standard input, read by a thread of their own: reading blocks.
    Lines { batches: mpsc::Receiver<io::Result<Vec<Bytes>>>, next: std::vec::IntoIter<Bytes> },
}

impl Source {
    /// Reads the payload, or starts reading lines.
    ///
    /// # Errors
    /// A file or standard input that cannot be read, or is larger than any packet.
    pub(super) fn open(payload: Payload, repeat: u64, delay: Duration) -> Result<Self, Failure> {
        if payload.stdin_line {
            return Ok(Self::Lines { batches: read_lines(), next: Vec::new().into_iter() });
        }
        let payload = Bytes::from(payload.whole.read()?);
        Ok(Self::Repeated { payload, left: repeat, delay, next: Instant::now() })
    }

    /// Whether it is as long as somebody writes lines.
    pub(super) fn is_lines(&self) -> bool {
        matches!(self, Self::Lines { .. })
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
            Self::Lines { batches, next } => loop {
                if let Some(line) = next.next() {
                    return Some(Ok(line));
                }
                match batches.recv().await? {
                    Ok(lines) => *next = lines.into_iter(),
                    Err(error) => {
                        return Some(Err(Failure::runtime(format_args!(
                            "standard input: {error}"
                        ))));
                    }
                }
            },
        }
    }
}

fn read_lines() -> mpsc::Receiver<io::Result<Vec<Bytes>>> {
    let (send, receive) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut input = BufReader::with_capacity(READ_AHEAD, io::stdin().lock());
        while let Some(batch) = next_batch(&mut input) {
            let failed = batch.is_err();
            if send.blocking_send(batch).is_err() || failed {
                break;
            }
        }
    });
    receive
}

/// Waits for a line, and takes those with it that are there already.
fn next_batch(input: &mut BufReader<impl Read>) -> Option<io::Result<Vec<Bytes>>> {
    let first = match next_line(input)? {
        Ok(line) => line,
        Err(error) => return Some(Err(error)),
    };
    let mut lines = vec![first];
    while lines.len() < BATCH && input.buffer().contains(&b'\n') {
        // Whole lines of the buffer are read without an error.
        lines.extend(next_line(input)?.ok());
    }
    Some(Ok(lines))
}

/// A line without its line feed; the last one may have none.
fn next_line(input: &mut impl BufRead) -> Option<io::Result<Bytes>> {
    let mut line = Vec::new();
    match input.take(LARGEST_PAYLOAD + 1).read_until(b'\n', &mut line) {
        Ok(0) => return None,
        Ok(_) => {}
        Err(error) => return Some(Err(error)),
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() as u64 > LARGEST_PAYLOAD {
        return Some(Err(io::Error::other("a line is larger than any packet")));
    }
    Some(Ok(Bytes::from(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mut input: &[u8]) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| next_line(&mut input)).map(|line| line.unwrap().to_vec()).collect()
    }

    #[test]
    fn lines_that_are_there_come_together() {
        let text = "x\n".repeat(BATCH + 3) + "last";
        let mut input = BufReader::with_capacity(READ_AHEAD, text.as_bytes());
        let sizes: Vec<_> = std::iter::from_fn(|| next_batch(&mut input))
            .map(|batch| batch.unwrap().len())
            .collect();
        assert_eq!(sizes, [BATCH, 3, 1]);
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
