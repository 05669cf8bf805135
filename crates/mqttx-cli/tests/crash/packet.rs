//! Just enough of MQTT for the broker, written apart from mqttx.

/// Two versions, told apart by the level in CONNECT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Version {
    V311,
    V5,
}

/// A packet of a client.
#[derive(Debug)]
pub(crate) enum Packet {
    Connect { version: Version, clean: bool },
    Publish { dup: bool, qos: u8, id: u16, payload: Vec<u8> },
    PubAck(u16),
    PubRec(u16),
    PubRel(u16),
    PubComp(u16),
    Subscribe(u16),
    Ping,
    Disconnect,
}

impl Packet {
    /// Reads a whole packet. Properties of PUBLISH and codes of acknowledgements are skipped.
    pub(crate) fn parse(version: Version, bytes: &[u8]) -> Result<Self, String> {
        Self::read(version, bytes)
            .ok_or_else(|| format!("malformed packet: {}", mqttx_test::shown(bytes)))
    }

    fn read(version: Version, bytes: &[u8]) -> Option<Self> {
        let first = *bytes.first()?;
        let body = &bytes[varint(&bytes[1..])?.1 + 1..];
        let id = || Some(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
        Some(match first {
            0x10 => {
                let version = match body.get(6)? {
                    4 => Version::V311,
                    5 => Version::V5,
                    _ => return None,
                };
                Self::Connect { version, clean: body.get(7)? & 2 != 0 }
            }
            0x40 => Self::PubAck(id()?),
            0x50 => Self::PubRec(id()?),
            0x62 => Self::PubRel(id()?),
            0x70 => Self::PubComp(id()?),
            0x82 => Self::Subscribe(id()?),
            0xc0 => Self::Ping,
            0xe0 => Self::Disconnect,
            _ if first >> 4 == 3 => {
                let qos = first >> 1 & 3;
                let topic = usize::from(id()?);
                let rest = body.get(2 + topic..)?;
                let id = u16::from_be_bytes([*rest.first()?, *rest.get(1)?]);
                let mut rest = &rest[2..];
                if version == Version::V5 {
                    let (length, taken) = varint(rest)?;
                    rest = rest.get(taken + length..)?;
                }
                Self::Publish { dup: first & 8 != 0, qos, id, payload: rest.to_vec() }
            }
            _ => return None,
        })
    }
}

/// CONNACK that accepts, with the limits of MQTT 5 that are given.
pub(crate) fn connack(version: Version, present: bool, receive_maximum: Option<u16>) -> Vec<u8> {
    let mut body = vec![u8::from(present), 0];
    if version == Version::V5 {
        let properties = receive_maximum
            .map_or_else(Vec::new, |maximum| [&[0x21][..], &maximum.to_be_bytes()].concat());
        body.push(properties.len() as u8);
        body.extend(properties);
    }
    packet(0x20, &body)
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP, by its first byte.
pub(crate) fn ack(first: u8, id: u16) -> Vec<u8> {
    packet(first, &id.to_be_bytes())
}

/// PUBCOMP for an id that is not known.
pub(crate) fn unknown_id(version: Version, id: u16) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0x92);
    }
    packet(0x70, &body)
}

/// SUBACK that grants one filter.
pub(crate) fn suback(version: Version, id: u16, qos: u8) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    body.push(qos);
    packet(0x90, &body)
}

pub(crate) fn publish(version: Version, dup: bool, qos: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 1, b't'];
    body.extend(id.to_be_bytes());
    if version == Version::V5 {
        body.push(0);
    }
    body.extend(payload);
    packet(0x30 | u8::from(dup) << 3 | qos << 1, &body)
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let digit = (left & 0x7f) as u8;
        left >>= 7;
        bytes.push(if left > 0 { digit | 0x80 } else { digit });
        if left == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// The length of the first packet in `bytes`, once it is there as a whole.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    let (length, taken) = varint(bytes.get(1..)?)?;
    Some(1 + taken + length).filter(|&total| total <= bytes.len())
}

/// A variable byte integer and how many bytes it takes.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}
