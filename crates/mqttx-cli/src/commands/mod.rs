//! One file or directory for each command.

pub(crate) mod bench;
pub(crate) mod check_config;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod publish;
pub(crate) mod request;
pub(crate) mod run;
pub(crate) mod store;
pub(crate) mod subscribe;

use std::future::Future;
use std::process::ExitCode;

use crate::exit::{Failure, Outcome};

/// Runs a command's future on the main thread and its sessions on worker threads, so that a write to
/// stdout that blocks never delays a session. What still blocks at the end is left behind.
pub(crate) fn block_on(command: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(format_args!("threads: {error}")))?;
    let outcome: Result<ExitCode, Failure> = runtime.block_on(command);
    runtime.shutdown_background();
    outcome
}
