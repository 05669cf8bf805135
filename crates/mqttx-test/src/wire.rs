//! Framing of its own: a peer that used the framing of mqttx could not find errors in it.

/// The bytes that the first packet in `bytes` takes, once they are all there.
///
/// # Panics
/// When the length takes more than four bytes: no client may send that.
pub(crate) fn packet_len(bytes: &[u8]) -> Option<usize> {
    let mut length = 0_usize;
    for (index, &byte) in bytes.iter().skip(1).enumerate() {
        assert!(index < 4, "a length of more than four bytes: {}", crate::shown(bytes));
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let total = 1 + index + 1 + length;
            return (bytes.len() >= total).then_some(total);
        }
    }
    None
}

/// Where the content of a whole packet starts: after its first byte and its length.
pub(crate) fn content_start(packet: &[u8]) -> usize {
    let continued = packet.iter().skip(1).take_while(|&byte| byte & 0x80 != 0).count();
    continued + 2
}

/// Appends a length as MQTT's variable byte integer.
///
/// # Panics
/// Above 268 435 455, which has no such form.
pub(crate) fn append_varint(bytes: &mut Vec<u8>, mut value: usize) {
    assert!(value <= 268_435_455, "{value} is too large for a variable byte integer");
    loop {
        let digit = u8::try_from(value & 0x7f).expect("seven bits");
        value >>= 7;
        if value == 0 {
            return bytes.push(digit);
        }
        bytes.push(digit | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_is_found_when_complete_and_not_before() {
        let packet = [0x30, 0x81, 0x01];
        let mut bytes = packet.to_vec();
        bytes.resize(3 + 128, 0);
        assert_eq!(packet_len(&bytes), None);
        bytes.push(0);
        assert_eq!(packet_len(&bytes), Some(132));
        bytes.push(0xff);
        assert_eq!(packet_len(&bytes), Some(132));
        assert_eq!(content_start(&bytes), 3);
        assert_eq!(packet_len(&[0x30]), None);
        assert_eq!(packet_len(&[0xc0, 0]), Some(2));
    }

    #[test]
    fn lengths_take_the_bytes_they_need() {
        for (value, expected) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (16_384, &[0x80, 0x80, 1]),
            (268_435_455, &[0xff, 0xff, 0xff, 0x7f]),
        ] {
            let mut bytes = Vec::new();
            append_varint(&mut bytes, value);
            assert_eq!(bytes, expected);
        }
    }
}
