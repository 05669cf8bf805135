//! Bytes that grow at the end, and keep their memory from one filling to the next.

/// A vector of bytes, of which the last ones may be left over from an earlier filling. What is appended is written over those, so that
/// its parts are put in place without asking for room again and again.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// So many at the end do not count.
    spare: usize,
}

/// So many bytes are made at once to be written over, if they fit the memory that is there.
const STEP: usize = 2048;

impl Buffer {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.spare
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or_default()
    }

    /// As a vector, for encoders that append.
    #[inline]
    pub(super) fn as_vec(&mut self) -> &mut Vec<u8> {
        self.bytes.truncate(self.len());
        self.spare = 0;
        &mut self.bytes
    }

    /// Appends `len` bytes of any value, all of which are to be written over.
    #[inline(always)]
    pub(super) fn append(&mut self, len: usize) -> &mut [u8] {
        if self.spare < len {
            self.make_spare(len);
        }
        let start = self.len();
        self.spare -= len;
        self.bytes.get_mut(start..start + len).unwrap_or_default()
    }

    /// Takes all of `other`, which is empty then.
    pub(super) fn take(&mut self, other: &mut Self) {
        self.as_vec().append(other.as_vec());
    }

    /// Empties it, and gives memory of more than `keep` bytes back.
    pub(super) fn clear(&mut self, keep: usize) {
        self.spare = self.bytes.len();
        if self.bytes.capacity() > keep {
            *self = Self::default();
        }
    }

    #[cold]
    fn make_spare(&mut self, len: usize) {
        let bytes = self.as_vec();
        let before = bytes.len();
        if bytes.capacity() - before < len {
            // So that what is kept of it is kept whatever the sizes of packets are.
            let capacity = (before + len).next_power_of_two();
            bytes.reserve_exact(capacity - before);
        }
        let step = len.max(STEP.min(bytes.capacity() - before));
        bytes.resize(before + step, 0);
        self.spare = step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_over_is_written_over_and_never_seen() {
        let mut buffer = Buffer::default();
        for round in 0..4_u8 {
            let mut expected = Vec::new();
            for number in 0..200_usize {
                let byte = number as u8 ^ round;
                if (number + usize::from(round)) % 5 == 0 {
                    buffer.as_vec().push(byte);
                    expected.push(byte);
                }
                let len = number % 90;
                let piece = buffer.append(len);
                assert_eq!(piece.len(), len);
                piece.fill(byte);
                expected.resize(expected.len() + len, byte);
                assert_eq!(buffer.len(), expected.len());
            }
            assert_eq!(buffer.as_slice(), expected);
            buffer.clear(usize::MAX);
            assert!(buffer.is_empty() && buffer.as_slice().is_empty());
        }
        buffer.append(10).fill(7);
        let mut other = Buffer::default();
        other.append(3).fill(8);
        buffer.take(&mut other);
        assert_eq!(buffer.as_slice(), [&[7; 10][..], &[8; 3]].concat());
        assert!(other.is_empty());
        buffer.clear(0);
        assert_eq!(buffer.bytes.capacity(), 0);
    }

    #[test]
    fn a_single_small_packet_takes_little_memory() {
        let mut buffer = Buffer::default();
        buffer.append(100).fill(1);
        assert!(buffer.bytes.capacity() < 200, "{}", buffer.bytes.capacity());
    }
}
