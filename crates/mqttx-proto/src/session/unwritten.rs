//! QoS 0 messages that the socket has not taken yet, by their place in the stream of bytes.

use std::collections::VecDeque;

use super::event::{NO_TOKEN, Token};

/// In the order of the stream. Messages of one size for which nobody waits are one element while they follow each other, so that
/// a flood of them costs neither memory nor time.
#[derive(Debug, Default)]
pub(crate) struct Unwritten(VecDeque<Run>);

/// One message, or several of the same size without a token.
#[derive(Debug)]
struct Run {
    /// The positions of the first byte, and behind the last one.
    start: u64,
    end: u64,
    /// Of each message.
    len: u32,
    token: Token,
}

impl Unwritten {
    /// A message of `len` bytes that ends at the position `end` was encoded.
    pub(crate) fn push(&mut self, end: u64, len: u32, token: Token) {
        let start = end - u64::from(len);
        if token == NO_TOKEN
            && let Some(last) = self.0.back_mut()
            && (last.token, last.end, last.len) == (NO_TOKEN, start, len)
        {
            last.end = end;
            return;
        }
        self.0.push_back(Run { start, end, len, token });
    }

    /// Who waits for the next message, if that lies before the position `written`.
    pub(crate) fn pop(&mut self, written: u64) -> Option<Token> {
        if self.0.front()?.end > written {
            return None;
        }
        self.0.pop_front().map(|run| run.token)
    }

    /// How many messages do not lie before the position `written`.
    pub(crate) fn count(&self, written: u64) -> u64 {
        let left = self.0.iter().map(|run| {
            let bytes = run.end.saturating_sub(run.start.max(written));
            bytes.div_ceil(u64::from(run.len.max(1)))
        });
        left.sum()
    }

    /// Everybody who waits.
    pub(crate) fn into_tokens(self) -> impl Iterator<Item = Token> {
        self.0.into_iter().map(|run| run.token)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_in_part_is_not_written() {
        let mut unwritten = Unwritten::default();
        for (end, len, token) in [(10, 10, 0), (20, 10, 0), (30, 10, 0), (37, 7, 5), (47, 10, 0)] {
            unwritten.push(end, len, token);
        }
        assert_eq!(unwritten.0.len(), 3, "the first three are one");
        let left = [(0, 5), (9, 5), (10, 4), (19, 4), (20, 3), (30, 2), (36, 2), (37, 1), (47, 0)];
        for (written, count) in left {
            assert_eq!(unwritten.count(written), count, "{written} bytes written");
        }
        assert_eq!(unwritten.pop(29), None);
        assert_eq!(unwritten.pop(37), Some(NO_TOKEN));
        assert_eq!((unwritten.pop(37), unwritten.pop(37)), (Some(5), None));
        assert_eq!(unwritten.into_tokens().collect::<Vec<_>>(), [NO_TOKEN]);
    }

    #[test]
    fn only_neighbours_of_one_size_are_one() {
        let mut unwritten = Unwritten::default();
        // Another packet of 4 bytes lies between the second and the third; the fourth is longer.
        for (end, len) in [(10, 10), (20, 10), (34, 10), (45, 11)] {
            unwritten.push(end, len, NO_TOKEN);
        }
        assert_eq!(unwritten.0.len(), 3);
        assert_eq!((unwritten.count(0), unwritten.count(33), unwritten.count(34)), (4, 2, 1));
    }
}
