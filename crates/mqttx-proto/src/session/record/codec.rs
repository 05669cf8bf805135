//! Records as bytes: a kind, then numbers with the least significant byte first, then texts behind their lengths.

use std::fmt;

use super::{Origin, Record, Sequence, StoredMessage};
use crate::{PacketId, PropertiesRef, PropertyContext, QoS, ReasonCode, SubscribeOptions};

/// Bytes that are no record: damaged, or written by a later version of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordError {
    what: &'static str,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl std::error::Error for RecordError {}

impl<'a> Record<'a> {
    /// Appends the record. The form is part of the format of stores: kinds and layouts stay as they are, new ones are added.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind() as u8);
        match *self {
            Self::Enqueue { sequence, message } => {
                put_u64(out, sequence.to_bits());
                put_message(out, &message);
            }
            Self::Assign { sequence, id, order } => {
                put_u64(out, sequence.to_bits());
                put_u16(out, id.get());
                put_u64(out, order);
            }
            Self::Release { sequence } | Self::Done { sequence } | Self::Requeue { sequence } => {
                put_u64(out, sequence.to_bits());
            }
            Self::Received { id } | Self::Forgotten { id } => put_u16(out, id.get()),
            Self::Subscribe { filter, options, identifier, properties } => {
                out.push(options.to_byte());
                put_u32(out, identifier.unwrap_or(0));
                put_text(out, filter);
                out.extend_from_slice(properties.as_bytes());
            }
            Self::Granted { filter, code } => {
                out.push(code.value());
                put_text(out, filter);
            }
            Self::Unsubscribe { filter } => put_text(out, filter),
            Self::Connecting | Self::Resumed => {}
            Self::Epoch { epoch, broker, client_id } => {
                put_u64(out, epoch);
                put_u64(out, broker);
                put_text(out, client_id);
            }
        }
    }

    /// Reads what [`encode`](Self::encode) wrote. Every length is checked against the bytes that are there.
    ///
    /// # Errors
    /// The bytes are no record.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let mut input = Input { rest: bytes };
        let kind = Kind::from_u8(input.u8()?).ok_or(RecordError { what: "unknown kind" })?;
        let record = match kind {
            Kind::Enqueue => {
                Self::Enqueue { sequence: input.sequence()?, message: input.message()? }
            }
            Kind::Assign => {
                Self::Assign { sequence: input.sequence()?, id: input.id()?, order: input.u64()? }
            }
            Kind::Release => Self::Release { sequence: input.sequence()? },
            Kind::Done => Self::Done { sequence: input.sequence()? },
            Kind::Requeue => Self::Requeue { sequence: input.sequence()? },
            Kind::Received => Self::Received { id: input.id()? },
            Kind::Forgotten => Self::Forgotten { id: input.id()? },
            Kind::Subscribe => {
                let options = SubscribeOptions::from_byte(input.u8()?)
                    .ok_or(RecordError { what: "unknown subscription options" })?;
                let identifier = Some(input.u32()?).filter(|&identifier| identifier != 0);
                let filter = input.text()?;
                let properties = properties(input.take_rest(), PropertyContext::Subscribe)?;
                Self::Subscribe { filter, options, identifier, properties }
            }
            Kind::Granted => {
                let code = ReasonCode::new(input.u8()?);
                Self::Granted { code, filter: input.text()? }
            }
            Kind::Unsubscribe => Self::Unsubscribe { filter: input.text()? },
            Kind::Connecting => Self::Connecting,
            Kind::Resumed => Self::Resumed,
            Kind::Epoch => {
                Self::Epoch { epoch: input.u64()?, broker: input.u64()?, client_id: input.text()? }
            }
        };
        if input.rest.is_empty() {
            Ok(record)
        } else {
            Err(RecordError { what: "bytes left over" })
        }
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::Enqueue { .. } => Kind::Enqueue,
            Self::Assign { .. } => Kind::Assign,
            Self::Release { .. } => Kind::Release,
            Self::Done { .. } => Kind::Done,
            Self::Requeue { .. } => Kind::Requeue,
            Self::Received { .. } => Kind::Received,
            Self::Forgotten { .. } => Kind::Forgotten,
            Self::Subscribe { .. } => Kind::Subscribe,
            Self::Granted { .. } => Kind::Granted,
            Self::Unsubscribe { .. } => Kind::Unsubscribe,
            Self::Connecting => Kind::Connecting,
            Self::Resumed => Kind::Resumed,
            Self::Epoch { .. } => Kind::Epoch,
        }
    }
}

