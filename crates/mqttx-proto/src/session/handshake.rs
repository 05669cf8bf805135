//! CONNECT out, CONNACK in: the only place of the session that looks at the protocol version.

use crate::{
    ConnAck, Connect, DecodeError, EncodeError, KeepAlive, Properties, Property, PropertyError,
    QoS, SessionExpiry, Version, Will,
};

use super::auth::{Authentication, Exchange};
use super::config::Config;
use super::link::Limits;

/// What we promise or demand on a connection.
pub(crate) struct Announced {
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) maximum_packet_size: u32,
    pub(crate) topic_alias_maximum: u16,
    pub(crate) has_reasons: bool,
}

/// Our own limits on a new connection. Receive Maximum and aliases exist only where CONNECT can announce them.
pub(crate) fn announced(config: &Config) -> Announced {
    let given = config.connect_properties.as_ref();
    let maximum_packet_size =
        config.maximum_packet_size.or_else(|| given.maximum_packet_size()).unwrap_or(u32::MAX);
    match config.version {
        Version::V311 => Announced {
            receive_maximum: None,
            maximum_packet_size,
            topic_alias_maximum: 0,
            has_reasons: false,
        },
        Version::V5 => Announced {
            receive_maximum: config.enforce_receive_maximum.then(|| {
                config.receive_maximum.or_else(|| given.receive_maximum()).unwrap_or(u16::MAX)
            }),
            maximum_packet_size,
            topic_alias_maximum: config
                .topic_alias_maximum
                .or_else(|| given.topic_alias_maximum())
                .unwrap_or(0),
            has_reasons: true,
        },
    }
}

/// What becomes of the authentication on a new connection, where CONNECT names a method.
pub(crate) fn exchange(config: &Config) -> Option<Box<Exchange>> {
    let exchange = match (config.version, &config.authentication) {
        (Version::V311, _) => return None,
        (Version::V5, Some(asked)) => Exchange::new(&asked.method, true),
        (Version::V5, None) => {
            let given = config.connect_properties.as_ref();
            Exchange::new(given.authentication_method()?, false)
        }
    };
    Some(Box::new(exchange))
}

/// CONNECT cannot be built from the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConnectError {
    Property(PropertyError),
    Encode(EncodeError),
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Property(e) => e.fmt(f),
            Self::Encode(e) => e.fmt(f),
        }
    }
}

/// Appends CONNECT. Nothing is sent that was not asked for.
pub(crate) fn encode_connect(
    config: &Config,
    client_id: &str,
    out: &mut Vec<u8>,
) -> Result<(), ConnectError> {
    let properties = connect_properties(config).map_err(ConnectError::Property)?;
    let will = config.will.as_ref().map(|will| Will {
        topic: &will.topic,
        payload: &will.payload,
        qos: will.qos,
        retain: will.retain,
        properties: will.properties.as_ref(),
    });
    let connect = Connect {
        clean_start: config.clean_start,
        keep_alive: config.keep_alive,
        client_id,
        will,
        username: config.username.as_deref(),
        password: config.password.as_deref(),
        properties: properties.as_ref(),
    };
    connect.encode(config.version, out).map_err(ConnectError::Encode)
}

fn connect_properties(config: &Config) -> Result<Properties, PropertyError> {
    let mut properties = Properties::new();
    match config.version {
        Version::V311 => return Ok(properties),
        Version::V5 => {}
    }
    if let Some(Authentication { method, data }) = &config.authentication {
        properties.push(Property::AuthenticationMethod(method))?;
        if let Some(data) = data {
            properties.push(Property::AuthenticationData(data))?;
        }
    }
    if let Some(expiry) = config.session_expiry {
        properties.push(Property::SessionExpiryInterval(expiry.as_secs()))?;
    }
    if let Some(maximum) = config.receive_maximum {
        properties.push(Property::ReceiveMaximum(maximum))?;
    }
    if let Some(maximum) = config.maximum_packet_size {
        properties.push(Property::MaximumPacketSize(maximum))?;
    }
    if let Some(maximum) = config.topic_alias_maximum {
        properties.push(Property::TopicAliasMaximum(maximum))?;
    }
    for property in config.connect_properties.as_ref().iter() {
        properties.push(property)?;
    }
    Ok(properties)
}

/// What an accepting CONNACK allows.
pub(crate) fn accept(config: &Config, connack: &ConnAck<'_>) -> Result<Limits, DecodeError> {
    if connack.session_present && config.clean_start {
        // [MQTT-3.2.2-2], [MQTT-3.2.2-1]: after a clean start there is no session.
        return Err(DecodeError::protocol("session present after a clean start"));
    }
    let mut limits = Limits { keep_alive: config.keep_alive, ..Limits::default() };
    match config.version {
        Version::V311 => {
            limits.subscription_identifiers = false;
            let kept = if config.clean_start { SessionExpiry::ZERO } else { SessionExpiry::NEVER };
            limits.session_expiry = kept;
        }
        Version::V5 => accept_v5(config, connack, &mut limits)?,
    }
    Ok(limits)
}

fn accept_v5(
    config: &Config,
    connack: &ConnAck<'_>,
    limits: &mut Limits,
) -> Result<(), DecodeError> {
    let given = connack.properties;
    limits.session_expiry = config
        .session_expiry
        .or_else(|| {
            let ours = config.connect_properties.as_ref().session_expiry_interval();
            ours.map(SessionExpiry::from_secs)
        })
        .unwrap_or_default();
    for property in given.iter() {
        match property {
            Property::ReceiveMaximum(n) => limits.receive_maximum = n,
            Property::MaximumQoS(n) => {
                limits.maximum_qos = QoS::from_u8(n)
                    .ok_or(DecodeError::protocol("maximum QoS is neither 0 nor 1"))?;
            }
            Property::RetainAvailable(n) => limits.retain_available = n != 0,
            Property::MaximumPacketSize(n) => limits.maximum_packet_size = n,
            Property::TopicAliasMaximum(n) => limits.topic_alias_maximum = n,
            Property::WildcardSubscriptionAvailable(n) => limits.wildcard_subscriptions = n != 0,
            Property::SubscriptionIdentifierAvailable(n) => {
                limits.subscription_identifiers = n != 0
            }
            Property::SharedSubscriptionAvailable(n) => limits.shared_subscriptions = n != 0,
            Property::ServerKeepAlive(n) => limits.keep_alive = KeepAlive::from_secs(n),
            Property::SessionExpiryInterval(n) => {
                limits.session_expiry = SessionExpiry::from_secs(n)
            }
            Property::AssignedClientIdentifier(id) => limits.set_assigned_client_id(id),
            Property::ResponseInformation(s) => limits.set_response_information(s),
            Property::ServerReference(s) => limits.set_server_reference(s),
            _ => {}
        }
    }
    Ok(())
}
