//! Frames of a client: masked, as a server demands (RFC 6455, section 5.3).

use std::io::IoSlice;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::decoder::ControlFrame;

/// The most payload of a frame: its length takes two bytes, and no server finds it large.
pub(super) const MAX_PAYLOAD: usize = 0xffff;

/// Adds a binary frame with what `slices` hold, up to [`MAX_PAYLOAD`]; the length of that.
pub(super) fn binary(slices: &[IoSlice<'_>], out: &mut Vec<u8>) -> usize {
    let total: usize = slices.iter().map(|slice| slice.len()).sum();
    let length = total.min(MAX_PAYLOAD);
    let mask = begin(OpCode::Data(Data::Binary), length, out);
    let start = out.len();
    for slice in slices {
        let room = length - (out.len() - start);
        out.extend_from_slice(slice.get(..room).unwrap_or(slice));
    }
    apply(mask, out.get_mut(start..).unwrap_or_default());
    length
}

/// Adds a control frame.
pub(super) fn control(frame: &ControlFrame, out: &mut Vec<u8>) {
    let mask = begin(OpCode::Control(frame.kind), frame.payload().len(), out);
    let start = out.len();
    out.extend_from_slice(frame.payload());
    apply(mask, out.get_mut(start..).unwrap_or_default());
}

/// Adds the header, with a mask that nobody can foresee.
fn begin(opcode: OpCode, length: usize, out: &mut Vec<u8>) -> [u8; 4] {
    let mask = rand::random();
    let header = FrameHeader { opcode, mask: Some(mask), ..FrameHeader::default() };
    out.reserve(header.len(length as u64) + length);
    // Writing to memory does not fail.
    let _ = header.format(length as u64, out);
    mask
}

fn apply(mask: [u8; 4], bytes: &mut [u8]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = bytes.chunks_exact_mut(8);
    for word in &mut words {
        if let Ok(eight) = <[u8; 8]>::try_from(&*word) {
            word.copy_from_slice(&(u64::from_ne_bytes(eight) ^ wide).to_ne_bytes());
        }
    }
    let mask = mask.iter().cycle();
    words.into_remainder().iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tungstenite::protocol::frame::coding::Control;

    /// The payload of a frame whose header has that length.
    fn unmasked(frame: &[u8], header: usize) -> Vec<u8> {
        let mask = &frame[header - 4..header];
        frame[header..].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
    }

    #[test]
    fn a_frame_holds_the_slices_in_their_order() {
        let mut out = Vec::new();
        let slices = [b"abc".as_slice(), b"", b"defghijklmnop"].map(IoSlice::new);
        assert_eq!(binary(&slices, &mut out), 16);
        assert_eq!(out[..2], [0x82, 0x80 | 16]);
        assert_eq!(unmasked(&out, 6), b"abcdefghijklmnop");
    }

    #[test]
    fn what_is_too_long_is_left_for_the_next_frame() {
        let long: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        let mut out = Vec::new();
        let slices = [IoSlice::new(b"x"), IoSlice::new(&long), IoSlice::new(b"never")];
        assert_eq!(binary(&slices, &mut out), MAX_PAYLOAD);
        assert_eq!(out[..4], [0x82, 0xfe, 0xff, 0xff]);
        assert_eq!(out.len(), 8 + MAX_PAYLOAD);
        let payload = unmasked(&out, 8);
        assert!(payload[0] == b'x' && payload[1..] == long[..MAX_PAYLOAD - 1]);
    }

    #[test]
    fn every_frame_has_a_mask_of_its_own() {
        let mut masks = std::collections::HashSet::new();
        for _ in 0..100 {
            let mut out = Vec::new();
            control(&ControlFrame::new(Control::Pong, b"payload"), &mut out);
            assert_eq!(out[..2], [0x8a, 0x87]);
            assert_eq!(unmasked(&out, 6), b"payload");
            masks.insert(out[2..6].to_vec());
        }
        assert!(masks.len() > 95, "{} masks", masks.len());
    }
}