macro_rules! kinds {
    ($($name:ident = $value:literal,)*) => {
        #[derive(Clone, Copy)]
        enum Kind { $($name = $value,)* }

        impl Kind {
            const fn from_u8(value: u8) -> Option<Self> {
                match value { $($value => Some(Self::$name),)* _ => None }
            }
        }
    };
}

// Zero is no kind: bytes that were never written are no record.
kinds! {
    Enqueue = 1,
    Assign = 2,
    Release = 3,
    Done = 4,
    Requeue = 5,
    Received = 6,
    Forgotten = 7,
    Subscribe = 8,
    Granted = 9,
    Unsubscribe = 10,
    Connecting = 11,
    Resumed = 12,
    Epoch = 13,
}

const QOS: u8 = 0b0011;
const RETAIN: u8 = 0b0100;
const EXPIRES: u8 = 0b1000;
const GIVEN_UP: u8 = 0b1_0000;
const ORIGIN: u8 = 0b10_0000;

fn put_message(out: &mut Vec<u8>, message: &StoredMessage<'_>) {
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    out.push(
        message.qos as u8
            | flag(message.retain, RETAIN)
            | flag(message.expires_at.is_some(), EXPIRES)
            | flag(message.give_up_at.is_some(), GIVEN_UP)
            | flag(message.origin.is_some(), ORIGIN),
    );
    for at in [message.expires_at, message.give_up_at].into_iter().flatten() {
        put_u64(out, at);
    }
    if let Some(origin) = message.origin {
        put_u32(out, origin.get());
    }
    put_u32(out, message.properties.as_bytes().len() as u32);
    put_text(out, message.topic);
    out.extend_from_slice(message.properties.as_bytes());
    out.extend_from_slice(message.payload);
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Topics, filters and client ids have at most 65 535 bytes `[MQTT-1.5.4-1]`.
fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u16(out, text.len() as u16);
    out.extend_from_slice(text.as_bytes());
}

fn properties(bytes: &[u8], context: PropertyContext) -> Result<PropertiesRef<'_>, RecordError> {
    PropertiesRef::parse(bytes, context).map_err(|_| RecordError { what: "damaged properties" })
}

struct Input<'a> {
    rest: &'a [u8],
}

const TOO_SHORT: RecordError = RecordError { what: "too short" };

