//! CONNECT, section 3.1.

use std::fmt;

use super::publish::check_topic;
use super::{PacketType, put_packet};
use crate::error::{DecodeError, EncodeError};
use crate::property::{PropertiesRef, PropertyContext};
use crate::reason::ReasonCode;
use crate::types::{KeepAlive, QoS, Version};
use crate::wire::{Reader, put_binary, put_u16};

/// The client's first packet.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Connect<'a> {
    /// Forget the session from before; "clean session" in 3.1.1.
    pub clean_start: bool,
    /// The longest silence of the client.
    pub keep_alive: KeepAlive,
    /// The name of the session; when empty the server chooses one.
    pub client_id: &'a str,
    /// What the server publishes when the connection breaks.
    pub will: Option<Will<'a>>,
    /// The user's name.
    pub username: Option<&'a str>,
    /// The user's password; in 3.1.1 only with a user name `[MQTT-3.1.2-22]`.
    pub password: Option<&'a [u8]>,
    /// The properties; empty in 3.1.1.
    pub properties: PropertiesRef<'a>,
}

/// A message that the server publishes when the connection breaks, section 3.1.2.5.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Will<'a> {
    /// The topic name.
    pub topic: &'a str,
    /// The message itself, at most 65 535 bytes.
    pub payload: &'a [u8],
    /// The delivery guarantee.
    pub qos: QoS,
    /// Keep it for later subscribers.
    pub retain: bool,
    /// The properties; empty in 3.1.1.
    pub properties: PropertiesRef<'a>,
}

/// Without the password.
impl fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("username", &self.username)
            .field("password", &self.password.map(|_| "***"))
            .field("properties", &self.properties)
            .finish()
    }
}

impl<'a> Connect<'a> {
    /// Decodes the body of a CONNECT, which says its version itself.
    ///
    /// # Errors
    /// 0x81 for what cannot be parsed and set reserved flags; 0x82 for authentication data without
    /// method; 0x84 for another protocol or version; 0x85 for an empty client identifier that asks
    /// for a kept session in 3.1.1 `[MQTT-3.1.3-8]`.
    pub fn decode(flags: u8, body: &'a [u8]) -> Result<(Version, Self), DecodeError> {
        PacketType::Connect.check_flags(flags)?;
        let mut reader = Reader::new(body);
        let version = match (reader.utf8()?, reader.u8()?) {
            ("MQTT", 4) => Version::V311,
            ("MQTT", 5) => Version::V5,
            _ => return Err(PROTOCOL),
        };
        let flags = check_connect_flags(version, reader.u8()?)?;
        let keep_alive = KeepAlive::from_secs(reader.u16()?);
        let properties = PropertiesRef::read(&mut reader, version, PropertyContext::Connect)?;
        if properties.authentication_data().is_some()
            && properties.authentication_method().is_none()
        {
            return Err(DATA_WITHOUT_METHOD);
        }
        let client_id = reader.utf8()?;
        let clean_start = flags & CLEAN_START != 0;
        if version == Version::V311 && client_id.is_empty() && !clean_start {
            return Err(NAMELESS);
        }
        let will = match flags & WILL {
            0 => None,
            _ => Some(Will::decode(version, flags, &mut reader)?),
        };
        let username = if flags & USERNAME != 0 { Some(reader.utf8()?) } else { None };
        let password = if flags & PASSWORD != 0 { Some(reader.binary()?) } else { None };
        reader.finish()?;
        let connect =
            Self { clean_start, keep_alive, client_id, will, username, password, properties };
        Ok((version, connect))
    }

