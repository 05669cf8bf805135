//! Frames of a server taken out of a stream of bytes, in place.
//!
//! MQTT needs no messages of WebSocket: a packet may lie across frames, and a frame may hold several
//! packets `[MQTT-6.0.0-2]`. So payload moves on as it arrives, and nothing is kept on the word of a
//! frame's length.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// The longest payload of a control frame (RFC 6455, section 5.5).
pub(super) const MAX_CONTROL: usize = 125;
/// The longest header.
const MAX_HEADER: usize = 14;

/// The state between two pieces of the stream.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The start of a header that is not whole.
    header: [u8; MAX_HEADER],
    have: u8,
    /// Inside a message of several frames.
    fragmented: bool,
    /// The payload of the frame that is left to come.
    left: u64,
    /// The control frame that is being read.
    control: Option<Box<ControlFrame>>,
    /// The server asked for an answer: the last ping alone counts.
    ping: Option<Box<ControlFrame>>,
    /// Nothing that follows counts.
    end: Option<Box<End>>,
}

/// A control frame and its payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ControlFrame {
    pub(super) kind: Control,
    length: u8,
    bytes: [u8; MAX_CONTROL],
}

/// Why no more payload comes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// The server's close frame; without a code when it had none.
    Closed(Option<CloseCode>, String),
    /// The server broke a rule.
    Fault(CloseCode, &'static str),
}

impl Decoder {
    /// Takes the next piece of the stream; the payload in it is moved to its front, and its length
    /// returned.
    pub(super) fn decode(&mut self, bytes: &mut [u8]) -> usize {
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() && self.end.is_none() {
            if self.left == 0 && self.control.is_none() {
                at += self.take_header(bytes.get(at..).unwrap_or_default());
                continue;
            }
            let here = bytes.len() - at;
            let count = usize::try_from(self.left).map_or(here, |left| left.min(here));
            match &mut self.control {
                Some(control) => control.push(bytes.get(at..at + count).unwrap_or_default()),
                None => {
                    bytes.copy_within(at..at + count, kept);
                    kept += count;
                }
            }
            at += count;
            self.left -= count as u64;
            if self.left == 0 {
                self.end_control();
            }
        }
        kept
    }

    /// The ping that is to be answered.
    pub(super) fn take_ping(&mut self) -> Option<Box<ControlFrame>> {
        self.ping.take()
    }

    /// Whether a frame is incomplete.
    pub(super) fn is_inside_frame(&self) -> bool {
        self.left > 0 || self.have > 0 || self.control.is_some()
    }

    /// Why no more payload comes.
    pub(super) fn end(&self) -> Option<&End> {
        self.end.as_deref()
    }

    /// Reads a header, or keeps what there is of it; returns the bytes that were taken.
    fn take_header(&mut self, bytes: &[u8]) -> usize {
        if self.have == 0 {
            let mut cursor = Cursor::new(bytes);
            match FrameHeader::parse(&mut cursor) {
                Ok(Some((header, length))) => {
                    self.begin(&header, length);
                    return usize::try_from(cursor.position()).unwrap_or(bytes.len());
                }
                Ok(None) => {}
                Err(_) => {
                    self.fail("a frame of unknown kind");
                    return bytes.len();
                }
            }
        }
        // Headers are seldom split: byte by byte is good enough.
        for (taken, &byte) in bytes.iter().enumerate() {
            let have = usize::from(self.have);
            if let Some(place) = self.header.get_mut(have) {
                *place = byte;
                self.have += 1;
            }
            let start = self.header.get(..=have).unwrap_or_default();
            match FrameHeader::parse(&mut Cursor::new(start)) {
                Ok(Some((header, length))) => {
                    self.have = 0;
                    self.begin(&header, length);
                    return taken + 1;
                }
                Ok(None) => {}
                Err(_) => {
                    self.fail("a frame of unknown kind");
                    return taken + 1;
                }
            }
        }
        bytes.len()
    }

    fn begin(&mut self, header: &FrameHeader, length: u64) {
        if header.mask.is_some() {
            return self.fail("a masked frame from the server");
        }
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return self.fail("a frame of an extension that was not negotiated");
        }
        if length > i64::MAX.unsigned_abs() {
            return self.fail("a frame length with its highest bit set");
        }
        match header.opcode {
            OpCode::Control(kind) => {
                if !header.is_final || length > MAX_CONTROL as u64 {
                    return self
                        .fail("a control frame that is fragmented or longer than 125 bytes");
                }
                let frame = ControlFrame { kind, length: 0, bytes: [0; MAX_CONTROL] };
                self.control = Some(Box::new(frame));
            }
            OpCode::Data(Data::Binary) if !self.fragmented => self.fragmented = !header.is_final,
            OpCode::Data(Data::Continue) if self.fragmented => self.fragmented = !header.is_final,
            // [MQTT-6.0.0-1]
            OpCode::Data(Data::Text) => {
                let text = "a text frame: MQTT is sent in binary ones";
                self.end = Some(Box::new(End::Fault(CloseCode::Unsupported, text)));
                return;
            }
            OpCode::Data(_) => return self.fail("a frame that does not continue its message"),
        }
        self.left = length;
        if length == 0 {
            self.end_control();
        }
    }

    fn end_control(&mut self) {
        let Some(control) = self.control.take() else { return };
        match control.kind {
            Control::Ping => self.ping = Some(control),
            Control::Close => self.on_close(control.payload()),
            _ => {}
        }
    }

    /// A close frame has no payload, or a code and perhaps a text.
    fn on_close(&mut self, payload: &[u8]) {
        let end = match payload {
            [] => End::Closed(None, String::new()),
            [high, low, text @ ..] => {
                let code = CloseCode::from(u16::from_be_bytes([*high, *low]));
                End::Closed(Some(code), String::from_utf8_lossy(text).into_owned())
            }
            [_] => End::Fault(CloseCode::Protocol, "a close frame with half a code"),
        };
        self.end = Some(Box::new(end));
    }

    fn fail(&mut self, text: &'static str) {
        self.end = Some(Box::new(End::Fault(CloseCode::Protocol, text)));
    }
}

