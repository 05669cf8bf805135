//! The connection flags that all commands with a broker share, each defined once.

mod connection;
mod identity;
mod payload;
mod property;
mod store;
mod style;
mod tls;
mod url;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Args};
use mqttx::proto::{QoS, SessionExpiry, Version};
use mqttx::{Endpoint, Proxy, Secret};

pub(crate) use connection::{Connection, WillMessage};
use identity::AuthFlags;
pub(crate) use payload::{LARGEST_PAYLOAD, PayloadFlags};
use property::PropertyArg;
pub(crate) use property::{Packet, PacketProperties};
use store::StoreFlags;
pub(crate) use style::StyleFlags;
use tls::TlsFlags;
pub(crate) use tls::failure_of;
pub(crate) use url::without_password;
use url::{parse_port, parse_proxy, parse_url};

/// Where to connect, as whom, and how to stay connected.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionFlags {
    /// Broker as mqtt://[user[:password]@]host[:port][/topic]
    ///
    /// tcp:// means the same; mqtts://, ssl:// and tls:// speak TLS, port 8883; ws://host[:port][/path] is WebSocket, port 80 and path
    /// /mqtt unless given, wss:// the same over TLS, port 443; unix:///path is a socket of the file system. User and password are
    /// percent-decoded; flags win over the URL. May be given several times: the further brokers are tried when one fails.
    #[arg(short = 'L', long, value_name = "URL", value_parser = parse_url)]
    url: Vec<Endpoint>,

    /// Host name or address of the broker [default: localhost]
    #[arg(short = 'h', long, value_name = "HOST")]
    host: Option<String>,

    /// Port of the broker [default: 1883, 8883 with TLS]
    #[arg(short = 'p', long, value_name = "PORT", value_parser = parse_port)]
    port: Vec<u16>,

    /// Proxy: http://, socks5:// or socks5h://[user[:password]@]host[:port], or none
    ///
    /// With socks5h:// the proxy resolves the broker's name. Without this flag the environment counts: https_proxy for brokers with TLS,
    /// http_proxy (lower case only) for those without, else all_proxy, and no_proxy for what is reached directly.
    #[arg(long, value_name = "URL", value_parser = parse_proxy)]
    proxy: Option<Proxy>,

    /// MQTT version: 5 (also mqttv5) or 311 (also 3.1.1, mqttv311)
    #[arg(short = 'V', long, value_name = "VERSION", default_value = "5")]
    protocol_version: Version,

    /// Client id; without it (or with '') the server chooses one
    ///
    /// An id that the server assigned is kept for reconnects. Needed for -c with MQTT 3.1.1.
    #[arg(short = 'i', long, value_name = "ID", allow_hyphen_values = true)]
    id: Option<String>,

    /// User name
    #[arg(short = 'u', long, value_name = "NAME", allow_hyphen_values = true)]
    username: Option<String>,

    /// Password; other users of the machine can see it, better use --password-file
    #[arg(
        short = 'P',
        long,
        value_name = "PASSWORD",
        allow_hyphen_values = true,
        value_parser = OsStringValueParser::new().map(|text| Secret::from(text.into_vec())),
    )]
    password: Option<Secret>,

    /// File with the password; one line break at its end does not count; read at every attempt to connect
    #[arg(long, value_name = "FILE", conflicts_with = "password")]
    password_file: Option<PathBuf>,

    #[command(flatten)]
    auth: AuthFlags,

    /// Keep-alive in seconds, 0 to 65535; 0 turns it off
    #[arg(short = 'k', long, value_name = "SECS", default_value = "60")]
    keepalive: u16,

    /// How long the server keeps the session after the connection, in seconds, or 'never' (MQTT 5)
    #[arg(short = 'x', long, value_name = "SECS", value_parser = parse_expiry)]
    session_expiry: Option<SessionExpiry>,

    /// MQTT 5 property of a packet: connect, will, publish, subscribe, unsubscribe, disconnect
    ///
    /// Names are those of the specification with dashes, for example
    /// 'publish content-type text/plain' or 'connect user-property KEY VALUE'. May be given several
    /// times.
    #[arg(
        short = 'D',
        long,
        value_name = "PACKET NAME VALUE [VALUE2]",
        allow_hyphen_values = true,
        value_parser = OsStringValueParser::new().try_map(|words| PropertyArg::parse(&words)),
    )]
    property: Vec<PropertyArg>,

    /// Unacknowledged messages that the server may send us at most, 1 to 65535
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    receive_maximum: Option<u16>,

    /// Topic aliases that the server may use, 0 to 65535
    #[arg(long, value_name = "N")]
    topic_alias_max: Option<u16>,

    /// Largest packet that we accept, in bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    max_packet_size: Option<u32>,

    /// First delay before connecting again, in milliseconds [default: 1000]
    ///
    /// The delay doubles with each failed attempt, half of it random, and falls back only after a
    /// connection was stable for a while.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    reconnect_initial_ms: Option<u64>,

    /// Longest delay before connecting again, in milliseconds [default: 60000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    reconnect_max_ms: Option<u64>,

    /// End with an error when a connection fails, is refused or is lost
    #[arg(long)]
    no_reconnect: bool,

    /// Seconds for the whole command (pub), and for one attempt to connect (all; 10)
    #[arg(long, value_name = "SECS", value_parser = parse_seconds)]
    timeout: Option<Duration>,

    /// Messages of QoS 1 and 2 unacknowledged at once; the server's Receive Maximum may be smaller
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    max_inflight: Option<u16>,

    /// Write a line for every packet sent and received to stderr
    #[arg(short = 'd', long)]
    debug: bool,

    #[command(flatten)]
    tls: TlsFlags,

    #[command(flatten)]
    store: StoreFlags,

    #[command(flatten)]
    will: WillFlags,
}