    /// Appends the whole packet.
    ///
    /// # Errors
    /// A field or the packet is too long, or the version is 3.1.1 and there is a password without
    /// a user name; nothing was appended.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if version == Version::V311 && self.password.is_some() && self.username.is_none() {
            return Err(EncodeError::NotInV311 { what: "password without a user name" });
        }
        let remaining = 10
            + self.properties.wire_len(version)
            + prefixed_len(Some(self.client_id.as_bytes()))
            + self.will.map_or(0, |will| will.wire_len(version))
            + prefixed_len(self.username.map(str::as_bytes))
            + prefixed_len(self.password);
        put_packet(out, PacketType::Connect.first_byte(), remaining, |out| {
            put_binary(out, "protocol name", b"MQTT")?;
            out.extend_from_slice(&[version.level(), self.flags()]);
            put_u16(out, self.keep_alive.as_secs());
            self.properties.put(version, out)?;
            put_binary(out, "client identifier", self.client_id.as_bytes())?;
            if let Some(will) = self.will {
                will.properties.put(version, out)?;
                put_binary(out, "will topic", will.topic.as_bytes())?;
                put_binary(out, "will payload", will.payload)?;
            }
            if let Some(username) = self.username {
                put_binary(out, "user name", username.as_bytes())?;
            }
            if let Some(password) = self.password {
                put_binary(out, "password", password)?;
            }
            Ok(())
        })
    }

    fn flags(&self) -> u8 {
        let will = self.will.map_or(0, |will| {
            WILL | (will.qos as u8) << 3 | if will.retain { WILL_RETAIN } else { 0 }
        });
        will | if self.clean_start { CLEAN_START } else { 0 }
            | if self.username.is_some() { USERNAME } else { 0 }
            | if self.password.is_some() { PASSWORD } else { 0 }
    }
}

impl<'a> Will<'a> {
    fn decode(version: Version, flags: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let properties = PropertiesRef::read(reader, version, PropertyContext::Will)?;
        let topic = check_topic(reader.binary()?)?;
        if topic.is_empty() {
            return Err(NO_WILL_TOPIC);
        }
        Ok(Self {
            topic,
            payload: reader.binary()?,
            qos: QoS::from_u8(flags >> 3 & 0b11).ok_or(WILL_QOS_3)?,
            retain: flags & WILL_RETAIN != 0,
            properties,
        })
    }

    fn wire_len(&self, version: Version) -> usize {
        self.properties.wire_len(version)
            + prefixed_len(Some(self.topic.as_bytes()))
            + prefixed_len(Some(self.payload))
    }
}

fn check_connect_flags(version: Version, flags: u8) -> Result<u8, DecodeError> {
    if flags & RESERVED != 0 {
        return Err(RESERVED_FLAG);
    }
    if flags & WILL == 0 && flags & (WILL_QOS | WILL_RETAIN) != 0 {
        return Err(WILL_FLAGS);
    }
    if flags & WILL_QOS == WILL_QOS {
        return Err(WILL_QOS_3);
    }
    if version == Version::V311 && flags & PASSWORD != 0 && flags & USERNAME == 0 {
        return Err(PASSWORD_ALONE);
    }
    Ok(flags)
}

fn prefixed_len(field: Option<&[u8]>) -> usize {
    field.map_or(0, |field| 2 + field.len())
}

const RESERVED: u8 = 1;
const CLEAN_START: u8 = 1 << 1;
const WILL: u8 = 1 << 2;
const WILL_QOS: u8 = 0b11 << 3;
const WILL_RETAIN: u8 = 1 << 5;
const PASSWORD: u8 = 1 << 6;
const USERNAME: u8 = 1 << 7;

const PROTOCOL: DecodeError = DecodeError::new(
    ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
    "CONNECT asks for a protocol other than MQTT 3.1.1 and 5",
);
const RESERVED_FLAG: DecodeError = DecodeError::malformed("CONNECT has its reserved flag set");
const WILL_FLAGS: DecodeError =
    DecodeError::malformed("CONNECT has will QoS or will retain without a will");
const WILL_QOS_3: DecodeError = DecodeError::malformed("CONNECT has will QoS 3");
const PASSWORD_ALONE: DecodeError =
    DecodeError::malformed("CONNECT has a password without a user name");
const DATA_WITHOUT_METHOD: DecodeError =
    DecodeError::protocol("CONNECT has authentication data without authentication method");
const NAMELESS: DecodeError = DecodeError::new(
    ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
    "CONNECT asks for a kept session without a client identifier",
);
const NO_WILL_TOPIC: DecodeError = DecodeError::malformed("the will's topic name is empty");