impl ControlFrame {
    /// With this payload, of which no more than 125 bytes are kept.
    pub(super) fn new(kind: Control, payload: &[u8]) -> Self {
        let mut frame = Self { kind, length: 0, bytes: [0; MAX_CONTROL] };
        frame.push(payload.get(..MAX_CONTROL).unwrap_or(payload));
        frame
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    fn push(&mut self, payload: &[u8]) {
        let start = usize::from(self.length);
        if let Some(place) = self.bytes.get_mut(start..start + payload.len()) {
            place.copy_from_slice(payload);
            self.length += payload.len() as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The payload and the end of a stream that arrives in pieces of `size` bytes.
    fn decode(stream: &[u8], size: usize) -> (Vec<u8>, Decoder) {
        let mut decoder = Decoder::default();
        let mut payload = Vec::new();
        for piece in stream.chunks(size) {
            let mut piece = piece.to_vec();
            let kept = decoder.decode(&mut piece);
            payload.extend_from_slice(&piece[..kept]);
        }
        (payload, decoder)
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            short @ 0..126 => out.push(short as u8),
            long @ 126..0x1_0000 => {
                out.push(126);
                out.extend((long as u16).to_be_bytes());
            }
            long => {
                out.push(127);
                out.extend((long as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn payload_comes_out_however_the_stream_is_cut() {
        let long: Vec<u8> = (0..70_000_u32).map(|n| n as u8).collect();
        let stream = [
            frame(0x82, b"one"),
            frame(0x82, b""),
            frame(0x02, b"two"),
            frame(0x89, b"ping"),
            frame(0x80, &[7; 300]),
            frame(0x8a, b"nobody asked"),
            frame(0x82, &long),
        ]
        .concat();
        let expected = [b"onetwo".as_slice(), &[7; 300], &long].concat();
        for size in [1, 2, 3, 5, 14, 1000, stream.len()] {
            let (payload, mut decoder) = decode(&stream, size);
            assert!(payload == expected, "pieces of {size}");
            let ping = decoder.take_ping().expect("a ping");
            assert_eq!((ping.kind, ping.payload()), (Control::Ping, &b"ping"[..]));
            assert!(!decoder.is_inside_frame() && decoder.end().is_none());
        }
    }

    #[test]
    fn the_last_ping_alone_is_answered() {
        let stream = (0..1000_u16).flat_map(|n| frame(0x89, &n.to_be_bytes())).collect::<Vec<_>>();
        let (_, mut decoder) = decode(&stream, 77);
        assert_eq!(decoder.take_ping().map(|ping| ping.payload().to_vec()), Some(vec![3, 231]));
        assert!(decoder.take_ping().is_none());
    }

    #[test]
    fn after_a_close_frame_nothing_counts() {
        let close = frame(0x88, b"\x03\xf0too much");
        let stream = [frame(0x82, b"last"), close, frame(0x82, b"no more"), vec![0xff]].concat();
        for size in [1, 4, 100] {
            let (payload, decoder) = decode(&stream, size);
            assert_eq!(payload, b"last");
            let end = End::Closed(Some(CloseCode::Policy), "too much".to_owned());
            assert_eq!(decoder.end(), Some(&end));
        }
        let (_, decoder) = decode(&frame(0x88, b""), 1);
        assert_eq!(decoder.end(), Some(&End::Closed(None, String::new())));
    }

    #[test]
    fn what_breaks_the_rules_ends_the_stream() {
        let endless = [0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
        for (stream, code, part) in [
            (frame(0x81, b"hello"), CloseCode::Unsupported, "text"),
            (frame(0x83, b""), CloseCode::Protocol, "unknown kind"),
            (frame(0x8b, b""), CloseCode::Protocol, "unknown kind"),
            (frame(0xc2, b"x"), CloseCode::Protocol, "extension"),
            (vec![0x82, 0x81, 1, 2, 3, 4, 0], CloseCode::Protocol, "masked"),
            (frame(0x80, b"x"), CloseCode::Protocol, "does not continue"),
            ([frame(0x02, b"x"), frame(0x82, b"y")].concat(), CloseCode::Protocol, "continue"),
            (frame(0x09, b""), CloseCode::Protocol, "fragmented"),
            (frame(0x89, &[0; 126]), CloseCode::Protocol, "longer than 125"),
            (frame(0x88, b"\x03"), CloseCode::Protocol, "half a code"),
            (endless.to_vec(), CloseCode::Protocol, "highest bit"),
        ] {
            for size in [1, 100] {
                let stream = [frame(0x82, b"before"), stream.clone()].concat();
                let (payload, decoder) = decode(&stream, size);
                let Some(End::Fault(got, text)) = decoder.end() else { panic!("{part}") };
                assert!(*got == code && text.contains(part), "{part}: {text}");
                assert!(payload.starts_with(b"before") && payload.len() < 8, "{part}");
            }
        }
    }

    #[test]
    fn any_bytes_leave_it_whole() {
        proptest::proptest!(|(stream: Vec<u8>, size in 1..40_usize)| {
            let (payload, decoder) = decode(&stream, size);
            let (whole, at_once) = decode(&stream, stream.len().max(1));
            proptest::prop_assert_eq!(payload, whole);
            proptest::prop_assert_eq!(decoder.end(), at_once.end());
        });
    }
}
