//! mqttx beside its peers and the raw socket, in one run: `cargo xtask bench` builds and starts it.
//!
//! The parent process holds the test peer and the clock. Every contestant runs in a child process of its own, so that its
//! allocator, threads and memory are its own; it is released at a word of the parent, and it is finished when both it and the
//! test peer say so.

mod args;
mod child;
mod clients;
mod contestant;
mod machine;
mod measure;
mod process;
mod report;
mod runs;
mod workload;

use std::process::ExitCode;

use args::Args;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("child") => child::main(&arguments[1..]),
        _ => Args::parse(&arguments).and_then(|args| measure::main(&args)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("bench: {message}");
            ExitCode::FAILURE
        }
    }
}
