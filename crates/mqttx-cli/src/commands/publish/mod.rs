//! `mqttx pub`: publish messages and wait until the server has them.

mod pipeline;
mod publisher;
mod report;
mod source;

use std::time::Duration;

use clap::ArgGroup;
use mqttx::proto::{QoS, validate_topic};

use crate::commands::block_on;
use crate::exit::{Failure, Outcome};
use crate::flags::{
    Connection, ConnectionFlags, Packet, PayloadFlags, PersistFlags, parse_qos, parse_seconds,
};
use crate::signal::StopSignals;
use publisher::Publisher;
use source::Source;

/// Publish messages
///
/// Ends with 0 once everything is acknowledged by the server (QoS 0: written to it). Without a
/// connection it keeps trying, until --timeout.
///
/// Examples:
///   mqttx pub -h broker -t lamp/set -m on -q 1
///   sensor | mqttx pub -L mqtt://user:secret@broker/temp -l -q 1
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
#[command(group = ArgGroup::new("payload").args(PayloadFlags::NAMES).arg("stdin_line").required(true))]
pub(crate) struct Args {
    /// Topic; may also stand in the URL
    #[arg(short = 't', long, value_name = "TOPIC", allow_hyphen_values = true)]
    topic: Option<String>,

    #[command(flatten)]
    payload: Payload,

    /// Delivery guarantee: 0 at most once, 1 at least once, 2 exactly once
    #[arg(short = 'q', long, value_name = "QOS", default_value = "0", value_parser = parse_qos)]
    qos: QoS,

    /// The server keeps the message for later subscribers
    #[arg(short = 'r', long)]
    retain: bool,

    /// Publish the message so many times
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "stdin_line",
        value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,

    /// Seconds between the repetitions
    #[arg(long, value_name = "SECS", value_parser = parse_delay)]
    repeat_delay: Option<Duration>,

    /// Write a JSON line for each message: accepted, then acknowledged or refused
    #[arg(long)]
    report: bool,

    #[command(flatten)]
    persist: PersistFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Where the payloads come from.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
struct Payload {
    #[command(flatten)]
    whole: PayloadFlags,

    /// Each line of standard input is a message
    #[arg(short = 'l', long)]
    stdin_line: bool,
}

impl Args {
    /// Checks what does not need a connection.
    fn check(self) -> Result<Plan, Failure> {
        let connection = Connection::resolve(self.connection, self.persist, &[Packet::Publish])?;
        let Some(topic) = self.topic.or_else(|| connection.topic.clone()) else {
            return Err(Failure::usage("the topic is missing: give -t, or one in the URL"));
        };
        validate_topic(&topic)
            .map_err(|error| Failure::usage(format_args!("-t '{topic}': {error}")))?;
        let source =
            Source::open(self.payload, self.repeat, self.repeat_delay.unwrap_or_default())?;
        Ok(Plan {
            topic,
            source,
            qos: self.qos,
            retain: self.retain,
            report: self.report,
            connection,
        })
    }
}

/// What is to be published, and over which connection.
#[derive(Debug)]
struct Plan {
    topic: String,
    source: Source,
    qos: QoS,
    retain: bool,
    report: bool,
    connection: Connection,
}

/// Like a time span, but nothing is allowed as well.
fn parse_delay(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { parse_seconds(text) }
}

/// Publishes everything and waits for it.
pub(crate) fn run(args: Args) -> Outcome {
    let plan = args.check()?;
    block_on(async move {
        let signals = StopSignals::new()?;
        Publisher::new(plan)?.run(signals).await
    })
}
