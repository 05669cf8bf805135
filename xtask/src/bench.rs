//! `cargo xtask bench`: builds `benches/` with the peers, and runs it.

use crate::process::Task;
use crate::system;
use std::path::Path;

/// Builds the comparison and runs it with these arguments.
///
/// # Errors
/// A tool that cannot be installed, a failed build, or a failed run.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    // For the C library among the peers.
    for program in [system::CMAKE, system::C_COMPILER] {
        system::installed(root, program)?;
    }
    // One peer asks for a newer compiler than it needs.
    let build = ["build", "--release", "--features", "peers", "--ignore-rust-version"];
    let benches = root.join("benches");
    Task::cargo(&build).env_remove("CARGO_TARGET_DIR").run(&benches)?;
    let program = benches.join("target/release/mqttx-benches");
    // Where it was called, so that the file of `--json` lands there.
    Task::new(&program.to_string_lossy(), arguments).run(Path::new("."))
}
