//! The connection flags, checked and put together.

use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use mqttx::proto::{Properties, Property, PropertyId, QoS, SessionExpiry, Version, validate_topic};
use mqttx::{Proxy, Scheme, TlsOptions};

use super::identity::Identity;
use super::{ConnectionFlags, Packet, PacketProperties, PersistFlags, PropertyArg};
use crate::exit::Failure;
use crate::stores::SharedStore;

/// What the connection flags ask for; everything that can be checked without a connection was.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Addresses in the order to be tried.
    pub(crate) brokers: Vec<String>,
    pub(crate) proxy: Proxy,
    /// Whom to trust, and who we are; `None` without a flag of TLS.
    pub(crate) tls: Option<TlsOptions>,
    pub(crate) version: Version,
    /// Empty: the server chooses.
    pub(crate) client_id: String,
    pub(crate) identity: Identity,
    /// Seconds; 0 is off.
    pub(crate) keep_alive: u16,
    pub(crate) clean_start: bool,
    pub(crate) session_expiry: Option<SessionExpiry>,
    pub(crate) will: Option<WillMessage>,
    pub(crate) properties: PacketProperties,
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) topic_alias_maximum: Option<u16>,
    pub(crate) maximum_packet_size: Option<u32>,
    pub(crate) reconnect: Option<Reconnect>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_in_flight: Option<u16>,
    pub(crate) debug: bool,
    /// Where the state outlives the process; `None`: nowhere.
    pub(crate) store: Option<SharedStore>,
    /// The topic of the first URL that has one.
    pub(crate) topic: Option<String>,
}

/// The will of `--will-topic` and its companions; its properties are with the other packets'.
#[derive(Clone, Debug)]
pub(crate) struct WillMessage {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

/// The delays between attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reconnect {
    pub(crate) initial: Duration,
    pub(crate) max: Duration,
}

impl Connection {
    /// Puts the flags together. `packets` are those that the command can send.
    ///
    /// # Errors
    /// Usage errors for contradictions, a runtime error for a password file that cannot be read.
    pub(crate) fn resolve(
        flags: ConnectionFlags,
        persist: PersistFlags,
        packets: &[Packet],
    ) -> Result<Self, Failure> {
        let version = flags.protocol_version;
        check_version_fits(&flags)?;
        check_packets(&flags.property, packets, flags.will.will_topic.is_some())?;
        let mut properties = PacketProperties::collect(&flags.property).map_err(Failure::usage)?;
        let connect = &mut properties.connect;
        let receive_maximum =
            flag_or_property("--receive-maximum", flags.receive_maximum, connect, |p| match p {
                Property::ReceiveMaximum(n) => Some(n),
                _ => None,
            })?;
        let topic_alias_maximum =
            flag_or_property("--topic-alias-max", flags.topic_alias_max, connect, |p| match p {
                Property::TopicAliasMaximum(n) => Some(n),
                _ => None,
            })?;
        let maximum_packet_size =
            flag_or_property("--max-packet-size", flags.max_packet_size, connect, |p| match p {
                Property::MaximumPacketSize(n) => Some(n),
                _ => None,
            })?;
        let session_expiry =
            flag_or_property("--session-expiry", flags.session_expiry, connect, |p| match p {
                Property::SessionExpiryInterval(n) => Some(SessionExpiry::from_secs(n)),
                _ => None,
            })?
            .or_else(|| {
                (persist.no_clean && version == Version::V5).then_some(SessionExpiry::NEVER)
            });
        check_connect_properties(&properties, session_expiry)?;
        let client_id = checked_id(&flags, persist)?;
        let reconnect = reconnect(&flags)?;
        let identity = Identity::resolve(&flags)?;
        if flags.auth.is_given() && properties.connect.as_ref().authentication_method().is_some() {
            return Err(Failure::usage(format_args!(
                "--auth-method and -D connect {} say the same: give one",
                PropertyId::AuthenticationMethod
            )));
        }
        Ok(Self {
            brokers: brokers(&flags)?,
            proxy: flags.proxy.clone().unwrap_or(Proxy::Environment),
            tls: flags.tls.resolve(&flags.url)?,
            version,
            client_id,
            identity,
            keep_alive: flags.keepalive,
            clean_start: !persist.no_clean,
            session_expiry,
            topic: flags.url.iter().find_map(|url| url.topic().map(str::to_owned)),
            receive_maximum,
            topic_alias_maximum,
            maximum_packet_size,
            reconnect,
            timeout: flags.timeout,
            max_in_flight: flags.max_inflight,
            debug: flags.debug,
            store: flags.store.resolve()?,
            properties,
            will: will(flags)?,
        })
    }
}

fn check_version_fits(flags: &ConnectionFlags) -> Result<(), Failure> {
    if flags.protocol_version == Version::V5 {
        return Ok(());
    }
    if flags.session_expiry.is_some() {
        return Err(Failure::usage(
            "-x needs MQTT 5: a 3.1.1 session is kept with -c and has no expiry",
        ));
    }
    if !flags.property.is_empty() {
        return Err(Failure::usage("-D needs MQTT 5: 3.1.1 has no properties"));
    }
    Ok(())
}