impl<'a> Input<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (value, rest) = self.rest.split_first_chunk::<N>().ok_or(TOO_SHORT)?;
        self.rest = rest;
        Ok(*value)
    }

    fn u8(&mut self) -> Result<u8, RecordError> {
        self.array::<1>().map(|[value]| value)
    }

    fn u16(&mut self) -> Result<u16, RecordError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_le_bytes)
    }

    fn sequence(&mut self) -> Result<Sequence, RecordError> {
        self.u64().map(Sequence::from_bits)
    }

    fn id(&mut self) -> Result<PacketId, RecordError> {
        PacketId::new(self.u16()?).ok_or(RecordError { what: "packet id 0" })
    }

    fn bytes(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (value, rest) = self.rest.split_at_checked(len).ok_or(TOO_SHORT)?;
        self.rest = rest;
        Ok(value)
    }

    fn text(&mut self) -> Result<&'a str, RecordError> {
        let len = self.u16()?.into();
        str::from_utf8(self.bytes(len)?).map_err(|_| RecordError { what: "text is not UTF-8" })
    }

    fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    fn message(&mut self) -> Result<StoredMessage<'a>, RecordError> {
        let flags = self.u8()?;
        let qos = QoS::from_u8(flags & QOS).filter(|qos| *qos != QoS::AtMostOnce);
        let qos = qos.ok_or(RecordError { what: "not QoS 1 or 2" })?;
        let expires_at = if flags & EXPIRES != 0 { Some(self.u64()?) } else { None };
        let give_up_at = if flags & GIVEN_UP != 0 { Some(self.u64()?) } else { None };
        let origin = if flags & ORIGIN != 0 { Origin::new(self.u32()?) } else { None };
        let properties_len = self.u32()? as usize;
        let topic = self.text()?;
        let properties = properties(self.bytes(properties_len)?, PropertyContext::Publish)?;
        let retain = flags & RETAIN != 0;
        let payload = self.take_rest();
        Ok(StoredMessage {
            topic,
            payload,
            qos,
            retain,
            properties,
            expires_at,
            give_up_at,
            origin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Priority, RecordBatch};
    use super::*;
    use crate::{Properties, Property, RetainHandling};

    fn all(properties: &Properties) -> Vec<Record<'_>> {
        let sequence = Sequence::new(Priority::HIGHEST, 77);
        let id = PacketId::new(9).unwrap();
        let message = StoredMessage {
            topic: "a/b",
            payload: b"hello",
            qos: QoS::ExactlyOnce,
            retain: true,
            properties: properties.as_ref(),
            expires_at: Some(1_700_000_000_000),
            give_up_at: None,
            origin: Origin::new(0x0102_0304),
        };
        let plain = StoredMessage {
            payload: b"",
            retain: false,
            properties: PropertiesRef::EMPTY,
            expires_at: None,
            give_up_at: Some(5),
            origin: None,
            qos: QoS::AtLeastOnce,
            ..message
        };
        let options = SubscribeOptions {
            qos: QoS::AtLeastOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::DoNotSend,
        };
        let subscribe = |identifier| Record::Subscribe {
            filter: "a/#",
            options,
            identifier,
            properties: PropertiesRef::EMPTY,
        };
        vec![
            Record::Enqueue { sequence, message },
            Record::Enqueue { sequence, message: plain },
            Record::Assign { sequence, id, order: 3 },
            Record::Release { sequence },
            Record::Done { sequence },
            Record::Requeue { sequence },
            Record::Received { id },
            Record::Forgotten { id },
            subscribe(Some(268_435_455)),
            subscribe(None),
            Record::Granted { filter: "a/#", code: ReasonCode::GRANTED_QOS_1 },
            Record::Unsubscribe { filter: "" },
            Record::Connecting,
            Record::Resumed,
            Record::Epoch { epoch: 1, broker: u64::MAX, client_id: "gw" },
        ]
    }

    fn properties() -> Properties {
        let mut properties = Properties::new();
        properties.push(Property::MessageExpiryInterval(60)).unwrap();
        properties.user_property("k", "v").unwrap();
        properties
    }

    #[test]
    fn every_record_comes_back_as_it_was() {
        let properties = properties();
        let records = all(&properties);
        let mut batch = RecordBatch::new();
        records.iter().for_each(|record| batch.push(record));
        assert_eq!(batch.len(), records.len());
        let back: Vec<_> = batch.iter().map(Result::unwrap).collect();
        assert_eq!(back, records);
        let mut copy = RecordBatch::new();
        batch.iter().raw().for_each(|bytes| copy.push_raw(bytes));
        assert_eq!(copy, batch);
    }

    #[test]
    fn a_shorter_or_changed_record_never_panics() {
        let properties = properties();
        for record in all(&properties) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            for len in 0..bytes.len() {
                // Some are records of their own, with a shorter payload.
                let _ = Record::decode(&bytes[..len]);
                for bit in 0..8 {
                    let mut changed = bytes.clone();
                    changed[len] ^= 1 << bit;
                    let _ = Record::decode(&changed);
                }
            }
            assert_eq!(Record::decode(&bytes), Ok(record));
        }
        assert!(Record::decode(&[]).is_err() && Record::decode(&[0]).is_err());
    }

    #[test]
    fn the_bytes_of_a_record_stay_what_they_are() {
        // Stores of earlier versions hold these bytes.
        let properties = properties();
        let hex = |record: &Record<'_>| {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let shown: Vec<String> = all(&properties).iter().map(hex).collect();
        let own = "0068e5cf8b010000";
        assert!(
            shown[0].starts_with(&format!("014d000000000000c02e{own}04030201")),
            "{}",
            shown[0]
        );
        assert_eq!(
            shown[1],
            "014d000000000000c01105000000000000000000000003 00612f62".replace(' ', "")
        );
        assert_eq!(shown[2], "024d000000000000c009000300000000000000");
        assert_eq!(shown[8], "082dffffff0f0300612f23");
        assert_eq!(shown[14], "0d0100000000000000ffffffffffffffff02006777");
    }
}
