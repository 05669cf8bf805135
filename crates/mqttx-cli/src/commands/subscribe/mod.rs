//! `mqttx sub`: subscribe and print what arrives.

mod printer;
mod subscriber;

use std::time::Duration;

use mqttx::proto::{QoS, RetainHandling, SubscribeOptions, Version, split_shared, validate_filter};

use crate::commands::block_on;
use crate::exit::{Failure, Outcome};
use crate::flags::{
    Connection, ConnectionFlags, Packet, PersistFlags, StyleFlags, parse_qos, parse_seconds,
};
use crate::signal::StopSignals;
use subscriber::Subscriber;

/// Subscribe and print what arrives
///
/// A message is acknowledged after it was printed. Ends with 0 after -C messages, with 27 when the
/// time of -W is over.
///
/// Examples:
///   mqttx sub -h broker -t 'sensor/+/temp' -v
///   mqttx sub -t '#' -q 1 -C 10 --json
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Topic filter; may be given several times, and may stand in the URL
    #[arg(short = 't', long, value_name = "FILTER", allow_hyphen_values = true)]
    topic: Vec<String>,

    /// Highest delivery guarantee: 0 at most once, 1 at least once, 2 exactly once
    #[arg(short = 'q', long, value_name = "QOS", default_value = "0", value_parser = parse_qos)]
    qos: QoS,

    /// End with 0 after so many messages: printed and acknowledged
    #[arg(short = 'C', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// End with 27 after so many seconds
    #[arg(short = 'W', long, value_name = "SECS", value_parser = parse_seconds)]
    wait: Option<Duration>,

    /// End once the server has answered the subscriptions
    #[arg(short = 'E', long)]
    exit_after_subscribe: bool,

    /// Filter to unsubscribe from after connecting; may be given several times
    #[arg(short = 'U', long, value_name = "FILTER", allow_hyphen_values = true)]
    unsubscribe: Vec<String>,

    #[command(flatten)]
    style: StyleFlags,

    #[command(flatten)]
    retained: RetainedFlags,

    #[command(flatten)]
    options: OptionFlags,

    #[command(flatten)]
    persist: PersistFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Which messages are printed.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Output")]
struct RetainedFlags {
    /// Do not print retained messages
    #[arg(short = 'R', long, conflicts_with = "retained_only")]
    no_retained: bool,

    /// Print only retained messages
    #[arg(long)]
    retained_only: bool,
}

/// Subscription options of MQTT 5.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Subscription options (MQTT 5)")]
struct OptionFlags {
    /// Not what this client publishes itself
    #[arg(long)]
    no_local: bool,

    /// Keep the retain flag as the publisher set it
    #[arg(long)]
    retain_as_published: bool,

    /// Retained messages: 0 at each subscribe, 1 only for a new subscription, 2 never
    #[arg(long, value_name = "0|1|2", value_parser = parse_retain_handling)]
    retain_handling: Option<RetainHandling>,
}

fn parse_retain_handling(text: &str) -> Result<RetainHandling, String> {
    match text {
        "0" => Ok(RetainHandling::SendAtSubscribe),
        "1" => Ok(RetainHandling::SendIfNew),
        "2" => Ok(RetainHandling::DoNotSend),
        other => Err(format!("'{other}' is not a retain handling: allowed are 0, 1 and 2")),
    }
}

impl Args {
    /// Checks what does not need a connection.
    fn check(mut self) -> Result<Plan, Failure> {
        let connection = Connection::resolve(
            self.connection,
            self.persist,
            &[Packet::Subscribe, Packet::Unsubscribe],
        )?;
        if self.topic.is_empty() {
            self.topic.extend(connection.topic.clone());
        }
        if self.topic.is_empty() && self.unsubscribe.is_empty() {
            return Err(Failure::usage("the topic filter is missing: give -t, or one in the URL"));
        }
        for (flag, filter) in self
            .topic
            .iter()
            .map(|filter| ("-t", filter))
            .chain(self.unsubscribe.iter().map(|filter| ("-U", filter)))
        {
            validate_filter(filter)
                .map_err(|error| Failure::usage(format_args!("{flag} '{filter}': {error}")))?;
        }
        let options = self.options.resolve(self.qos, connection.version)?;
        if options.no_local
            && let Some(shared) = self.topic.iter().find(|filter| split_shared(filter).is_some())
        {
            return Err(Failure::usage(format_args!(
                "--no-local is not allowed for the shared subscription '{shared}'"
            )));
        }
        Ok(Plan {
            filters: self.topic,
            options,
            unsubscribe: self.unsubscribe,
            count: self.count,
            wait: self.wait,
            exit_after_subscribe: self.exit_after_subscribe,
            style: self.style,
            retained: self.retained,
            connection,
        })
    }
}

impl OptionFlags {
    fn resolve(self, qos: QoS, version: Version) -> Result<SubscribeOptions, Failure> {
        let asked = self.no_local || self.retain_as_published || self.retain_handling.is_some();
        if asked && version == Version::V311 {
            return Err(Failure::usage(
                "--no-local, --retain-as-published and --retain-handling need MQTT 5",
            ));
        }
        Ok(SubscribeOptions {
            qos,
            no_local: self.no_local,
            retain_as_published: self.retain_as_published,
            retain_handling: self.retain_handling.unwrap_or_default(),
        })
    }
}

/// What is to be subscribed, and how it is shown.
#[derive(Debug)]
struct Plan {
    filters: Vec<String>,
    options: SubscribeOptions,
    unsubscribe: Vec<String>,
    count: Option<u64>,
    wait: Option<Duration>,
    exit_after_subscribe: bool,
    style: StyleFlags,
    retained: RetainedFlags,
    connection: Connection,
}

/// Prints messages until it is told to end.
pub(crate) fn run(args: Args) -> Outcome {
    let plan = args.check()?;
    block_on(async move {
        let signals = StopSignals::new()?;
        Subscriber::new(plan)?.run(signals).await
    })
}