/// The message that the server publishes when this client vanishes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Will: what the server publishes when this client vanishes")]
struct WillFlags {
    /// Topic of the will
    #[arg(long, value_name = "TOPIC", allow_hyphen_values = true)]
    will_topic: Option<String>,

    /// Payload of the will; without it empty
    #[arg(long, value_name = "MSG", requires = "will_topic", allow_hyphen_values = true)]
    will_payload: Option<OsString>,

    /// QoS of the will
    #[arg(long, value_name = "QOS", requires = "will_topic", value_parser = parse_qos)]
    will_qos: Option<QoS>,

    /// The server keeps the will as the topic's retained message
    #[arg(long, requires = "will_topic")]
    will_retain: bool,
}

/// `-c` of the commands with one session; for `bench` it means something else.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Connection")]
pub(crate) struct PersistFlags {
    /// Keep the session: clean start off, and in MQTT 5 it never expires unless -x says so
    #[arg(short = 'c', long, action = ArgAction::SetTrue)]
    pub(crate) no_clean: bool,
}

/// 0, 1 or 2.
pub(crate) fn parse_qos(text: &str) -> Result<QoS, String> {
    match text {
        "0" => Ok(QoS::AtMostOnce),
        "1" => Ok(QoS::AtLeastOnce),
        "2" => Ok(QoS::ExactlyOnce),
        other => Err(format!("'{other}' is not a QoS: allowed are 0, 1 and 2")),
    }
}

/// A time span above zero, in seconds with or without a fraction.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok())
        .filter(|span| !span.is_zero() && span.as_secs() <= 10 * 365 * 86_400)
        .ok_or_else(|| {
            format!("'{text}' is not a time: allowed are seconds above 0, like 5 or 0.5")
        })
}

fn parse_expiry(text: &str) -> Result<SessionExpiry, String> {
    match text {
        "never" => Ok(SessionExpiry::NEVER),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits
            .parse()
            .map(SessionExpiry::from_secs)
            .map_err(|_| format!("'{text}' is above 4294967295 seconds")),
        _ => Err(format!("'{text}' is not a time: allowed are 0 to 4294967295 seconds, or never")),
    }
}
