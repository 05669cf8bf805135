//! MQTT properties in a configuration file: `{ content-type = "text/plain", user-property = [["k", "v"]] }`.

use std::fmt;

use mqttx_proto::{Properties, PropertyContext, PropertyId, WireType};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Reads a table of will properties by their dashed names.
///
/// # Errors
/// Names that do not exist, values of the wrong kind or out of range.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Properties, D::Error> {
    deserializer.deserialize_map(Table)
}

/// Reads user properties alone: a table of names and values, or a list of pairs.
///
/// # Errors
/// Strings that MQTT does not allow.
pub(super) fn deserialize_user<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, String)>, D::Error> {
    Pairs::deserialize(deserializer).map(|pairs| pairs.0)
}

struct Table;

impl<'de> Visitor<'de> for Table {
    type Value = Properties;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of MQTT properties")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Properties, A::Error> {
        let mut raw = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let id = PropertyId::from_name(&name)
                .ok_or_else(|| A::Error::custom(format!("unknown property '{name}'")))?;
            if id.wire_type() == WireType::Utf8Pair {
                for (key, value) in map.next_value::<Pairs>()?.0 {
                    raw.push(id as u8);
                    string(&mut raw, key.as_bytes())
                        .and_then(|()| string(&mut raw, value.as_bytes()))
                        .map_err(A::Error::custom)?;
                }
                continue;
            }
            raw.push(id as u8);
            append(&mut raw, id.wire_type(), &map.next_value::<Value>()?)
                .map_err(|what| A::Error::custom(format!("property '{name}': {what}")))?;
        }
        Properties::from_raw(raw, PropertyContext::Will)
            .map_err(|error| A::Error::custom(error.detail))
    }
}

/// Appends a value in its wire form (section 2.2.2.2).
fn append(raw: &mut Vec<u8>, wire_type: WireType, value: &Value) -> Result<(), &'static str> {
    match (wire_type, value) {
        (WireType::Byte, Value::Number(number)) => {
            raw.push(u8::try_from(*number).map_err(|_| "0 to 255 is allowed")?);
        }
        (WireType::TwoByte, Value::Number(number)) => {
            let number = u16::try_from(*number).map_err(|_| "0 to 65535 is allowed")?;
            raw.extend_from_slice(&number.to_be_bytes());
        }
        (WireType::FourByte, Value::Number(number)) => {
            raw.extend_from_slice(&number.to_be_bytes());
        }
        (WireType::Utf8 | WireType::Binary, Value::Text(text)) => string(raw, text.as_bytes())?,
        (WireType::Utf8 | WireType::Binary, _) => return Err("text is expected"),
        _ => return Err("a number is expected"),
    }
    Ok(())
}

fn string(raw: &mut Vec<u8>, bytes: &[u8]) -> Result<(), &'static str> {
    let len = u16::try_from(bytes.len()).map_err(|_| "at most 65535 bytes are allowed")?;
    raw.extend_from_slice(&len.to_be_bytes());
    raw.extend_from_slice(bytes);
    Ok(())
}

enum Value {
    Number(u32),
    Text(String),
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a number or a truth value")
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.to_owned()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Number(value.into()))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
                u32::try_from(number).map(Value::Number).map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Value, E> {
                u32::try_from(number).map(Value::Number).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of names and values, or a list of pairs")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = seq.next_element()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
