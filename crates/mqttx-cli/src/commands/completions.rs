//! `mqttx completions`: a script that teaches a shell the commands and flags.

use std::process::ExitCode;

use clap_complete::Shell;

use crate::exit::{Failure, Outcome};
use crate::output;

/// Print the completion script of a shell
///
/// For example: mqttx completions bash > /etc/bash_completion.d/mqttx
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Writes the script to stdout.
pub(crate) fn run(args: Args, command: &mut clap::Command) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "mqttx", &mut script);
    output::print(&script)
        .map_err(|error| Failure::runtime(format_args!("standard output: {error}")))?;
    Ok(ExitCode::SUCCESS)
}
