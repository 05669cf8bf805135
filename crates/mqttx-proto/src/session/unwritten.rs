//! QoS 0 messages that the socket has not taken yet, by their place in the stream of bytes.

use std::collections::VecDeque;

use super::event::{NO_TOKEN, Token};

/// In the order of the stream. Messages of one size and with one token are one element while they follow each other, so that a
/// flood of them costs neither memory nor time.
#[derive(Debug, Default)]
pub(crate) struct Unwritten(VecDeque<Run>);

/// One message, or several of the same size with the same token.
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
    #[inline(always)]
    pub(crate) fn push(&mut self, end: u64, len: u32, token: Token) {
        let start = end - u64::from(len);
        if let Some(last) = self.0.back_mut()
            && (last.token, last.end, last.len) == (token, start, len)
        {
            last.end = end;
            return;
        }
        self.begin(Run { start, end, len, token });
    }

    #[inline(never)]
    fn begin(&mut self, run: Run) {
        self.0.push_back(run);
    }

    /// Who waits for the next messages, and how many those are, if they lie before the position `written`.
    #[inline]
    pub(crate) fn pop(&mut self, written: u64) -> Option<(Token, u64)> {
        let first = self.0.front_mut()?;
        let (token, len) = (first.token, first.len());
        if first.end <= written {
            // A division takes as long as much of the rest.
            let is_one = first.end - first.start == len;
            let count = if is_one { 1 } else { first.count(first.start) };
            self.0.pop_front();
            return Some((token, count));
        }
        if token == NO_TOKEN || written < first.start + len {
            return None;
        }
        let left = first.count(written);
        let taken = first.count(first.start) - left;
        first.start = first.end - left * len;
        Some((token, taken))
    }

    /// How many messages do not lie before the position `written`.
    pub(crate) fn count(&self, written: u64) -> u64 {
        self.0.iter().map(|run| run.count(written)).sum()
    }

    /// Everybody who waits, with the number of messages that do not lie before the position `written`.
    pub(crate) fn into_tokens(self, written: u64) -> impl Iterator<Item = (Token, u64)> {
        self.0.into_iter().map(move |run| (run.token, run.count(written)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Run {
    fn len(&self) -> u64 {
        u64::from(self.len.max(1))
    }

    /// Its messages that do not lie before the position `written`.
    fn count(&self, written: u64) -> u64 {
        self.end.saturating_sub(self.start.max(written)).div_ceil(self.len())
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
        assert_eq!(unwritten.pop(37), Some((NO_TOKEN, 3)));
        assert_eq!((unwritten.pop(37), unwritten.pop(37)), (Some((5, 1)), None));
        assert_eq!(unwritten.into_tokens(37).collect::<Vec<_>>(), [(NO_TOKEN, 1)]);
    }

    #[test]
    fn messages_with_one_token_are_told_of_as_they_leave() {
        let mut unwritten = Unwritten::default();
        for end in [10, 20, 30, 40, 50] {
            unwritten.push(end, 10, 7);
        }
        unwritten.push(62, 12, 7);
        unwritten.push(74, 12, 8);
        assert_eq!(unwritten.0.len(), 3);
        assert_eq!(
            (unwritten.pop(9), unwritten.pop(10), unwritten.pop(10)),
            (None, Some((7, 1)), None)
        );
        assert_eq!((unwritten.pop(39), unwritten.pop(39)), (Some((7, 2)), None));
        assert_eq!((unwritten.count(0), unwritten.count(39), unwritten.count(55)), (4, 4, 2));
        let left: Vec<_> = unwritten.into_tokens(45).collect();
        assert_eq!(left, [(7, 1), (7, 1), (8, 1)]);
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
