//! A message as the variables of an expression, each made when it is asked for.

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use ::cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use ::cel::common::value::{CowVal, Val};
use ::cel::context::VariableResolver;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::forward::fault::RuleFailure;
use crate::message::MessageView;

/// The names of the variables.
pub(super) const VARIABLES: [&str; 6] = ["levels", "payload", "qos", "retain", "topic", "user"];

pub(super) struct Scope<'m> {
    message: &'m MessageView<'m>,
    payload_limit: usize,
    payload: OnceLock<Result<Box<dyn Val + 'm>, String>>,
    levels: OnceLock<CelList<'m>>,
    user: OnceLock<CelMap<'m>>,
}

impl<'m> Scope<'m> {
    pub(super) fn new(message: &'m MessageView<'m>, payload_limit: usize) -> Self {
        let (payload, levels, user) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { message, payload_limit, payload, levels, user }
    }

    /// Why there is no `payload`, if it was asked for.
    pub(super) fn payload_failure(&self) -> Option<RuleFailure> {
        let failure = self.payload.get()?.as_ref().err()?;
        Some(RuleFailure::new(failure.as_str()))
    }

    fn parse(&self) -> Result<Box<dyn Val + 'm>, String> {
        let payload = self.message.payload;
        if payload.len() > self.payload_limit {
            return Err(format!(
                "the payload of {} bytes is larger than the {} that the expression may look at",
                payload.len(),
                self.payload_limit
            ));
        }
        let parsed: Result<Json<'m>, _> = serde_json::from_slice(payload);
        parsed.map(|json| json.0).map_err(|error| format!("the payload is not JSON: {error}"))
    }

    fn list_levels(&self) -> CelList<'m> {
        let levels = self.message.topic.split('/');
        let levels = levels.map(|level| Box::new(CelString::from(level)) as Box<dyn Val + 'm>);
        CelList::from(levels.collect::<Vec<_>>())
    }

    fn map_user(&self) -> CelMap<'m> {
        let user = self.message.properties.user_properties();
        let pairs = user.map(|(name, value)| {
            (CelMapKey::from(name), Box::new(CelString::from(value)) as Box<dyn Val + 'm>)
        });
        CelMap::from(pairs.collect::<HashMap<_, _>>())
    }
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        Some(match variable {
            "payload" => {
                let payload = self.payload.get_or_init(|| self.parse()).as_ref().ok()?;
                CowVal::Borrowed(payload.as_ref())
            }
            "levels" => CowVal::Borrowed(self.levels.get_or_init(|| self.list_levels())),
            "user" => CowVal::Borrowed(self.user.get_or_init(|| self.map_user())),
            "topic" => CowVal::owned(CelString::from(self.message.topic)),
            "qos" => CowVal::owned(CelInt::from(self.message.qos as i64)),
            "retain" => CowVal::owned(CelBool::from(self.message.retain)),
            _ => return None,
        })
    }
}

/// JSON as CEL values: numbers are `int`, `uint` beyond that, else `double`.
struct Json<'m>(Box<dyn Val + 'm>);

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json(Box::new(CelNull)))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Json(Box::new(CelBool::from(value))))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Json(Box::new(CelInt::from(value))))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(match i64::try_from(value) {
            Ok(value) => Json(Box::new(CelInt::from(value))),
            Err(_) => Json(Box::new(CelUInt::from(value))),
        })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Json(Box::new(CelDouble::from(value))))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Json(Box::new(CelString::from(value))))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Json(Box::new(CelString::from(value.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element::<Json<'de>>()? {
            elements.push(element.0);
        }
        Ok(Json(Box::new(CelList::from(elements))))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = HashMap::new();
        while let Some((key, value)) = map.next_entry::<String, Json<'de>>()? {
            members.insert(CelMapKey::from(key), value.0);
        }
        Ok(Json(Box::new(CelMap::from(members))))
    }
}
