//! What must hold for any bytes whatsoever: shared by the fuzz target and the tests.

use mqttx_proto::{Frame, FrameStatus, Packet, Version, decode, frame};

/// Reads `data` as a stream, its first byte choosing the version.
///
/// # Panics
/// When a packet that was decoded cannot be encoded and decoded to the same again, or when the
/// decoder itself panics.
pub(crate) fn exercise(data: &[u8]) {
    let Some((choice, mut stream)) = data.split_first() else { return };
    let version = if choice % 2 == 0 { Version::V311 } else { Version::V5 };
    while let Ok(FrameStatus::Complete(found)) = frame(stream, version, u32::MAX) {
        check_frame(stream, version, found);
        let body = found.body(stream);
        let Ok(packet) = decode(version, found.first_byte, body) else { return };
        assert!(body.len() + found.header_len == found.total_len);
        check_packet(version, &packet);
        stream = stream.get(found.total_len..).unwrap_or_default();
    }
}

fn check_frame(stream: &[u8], version: Version, found: Frame) {
    let limit = found.total_len as u32;
    assert_eq!(frame(stream, version, limit), Ok(FrameStatus::Complete(found)));
    let refused = frame(stream, version, limit - 1).map_err(|error| error.reason.value());
    assert_eq!(refused, Err(0x95), "one byte too large");
    let one_less = stream.get(..found.total_len - 1).unwrap_or_default();
    assert!(matches!(frame(one_less, version, limit), Ok(FrameStatus::Incomplete { .. })));
}

fn check_packet(version: Version, packet: &Packet<'_>) {
    let mut out = Vec::new();
    if let Err(error) = packet.encode(version, &mut out) {
        panic!("{packet:?} was decoded, but does not encode: {error}");
    }
    match frame(&out, version, u32::MAX) {
        Ok(FrameStatus::Complete(found)) if found.total_len == out.len() => {
            let again = decode(version, found.first_byte, found.body(&out));
            assert_eq!(again.as_ref(), Ok(packet), "encoded as {out:02x?}");
        }
        other => panic!("{packet:?} was encoded as {out:02x?}, which is {other:?}"),
    }
}
