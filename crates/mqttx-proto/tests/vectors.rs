//! Every line of `tests/vectors/*.txt` is what it says. The notation: `tests/vectors/README.md`.

#![expect(clippy::unwrap_used, reason = "a vector that cannot be read fails the test")]

mod support;

use mqttx_proto::{DecodeError, FrameStatus, Packet, Version, decode, frame};

const FILES: [(&str, &str); 6] = [
    ("acks.txt", include_str!("vectors/acks.txt")),
    ("connack.txt", include_str!("vectors/connack.txt")),
    ("connect.txt", include_str!("vectors/connect.txt")),
    ("publish.txt", include_str!("vectors/publish.txt")),
    ("rest.txt", include_str!("vectors/rest.txt")),
    ("subscribe.txt", include_str!("vectors/subscribe.txt")),
];

#[derive(Clone)]
struct Vector {
    place: String,
    version: Version,
    name: String,
    expected: Expected,
    bytes: Vec<u8>,
    text: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Expected {
    Ok,
    Alt,
    Error(u8),
}

#[test]
fn every_vector_is_what_it_says() {
    let problems: Vec<String> = vectors()
        .iter()
        .filter_map(|v| check(v).err().map(|e| format!("{}: {e}", v.place)))
        .collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn every_packet_type_has_valid_and_malformed_vectors_in_each_version() {
    for version in [Version::V311, Version::V5] {
        for first_byte in (0x10..=0xF0).step_by(0x10) {
            let name = mqttx_proto::PacketType::from_first_byte(first_byte).unwrap().name();
            if name == "AUTH" && version == Version::V311 {
                continue;
            }
            let of_type = |ok: bool| {
                vectors().iter().any(|v| {
                    v.name == name
                        && v.version == version
                        && matches!(v.expected, Expected::Error(_)) != ok
                })
            };
            assert!(of_type(true), "no valid {name} in {version}");
            assert!(of_type(false), "no malformed {name} in {version}");
        }
    }
}

/// However the bytes are split, the answer is "incomplete" until the last one is there, and the
/// length of the whole is right as soon as it is known.
#[test]
fn every_prefix_of_a_valid_packet_is_incomplete() {
    for vector in vectors().iter().filter(|v| !matches!(v.expected, Expected::Error(_))) {
        for len in (0..vector.bytes.len()).take(300) {
            match frame(&vector.bytes[..len], vector.version, u32::MAX) {
                Ok(FrameStatus::Incomplete { total_len: Some(total) }) => {
                    assert_eq!(total, vector.bytes.len(), "{}", vector.place);
                }
                Ok(FrameStatus::Incomplete { total_len: None }) => {
                    assert!(len < 5, "{}: {len} bytes must show the length", vector.place);
                }
                other => panic!("{}: {len} bytes give {other:?}", vector.place),
            }
        }
    }
}

/// What follows a packet in the stream does not change it.
#[test]
fn bytes_behind_a_packet_do_not_change_it() {
    for vector in vectors().iter().filter(|v| !matches!(v.expected, Expected::Error(_))) {
        let mut longer = vector.bytes.clone();
        longer.extend_from_slice(&[0x00, 0xFF]);
        assert_eq!(
            frame(&longer, vector.version, u32::MAX),
            frame(&vector.bytes, vector.version, u32::MAX),
            "{}",
            vector.place
        );
    }
}

/// A body that is cut at any byte is another packet, which can be encoded, or an error.
#[test]
fn a_body_that_is_cut_short_never_panics() {
    for vector in vectors() {
        let Ok(FrameStatus::Complete(found)) = frame(&vector.bytes, vector.version, u32::MAX)
        else {
            continue;
        };
        let body = found.body(&vector.bytes);
        for len in (0..body.len()).take(300) {
            if let Ok(packet) = decode(vector.version, found.first_byte, &body[..len]) {
                let mut out = Vec::new();
                packet.encode(vector.version, &mut out).unwrap();
                assert!(out.len() <= vector.bytes.len(), "{}", vector.place);
            }
        }
    }
}

fn check(vector: &Vector) -> Result<(), String> {
    match (decode_whole(vector), vector.expected) {
        (Err(error), Expected::Error(code)) => {
            if error.reason.value() != code || !error.detail.contains(&vector.text) {
                return Err(format!("refused with {error}"));
            }
            Ok(())
        }
        (Ok(Some(packet)), Expected::Ok | Expected::Alt) => check_packet(vector, &packet),
        (Ok(None), _) => Err("is incomplete".to_owned()),
        (Ok(Some(packet)), _) => Err(format!("decodes to {packet:?}")),
        (Err(error), _) => Err(format!("is refused with {error}")),
    }
}

fn decode_whole(vector: &Vector) -> Result<Option<Packet<'_>>, DecodeError> {
    match frame(&vector.bytes, vector.version, u32::MAX)? {
        FrameStatus::Complete(found) if found.total_len == vector.bytes.len() => {
            decode(vector.version, found.first_byte, found.body(&vector.bytes)).map(Some)
        }
        _ => Ok(None),
    }
}

fn check_packet(vector: &Vector, packet: &Packet<'_>) -> Result<(), String> {
    let found = support::describe(packet);
    if found != vector.text {
        return Err(format!("decodes to\n    {found}\n  not\n    {}", vector.text));
    }
    if packet.packet_type().name() != vector.name {
        return Err(format!("is a {}", packet.packet_type()));
    }
    let before = [0xAA, 0xBB];
    let mut out = before.to_vec();
    packet.encode(vector.version, &mut out).map_err(|e| format!("does not encode: {e}"))?;
    let encoded = out.strip_prefix(&before).ok_or("encoding changed what was there before")?;
    if (encoded == vector.bytes) != (vector.expected == Expected::Ok) {
        return Err(format!("encodes to {encoded:02x?}"));
    }
    let again = Vector { bytes: encoded.to_vec(), ..vector.clone() };
    match decode_whole(&again) {
        Ok(Some(again)) if again == *packet => Ok(()),
        other => Err(format!("encodes to what decodes as {other:?}")),
    }
}

fn vectors() -> Vec<Vector> {
    let lines = FILES.iter().flat_map(|(file, text)| {
        text.lines().enumerate().map(move |(n, line)| (format!("{file}:{}", n + 1), line))
    });
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .flat_map(|(place, line)| parse(&place, line))
        .collect()
}

fn parse(place: &str, line: &str) -> Vec<Vector> {
    let fail = |what: &str| -> ! { panic!("{place}: no {what} in: {line}") };
    let Some((head, rest)) = line.split_once(':') else { fail("colon") };
    let Some((bytes, text)) = rest.split_once("=>") else { fail("arrow") };
    let words: Vec<_> = head.split_whitespace().collect();
    let (versions, name, expected) = match *words.as_slice() {
        [versions, name, "ok"] => (versions, name, Expected::Ok),
        [versions, name, "alt"] => (versions, name, Expected::Alt),
        [versions, name, "error", code] => {
            (versions, name, Expected::Error(u8::from_str_radix(code, 16).unwrap()))
        }
        _ => fail("version, name, expectation"),
    };
    let versions = match versions {
        "v3" => vec![Version::V311],
        "v5" => vec![Version::V5],
        "v3+v5" => vec![Version::V311, Version::V5],
        _ => fail("version"),
    };
    let vector = |version| Vector {
        place: place.to_owned(),
        version,
        name: name.to_owned(),
        expected,
        bytes: parse_bytes(bytes),
        text: text.trim().to_owned(),
    };
    versions.into_iter().map(vector).collect()
}

/// Hexadecimal digits, text in quotes, and `*N` behind either.
fn parse_bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (mut group, after) = if let Some(quoted) = rest.strip_prefix('\'') {
            let (inside, after) = quoted.split_once('\'').unwrap();
            (inside.as_bytes().to_vec(), after)
        } else {
            let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
            assert!(end > 0 && end % 2 == 0, "no pairs of digits: {rest}");
            let pairs = (0..end).step_by(2);
            let group = pairs.map(|at| u8::from_str_radix(&rest[at..at + 2], 16).unwrap());
            (group.collect(), &rest[end..])
        };
        rest = after;
        if let Some(count) = after.strip_prefix('*') {
            let end = count.find(|c: char| !c.is_ascii_digit()).unwrap_or(count.len());
            group = group.repeat(count[..end].parse().unwrap());
            rest = &count[end..];
        }
        out.append(&mut group);
        rest = rest.trim_start();
    }
    out
}