fn check_packets(args: &[PropertyArg], packets: &[Packet], will: bool) -> Result<(), Failure> {
    for packet in args.iter().map(PropertyArg::packet) {
        match packet {
            Packet::Will if !will => {
                return Err(Failure::usage("-D will needs --will-topic"));
            }
            Packet::Connect | Packet::Will | Packet::Disconnect => {}
            other if packets.contains(&other) => {}
            other => {
                return Err(Failure::usage(format_args!(
                    "-D {0}: this command sends no {0}",
                    other.name()
                )));
            }
        }
    }
    Ok(())
}

/// A limit that has a flag of its own and may come as a CONNECT property as well: it leaves the
/// list, because it is also in effect.
fn flag_or_property<T>(
    name: &str,
    flag: Option<T>,
    connect: &mut Properties,
    of: impl Fn(Property<'_>) -> Option<T>,
) -> Result<Option<T>, Failure> {
    let found = connect.as_ref().iter().find_map(|p| of(p).map(|value| (p.id(), value)));
    match (flag, found) {
        (Some(_), Some((id, _))) => {
            Err(Failure::usage(format_args!("{name} and -D connect {id} say the same: give one")))
        }
        (None, Some((id, value))) => {
            connect.remove(id);
            Ok(Some(value))
        }
        (flag, None) => Ok(flag),
    }
}

fn check_connect_properties(
    properties: &PacketProperties,
    expiry: Option<SessionExpiry>,
) -> Result<(), Failure> {
    let connect = properties.connect.as_ref();
    if connect.authentication_data().is_some() && connect.authentication_method().is_none() {
        return Err(Failure::usage(format_args!(
            "-D connect {} needs -D connect {}",
            PropertyId::AuthenticationData,
            PropertyId::AuthenticationMethod
        )));
    }
    let ends_with_connection = expiry.is_none_or(|expiry| expiry == SessionExpiry::ZERO);
    let at_disconnect = properties.disconnect.as_ref().session_expiry_interval();
    if ends_with_connection && at_disconnect.is_some_and(|seconds| seconds != 0) {
        return Err(Failure::usage(
            "-D disconnect session-expiry-interval cannot keep a session that CONNECT said ends \
             with the connection: give -x or -c",
        ));
    }
    Ok(())
}

fn checked_id(flags: &ConnectionFlags, persist: PersistFlags) -> Result<String, Failure> {
    let id = flags.id.clone().unwrap_or_default();
    check_length("-i", id.len())?;
    if id.is_empty() && persist.no_clean && flags.protocol_version == Version::V311 {
        return Err(Failure::usage("-c with MQTT 3.1.1 needs a client id: give -i"));
    }
    if id.is_empty() && flags.store.is_given() {
        return Err(Failure::usage("--store needs a client id: give -i"));
    }
    Ok(id)
}

fn reconnect(flags: &ConnectionFlags) -> Result<Option<Reconnect>, Failure> {
    let max = flags.reconnect_max_ms.unwrap_or(60_000);
    let initial = match flags.reconnect_initial_ms {
        Some(initial) if flags.reconnect_max_ms.is_none() => Ok((initial, max.max(initial))),
        Some(initial) if initial > max => Err(Failure::usage(format_args!(
            "--reconnect-initial-ms {initial} is above --reconnect-max-ms {max}"
        ))),
        Some(initial) => Ok((initial, max)),
        None => Ok((max.min(1000), max)),
    };
    let (initial, max) = initial?;
    Ok((!flags.no_reconnect).then_some(Reconnect {
        initial: Duration::from_millis(initial),
        max: Duration::from_millis(max),
    }))
}

fn brokers(flags: &ConnectionFlags) -> Result<Vec<String>, Failure> {
    if let Some(host) = &flags.host
        && (host.is_empty() || host.contains(|c: char| c.is_whitespace() || "/@[]".contains(c)))
    {
        return Err(Failure::usage(format_args!("-h '{host}' is not a host name or address")));
    }
    let default = [flags.tls.default_broker()];
    let mut brokers = Vec::new();
    for url in if flags.url.is_empty() { &default[..] } else { &flags.url } {
        if url.scheme() == Scheme::Unix && (flags.host.is_some() || !flags.port.is_empty()) {
            return Err(Failure::usage(format_args!(
                "{url} has neither a host nor a port for -h and -p"
            )));
        }
        let url = flags.host.as_deref().map_or_else(|| url.clone(), |host| url.with_host(host));
        let ports = if flags.port.is_empty() { vec![url.port()] } else { flags.port.clone() };
        for port in ports {
            // Without user, password and topic.
            let broker = url.with_port(port).address();
            if !brokers.contains(&broker) {
                brokers.push(broker);
            }
        }
    }
    Ok(brokers)
}

fn will(flags: ConnectionFlags) -> Result<Option<WillMessage>, Failure> {
    let Some(topic) = flags.will.will_topic else { return Ok(None) };
    validate_topic(&topic)
        .map_err(|error| Failure::usage(format_args!("--will-topic '{topic}': {error}")))?;
    let payload = flags.will.will_payload.map(OsStringExt::into_vec).unwrap_or_default();
    check_length("--will-payload", payload.len())?;
    Ok(Some(WillMessage {
        topic,
        payload,
        qos: flags.will.will_qos.unwrap_or_default(),
        retain: flags.will.will_retain,
    }))
}

pub(super) fn check_length(what: &str, len: usize) -> Result<(), Failure> {
    if len > usize::from(u16::MAX) {
        return Err(Failure::usage(format_args!(
            "{what} has {len} bytes: at most 65535 are allowed"
        )));
    }
    Ok(())
}
