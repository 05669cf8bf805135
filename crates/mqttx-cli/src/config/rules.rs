//! The rules in `[forwarders.NAME]` besides sources and targets: filter, transform, metadata, dead letters, rate.

use std::collections::BTreeMap;
use std::time::Duration;

use mqttx::{Filter, ForwarderBuilder, OnFilterError, RateLimit, RuleError, Transform};
use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::{Number, Value as Json};
use toml::Value;

use super::extract::place_of;
use super::layout::Part;
use super::report::Report;

/// What these keys say.
#[derive(Debug, Default)]
pub(super) struct RuleSections {
    pub(super) filter: Option<String>,
    pub(super) on_filter_error: Option<OnFilterErrorName>,
    pub(super) transform: Vec<TransformSection>,
    pub(super) metadata: BTreeMap<String, Value>,
    pub(super) max_hops: Option<u8>,
    pub(super) rate_limit: Option<RateLimitSection>,
    pub(super) dead_letter: Option<DeadLetterSection>,
}

/// `on_filter_error`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OnFilterErrorName {
    Pass,
    Drop,
    DeadLetter,
}

/// An element of `transform`: the first of its keys says what it does.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TransformSection {
    set: Option<String>,
    value: Option<Value>,
    rename: Option<String>,
    remove: Option<String>,
    payload: Option<String>,
    topic: Option<String>,
    to: Option<String>,
}

/// `rate_limit`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RateLimitSection {
    messages: Option<u64>,
    #[serde(deserialize_with = "mqttx::human::optional_bytes")]
    bytes: Option<usize>,
    #[serde(deserialize_with = "mqttx::human::optional_duration")]
    per: Option<Duration>,
}

/// `dead_letter`; what is missing is found by the library's builder.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DeadLetterSection {
    pub(super) session: String,
    topic: String,
}

/// `max_hops`, so that a number that does not fit is said to be out of its range.
pub(super) fn hops<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    let hops = i64::deserialize(deserializer)?;
    let allowed = u8::try_from(hops).ok().filter(|hops| *hops > 0);
    let wrong = || serde::de::Error::custom(format!("{hops} hops: allowed are 1 to 255"));
    allowed.map(Some).ok_or_else(wrong)
}

/// Adds the rules to a forwarder; what cannot be is reported at its place. The table comes as it stands in the file,
/// and as what could be read of it.
pub(super) fn add(
    mut builder: ForwarderBuilder,
    rules: RuleSections,
    (whole, part): (&Part<'_>, &Part<'_>),
    report: &mut Report<'_>,
) -> ForwarderBuilder {
    let mut wrong = |path: &str, value: &str, message: &str| {
        let name = &part.name;
        let text = format!("forwarders.{name}.{path} = {value:?}: {message}");
        report.add(part.file, &place_of(part, path), text);
    };
    if let Some(expression) = rules.filter {
        match Filter::cel(&expression) {
            Ok(filter) => builder = builder.filter(filter),
            Err(error) => wrong("filter", error.value(), error.message()),
        }
    }
    if let Some(what) = rules.on_filter_error {
        builder = builder.on_filter_error(match what {
            OnFilterErrorName::Pass => OnFilterError::Pass,
            OnFilterErrorName::Drop => OnFilterError::Drop,
            OnFilterErrorName::DeadLetter => OnFilterError::DeadLetter,
        });
    }
    for (n, section) in rules.transform.into_iter().enumerate() {
        match section.compile() {
            Ok(transform) => builder = builder.transform(transform),
            Err(("", ..)) if keys(whole, n) != keys(part, n) => {
                // What is missing was there, and reported.
                builder = builder.transform(Transform::default());
            }
            Err((key, value, message)) => {
                let path = format!("transform[{n}]");
                let path = if key.is_empty() { path } else { format!("{path}.{key}") };
                wrong(&path, &value, &message);
                // The numbers of those behind it stay what they are.
                builder = builder.transform(Transform::default());
            }
        }
    }
    for (name, value) in rules.metadata {
        match to_json(&value) {
            Ok(value) => builder = builder.metadata(&name, value),
            Err(message) => wrong(&format!("metadata[{name:?}]"), &value.to_string(), &message),
        }
    }
    if let Some(hops) = rules.max_hops {
        builder = builder.max_hops(hops);
    }
    if let Some(limit) = rules.rate_limit {
        let mut rate = RateLimit::per(limit.per.unwrap_or(Duration::from_secs(1)));
        if let Some(messages) = limit.messages {
            rate = rate.with_messages(messages);
        }
        if let Some(bytes) = limit.bytes {
            rate = rate.bytes(bytes as u64);
        }
        builder = builder.rate_limit(rate);
    }
    match rules.dead_letter {
        Some(letters) => builder.dead_letter(letters.session, letters.topic),
        None => builder,
    }
}

