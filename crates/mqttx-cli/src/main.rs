//! The `mqttx` command: publish, subscribe, measure and show MQTT sessions.

mod args;
mod client;
mod commands;
mod config;
mod exit;
mod flags;
mod http;
mod output;
mod signal;
mod stores;
mod wire_log;

use std::process::ExitCode;

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use commands::{bench, check_config, completions, demo, publish, request, run, store, subscribe};
use exit::{Outcome, warn};

/// MQTT from the command line: publish, subscribe, measure.
///
/// Data goes to standard output, everything else to standard error. Exit codes: 0 success, 1 error,
/// 2 wrong usage, 27 the time of -W is over, 78 bad configuration file, 128 to 255 the reason code
/// of the server's refusal.
#[derive(Parser, Debug)]
#[command(
    name = "mqttx",
    version,
    disable_help_flag = true,
    disable_version_flag = true,
    disable_help_subcommand = true,
    propagate_version = true,
    arg_required_else_help = false
)]
struct Cli {
    /// Show the help
    #[arg(long, global = true, display_order = 1000, action = ArgAction::Help)]
    help: Option<bool>,

    /// Show the version
    #[arg(long, global = true, display_order = 1000, action = ArgAction::Version)]
    version: Option<bool>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Pub(Box<publish::Args>),
    Sub(Box<subscribe::Args>),
    Rr(Box<request::Args>),
    Run(run::Args),
    CheckConfig(check_config::Args),
    Store(store::Args),
    Bench(bench::Args),
    Demo(demo::Args),
    Completions(completions::Args),
}

impl Command {
    fn run(self) -> Outcome {
        match self {
            Self::Pub(args) => publish::run(*args),
            Self::Sub(args) => subscribe::run(*args),
            Self::Rr(args) => request::run(*args),
            Self::Run(args) => run::run(&args),
            Self::CheckConfig(args) => check_config::run(&args),
            Self::Store(args) => store::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Demo(args) => demo::run(args),
            Self::Completions(args) => completions::run(args, &mut Cli::command()),
        }
    }
}

fn main() -> ExitCode {
    let mut command = Cli::command();
    command.build();
    let argv = args::join_properties(&command, std::env::args_os());
    let parsed =
        command.try_get_matches_from(argv).and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => cli.command.run().unwrap_or_else(|failure| failure.report()),
        Err(error) => match args::usage_failure(&error) {
            Some(failure) => failure.report(),
            None => show(&error.render().to_string()),
        },
    }
}

/// Writes the help or the version.
fn show(text: &str) -> ExitCode {
    match output::print(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            warn(format_args!("error: standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_commands_is_consistent() {
        Cli::command().debug_assert();
    }
}
