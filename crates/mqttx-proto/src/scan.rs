//! Looking for single bytes in topics and strings, a block at a time: these are short, so that setting up a loop over vectors and
//! finishing its rest would cost more than the loop itself.

/// Whether one of the wanted bytes occurs.
#[inline]
pub(crate) fn contains_any<const N: usize>(bytes: &[u8], wanted: [u8; N]) -> bool {
    // The last block overlaps the one before it, which saves a loop over the rest.
    if let Some(last) = bytes.last_chunk() {
        let (blocks, _) = bytes.as_chunks();
        return has(last, wanted) || blocks.iter().any(|block| has(block, wanted));
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return word_has(first, wanted) || word_has(last, wanted);
    }
    bytes.iter().any(|byte| wanted.contains(byte))
}

/// What follows the prefix. In its place, since it is short, and what differs does so near its end.
#[inline(always)]
pub(crate) fn strip_prefix<'a>(bytes: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (front, rest) = bytes.split_at_checked(prefix.len())?;
    same(front, prefix).then_some(rest)
}

/// Whether two pieces of the same length are equal.
#[inline(always)]
fn same(one: &[u8], other: &[u8]) -> bool {
    if let (Some(a), Some(b)) = (one.last_chunk::<16>(), other.last_chunk::<16>()) {
        let (ones, others) = (one.as_chunks::<16>().0, other.as_chunks::<16>().0);
        return a == b && ones.iter().zip(others).all(|(a, b)| a == b);
    }
    if let (Some(a), Some(b)) = (one.last_chunk::<8>(), other.last_chunk::<8>()) {
        return a == b && one.first_chunk::<8>() == other.first_chunk();
    }
    if let (Some(a), Some(b)) = (one.last_chunk::<4>(), other.last_chunk::<4>()) {
        return a == b && one.first_chunk::<4>() == other.first_chunk();
    }
    one.iter().zip(other).all(|(a, b)| a == b)
}

/// Where the byte is first.
#[inline]
pub(crate) fn position(bytes: &[u8], wanted: u8) -> Option<usize> {
    let (words, rest) = bytes.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let zeros = zero_bytes(u64::from_le_bytes(*word) ^ (EVERY * u64::from(wanted)));
        if zeros != 0 {
            return Some(index * 8 + (zeros.trailing_zeros() / 8) as usize);
        }
    }
    let at = rest.iter().position(|byte| *byte == wanted)?;
    Some(bytes.len() - rest.len() + at)
}

/// Whether one of the wanted bytes is in the block, which is one vector register: every byte is compared, without a branch.
#[inline]
fn has<const N: usize>(block: &[u8; 16], wanted: [u8; N]) -> bool {
    let is_wanted = |byte: u8| wanted.iter().fold(false, |found, wanted| found | (byte == *wanted));
    block.iter().fold(false, |found, byte| found | is_wanted(*byte))
}

/// Whether one of the wanted bytes is in the word.
#[inline]
fn word_has<const N: usize>(word: &[u8; 8], wanted: [u8; N]) -> bool {
    let word = u64::from_le_bytes(*word);
    let zeros = wanted.iter().map(|byte| zero_bytes(word ^ (EVERY * u64::from(*byte))));
    zeros.fold(0, |all, zeros| all | zeros) != 0
}

/// Not zero exactly when a byte of the word is zero; the lowest bit set is in the first such byte.
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(EVERY) & !word & (EVERY << 7)
}

/// A one in each byte.
const EVERY: u64 = u64::from_le_bytes([1; 8]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_one_if_every_byte_of_it_is() {
        let bytes: Vec<u8> = (0..60).collect();
        for len in 0..=60 {
            let prefix = &bytes[..len];
            assert_eq!(strip_prefix(&bytes, prefix), Some(&bytes[len..]));
            for at in 0..len {
                let mut other = prefix.to_vec();
                other[at] ^= 0x80;
                assert_eq!(strip_prefix(&bytes, &other), None, "{len} {at}");
            }
        }
        assert_eq!(strip_prefix(&bytes[..3], &bytes[..4]), None);
    }

    #[test]
    fn every_byte_is_found_at_every_place_and_no_other() {
        for len in 0..40 {
            for at in 0..len {
                for byte in 0..=u8::MAX {
                    // Neighbours of the wanted bytes around it: a borrow must not reach them.
                    for around in [1, b'*', b',', b'"', b'$', 0x80, 0xff] {
                        let mut bytes = vec![around; len];
                        bytes[at] = byte;
                        let expected = matches!(byte, 0 | b'+' | b'#');
                        assert_eq!(contains_any(&bytes, [0, b'+', b'#']), expected, "{bytes:?}");
                        let first = bytes.iter().position(|b| *b == byte);
                        assert_eq!(position(&bytes, byte), first, "{byte} in {bytes:?}");
                    }
                }
            }
            assert!(!contains_any(&vec![b'a'; len], [0, b'+', b'#']));
            assert_eq!(position(&vec![b'a'; len], b'/'), None);
        }
    }
}