/// How many keys a transform has.
fn keys(part: &Part<'_>, n: usize) -> Option<usize> {
    let transforms = part.table.get("transform")?.get_ref().as_array()?;
    Some(transforms.get(n)?.get_ref().as_table()?.len())
}

/// The key that is wrong, its value, and what is wrong with it.
type Wrong = (&'static str, String, String);

impl TransformSection {
    fn compile(self) -> Result<Transform, Wrong> {
        let kinds = [
            ("set", self.set.is_some()),
            ("rename", self.rename.is_some()),
            ("remove", self.remove.is_some()),
            ("payload", self.payload.is_some()),
            ("topic", self.topic.is_some()),
        ];
        let given: Vec<&str> = kinds.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
        let [kind] = *given else {
            let message = "one of set, rename, remove, payload and topic is needed".to_owned();
            return Err(("", given.join(", "), message));
        };
        if self.value.is_some() && kind != "set" {
            return Err(("value", String::new(), format!("{kind} has no value")));
        }
        if self.to.is_some() && !matches!(kind, "rename" | "topic") {
            return Err(("to", String::new(), format!("{kind} has no to")));
        }
        let needs = |key: &str| ("", kind.to_owned(), format!("{kind} needs {key}"));
        let at = |key| move |error: RuleError| (key, error.value().into(), error.message().into());
        match self {
            Self { set: Some(pointer), value, .. } => {
                let value = value.ok_or_else(|| needs("value"))?;
                let json = to_json(&value).map_err(|m| ("value", value.to_string(), m))?;
                Transform::set(&pointer, json).map_err(|error| {
                    let key = if error.value() == pointer { "set" } else { "value" };
                    at(key)(error)
                })
            }
            Self { rename: Some(from), to, .. } => {
                let to = to.ok_or_else(|| needs("to"))?;
                Transform::rename(&from, &to).map_err(|error| {
                    let key = if error.value() == from { "rename" } else { "to" };
                    at(key)(error)
                })
            }
            Self { remove: Some(pointer), .. } => Transform::remove(&pointer).map_err(at("remove")),
            Self { payload: Some(text), .. } => Transform::payload(&text).map_err(at("payload")),
            Self { topic: Some(expression), to, .. } => {
                let to = to.ok_or_else(|| needs("to"))?;
                Transform::topic(&expression, &to).map_err(at("topic"))
            }
            Self { .. } => Ok(Transform::default()),
        }
    }
}

/// The same value in JSON; times become text.
fn to_json(value: &Value) -> Result<Json, String> {
    Ok(match value {
        Value::String(text) => Json::String(text.clone()),
        Value::Integer(number) => Json::Number((*number).into()),
        Value::Float(number) => Number::from_f64(*number)
            .map(Json::Number)
            .ok_or_else(|| format!("JSON has no number {number}"))?,
        Value::Boolean(is) => Json::Bool(*is),
        Value::Datetime(time) => Json::String(time.to_string()),
        Value::Array(elements) => {
            Json::Array(elements.iter().map(to_json).collect::<Result<_, _>>()?)
        }
        Value::Table(members) => {
            let members = members.iter().map(|(key, value)| Ok((key.clone(), to_json(value)?)));
            Json::Object(members.collect::<Result<_, String>>()?)
        }
    })
}
