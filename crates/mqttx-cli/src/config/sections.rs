//! The tables that are the daemon's own.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use mqttx::{QoS, QosRule, RetainRule};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use super::levels::LogLevels;
use super::rules::{DeadLetterSection, OnFilterErrorName, RateLimitSection, TransformSection};

/// `[daemon]`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DaemonSection {
    /// The daemon's name in what it reports.
    #[serde(deserialize_with = "name")]
    pub(crate) name: Option<String>,
    /// Where state is kept, relative to the file; `state`. It is not created before something is kept.
    pub(crate) data_dir: Option<String>,
    /// How long a stop may take; 20 s.
    #[serde(deserialize_with = "mqttx::human::duration")]
    pub(crate) shutdown_grace: Duration,
    /// CONNECTs per second of the whole process.
    #[serde(deserialize_with = "rate")]
    pub(crate) connect_rate: Option<u32>,
}

impl Default for DaemonSection {
    fn default() -> Self {
        Self {
            name: None,
            data_dir: None,
            shutdown_grace: Duration::from_secs(20),
            connect_rate: None,
        }
    }
}

/// Two daemons without a name would take each other's messages for their own that came back.
fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(deserializer)?;
    if name.trim().is_empty() {
        let expected = "a name, or no such key: then the daemon makes one";
        return Err(D::Error::invalid_value(Unexpected::Str(&name), &expected));
    }
    Ok(Some(name))
}

/// `[log]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogSection {
    pub(crate) format: LogFormat,
    /// Which messages: `info,mqttx::wire=warn`.
    pub(crate) level: LogLevels,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// `[forwarders.NAME]`; what is missing is found by the library's builder.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ForwarderSection {
    pub(super) enabled: bool,
    pub(super) from: Vec<FromSection>,
    pub(super) to: Vec<ToSection>,
    pub(super) window: Option<usize>,
    pub(super) qos0_queue: Option<usize>,
    #[serde(deserialize_with = "mqttx::human::optional_duration")]
    pub(super) ack_timeout: Option<Duration>,
    /// A CEL expression.
    pub(super) filter: Option<String>,
    pub(super) on_filter_error: Option<OnFilterErrorName>,
    pub(super) transform: Vec<TransformSection>,
    pub(super) metadata: BTreeMap<String, toml::Value>,
    #[serde(deserialize_with = "super::rules::hops")]
    pub(super) max_hops: Option<u8>,
    pub(super) rate_limit: Option<RateLimitSection>,
    pub(super) dead_letter: Option<DeadLetterSection>,
}

impl Default for ForwarderSection {
    fn default() -> Self {
        Self {
            enabled: true,
            from: Vec::new(),
            to: Vec::new(),
            window: None,
            qos0_queue: None,
            ack_timeout: None,
            filter: None,
            on_filter_error: None,
            transform: Vec::new(),
            metadata: BTreeMap::new(),
            max_hops: None,
            rate_limit: None,
            dead_letter: None,
        }
    }
}

/// An element of `from`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FromSection {
    pub(super) session: String,
    pub(super) topics: Vec<String>,
    #[serde(deserialize_with = "qos")]
    pub(super) qos: QoS,
}

impl Default for FromSection {
    fn default() -> Self {
        Self { session: String::new(), topics: Vec::new(), qos: QoS::AtLeastOnce }
    }
}

/// An element of `to`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ToSection {
    pub(super) session: String,
    pub(super) topic: Option<String>,
    pub(super) map: BTreeMap<String, String>,
    #[serde(deserialize_with = "qos_rule")]
    pub(super) qos: QosRule,
    #[serde(deserialize_with = "retain_rule")]
    pub(super) retain: RetainRule,
    pub(super) required: bool,
    /// Sessions that take the place of a session that is down.
    pub(super) failover: Vec<String>,
}

impl Default for ToSection {
    fn default() -> Self {
        Self {
            session: String::new(),
            topic: None,
            map: BTreeMap::new(),
            qos: QosRule::Source,
            retain: RetainRule::Source,
            required: true,
            failover: Vec::new(),
        }
    }
}

fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    match u32::deserialize(deserializer)? {
        0 => Err(D::Error::invalid_value(Unexpected::Unsigned(0), &"1 or more")),
        rate => Ok(Some(rate)),
    }
}

fn qos<'de, D: Deserializer<'de>>(deserializer: D) -> Result<QoS, D::Error> {
    deserializer.deserialize_any(QosVisitor { source: false }).map(|rule| match rule {
        QosRule::Fixed(qos) => qos,
        QosRule::Source => QoS::AtLeastOnce,
    })
}

fn qos_rule<'de, D: Deserializer<'de>>(deserializer: D) -> Result<QosRule, D::Error> {
    deserializer.deserialize_any(QosVisitor { source: true })
}

fn retain_rule<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RetainRule, D::Error> {
    deserializer.deserialize_any(RetainVisitor)
}

struct QosVisitor {
    /// `"source"` is allowed.
    source: bool,
}

impl Visitor<'_> for QosVisitor {
    type Value = QosRule;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.source { "0, 1, 2 or \"source\"" } else { "0, 1 or 2" })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<QosRule, E> {
        let qos = u8::try_from(value).ok().and_then(QoS::from_u8);
        qos.map(QosRule::Fixed).ok_or_else(|| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<QosRule, E> {
        if self.source && value == "source" {
            Ok(QosRule::Source)
        } else {
            Err(E::invalid_value(Unexpected::Str(value), &self))
        }
    }
}

struct RetainVisitor;

impl Visitor<'_> for RetainVisitor {
    type Value = RetainRule;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false or \"source\"")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<RetainRule, E> {
        Ok(RetainRule::Fixed(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<RetainRule, E> {
        match value {
            "source" => Ok(RetainRule::Source),
            other => Err(E::invalid_value(Unexpected::Str(other), &self)),
        }
    }
}
