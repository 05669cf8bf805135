//! `mqttx check-config`: says everything that is wrong with a configuration.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::config::{self, BAD_CONFIG, Problem};
use crate::exit::{Failure, Outcome, warn};
use crate::output;

/// Check a configuration without running it: exit code 0, or 78 with all problems
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The file, or a directory of *.toml files
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,

    /// Write {"ok":…,"errors":[…]} to standard output
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    errors: Vec<Problem>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let errors = config::load(&args.config).err().unwrap_or_default();
    let ok = errors.is_empty();
    if args.json {
        let mut line = serde_json::to_vec(&Report { ok, errors }).map_err(Failure::runtime)?;
        line.push(b'\n');
        output::print(&line)
            .map_err(|error| Failure::runtime(format_args!("standard output: {error}")))?;
    } else {
        errors.iter().for_each(warn);
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::from(BAD_CONFIG) })
}
