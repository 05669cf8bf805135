//! `mqttx demo`: two brokers in this process, a forwarder between them, and the proof that nothing
//! is lost.

mod brokers;
mod plant;
mod publisher;
mod summary;
mod table;
mod tracker;

use std::process::ExitCode;
use std::time::Duration;

use crate::commands::block_on;
use crate::exit::{Failure, Outcome};
use crate::flags::parse_seconds;
use crate::output;
use crate::signal::StopSignals;
use plant::Plant;
use summary::Summary;

/// How long the messages on their way may take after the last one was published, without any of
/// them arriving, before they count as lost.
const SILENCE: Duration = Duration::from_secs(5);

/// Show the engine at work: brokers, sessions, a forwarder, and what it loses (nothing)
///
/// Starts two brokers in this process and four sessions. One publishes sensor values at QoS 1 and
/// 2, a forwarder moves them from broker to broker under new topics (demo/plant/+/sensor/+/# becomes
/// site/{1}/{2}/{#}), the last one receives and checks every message. Needs no server and no network.
/// Ends with 0 only if nothing was lost or duplicated.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Args {
    /// How long to publish
    #[arg(long, value_name = "N", default_value = "10", value_parser = parse_seconds)]
    seconds: Duration,

    /// Messages per second [default: as many as go through]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,

    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the demo and prints its summary.
pub(crate) fn run(args: Args) -> Outcome {
    block_on(async move {
        let mut signals = StopSignals::new()?;
        let plant = tokio::select! {
            plant = Plant::start() => plant?,
            () = signals.next() => return Err(Failure::runtime("stopped by a signal before it began")),
        };
        let summary = show(&plant, args, &mut signals).await;
        plant.stop().await;
        let text = if args.json { summary.json() } else { summary.table() };
        output::print(text.as_bytes())
            .map_err(|error| Failure::runtime(format_args!("standard output: {error}")))?;
        summary.verdict().map(|()| ExitCode::SUCCESS)
    })
}

/// Publishes for the time asked for, then waits for what is on its way.
async fn show(plant: &Plant, args: Args, signals: &mut StopSignals) -> Summary {
    let mut table = table::Table::new(plant);
    let publishing = publisher::publish(plant, args.rate, args.seconds);
    let seconds = tokio::select! {
        biased;
        () = signals.next() => plant.elapsed(),
        () = table.refresh() => plant.elapsed(),
        seconds = publishing => seconds,
    };
    tokio::select! {
        () = signals.next() => {}
        () = table.refresh() => {}
        () = plant.arrived(SILENCE) => {}
    }
    table.finish();
    Summary::new(plant, seconds)
}
