//! `mqttx bench`: how fast the engine publishes, receives and connects.

mod clients;
mod connect;
mod publish;
mod report;
mod subscribe;

use std::net::IpAddr;
use std::time::Duration;

use clap::Subcommand;
use mqttx::proto::QoS;

use crate::exit::Outcome;
use crate::flags::{ConnectionFlags, parse_qos, parse_seconds};

/// Measure publishing, receiving or connecting
///
/// Latency counts from handing a message over to its acknowledgement. Ends with 0 only without
/// errors.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    Pub(Box<PublishArgs>),
    Sub(Box<SubscribeArgs>),
    Conn(Box<ConnectArgs>),
}

/// Publish as fast as possible, or at a rate
///
/// Ends when everything is acknowledged (QoS 0: written to the socket).
#[derive(clap::Args, Clone, Debug)]
struct PublishArgs {
    #[command(flatten)]
    clients: ClientFlags,

    /// Topic; %i becomes the client's number
    #[arg(short = 't', long, value_name = "TOPIC")]
    topic: String,

    /// Delivery guarantee: 0, 1 or 2
    #[arg(short = 'q', long, value_name = "QOS", default_value = "0", value_parser = parse_qos)]
    qos: QoS,

    /// Size of the payload in bytes
    #[arg(short = 's', long, value_name = "BYTES", default_value = "64",
        value_parser = clap::value_parser!(u32).range(..=268_000_000))]
    size: u32,

    /// Messages of each client
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,

    /// Messages per second of each client [default: as fast as possible]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Receive and count
///
/// The clock runs from the first message to the last. A line on standard error tells when all clients
/// are subscribed.
#[derive(clap::Args, Clone, Debug)]
struct SubscribeArgs {
    #[command(flatten)]
    clients: ClientFlags,

    /// Topic filter; %i becomes the client's number
    #[arg(short = 't', long, value_name = "FILTER")]
    topic: String,

    /// Highest delivery guarantee: 0, 1 or 2
    #[arg(short = 'q', long, value_name = "QOS", default_value = "0", value_parser = parse_qos)]
    qos: QoS,

    /// Messages that each client waits for
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Connect many clients
///
/// Resident memory per client is what the process grew by from before the first connect to the end
/// of --hold.
#[derive(clap::Args, Clone, Debug)]
struct ConnectArgs {
    #[command(flatten)]
    clients: ClientFlags,

    /// Connects per second [default: as fast as possible]
    #[arg(short = 'R', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    connect_rate: Option<u32>,

    /// Seconds to stay connected and idle after the last CONNACK
    #[arg(long, value_name = "SECS", value_parser = parse_seconds)]
    hold: Option<Duration>,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// How many clients, and from where.
#[derive(clap::Args, Clone, Debug)]
struct ClientFlags {
    /// Clients
    #[arg(short = 'c', long, value_name = "CLIENTS", default_value = "1",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    clients: u32,

    /// Local addresses to connect from in turn, like 127.0.0.2,127.0.0.3
    ///
    /// One address has some 28 000 ports for one port of the broker; several -p spread as well.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    bind: Vec<IpAddr>,

    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the measurement and prints the result.
pub(crate) fn run(args: Args) -> Outcome {
    match args.command {
        Command::Pub(args) => publish::run(*args),
        Command::Sub(args) => subscribe::run(*args),
        Command::Conn(args) => connect::run(*args),
    }
}
