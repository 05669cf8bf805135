//! The project's own commands: `cargo xtask help` lists them.
//!
//! It has no dependencies on purpose: the checks of a fresh checkout start at once.

mod bench;
mod checks;
mod fuzz;
mod instructions;
mod process;
mod soak;
mod system;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = workspace_root();
    let outcome = match arguments.as_slice() {
        ["test"] => checks::run(&root),
        ["tidy"] => tidy::run(&root),
        ["instructions", rest @ ..] => instructions::run(&root, rest),
        ["fuzz", rest @ ..] => fuzz::run(&root, rest),
        ["soak", rest @ ..] => soak::run(&root, rest),
        ["bench", rest @ ..] => bench::run(&root, rest),
        ["help" | "--help"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The directory that holds the workspace: the parent of this crate.
fn workspace_root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

const HELP: &str = "\
cargo xtask COMMAND

  test                           every check, in the order of CONTRIBUTING.md; what CI runs
  tidy                           layers, version matches, file sizes, specification ids
  instructions [--bless]         instructions per message, compared with what is recorded in
                                 crates/mqttx-proto/benches/instructions.txt, or recorded there
                                 (needs valgrind)
  fuzz [TARGET] [--seconds N]    run one fuzz target, or all in turn, 60 seconds each
                                 (needs a nightly toolchain and cargo-fuzz)
  bench [OPTIONS]                mqttx beside its peers and the raw socket, in one run
      --quick                    short runs, for a first look
      --rounds N                 default 5, with --quick 2; medians count
      --only NAME[,NAME]         beginnings of the names of workloads, names of contestants
      --json FILE                every figure of every round, and the machine
      --list                     workloads and contestants
  soak [--messages N]            bridges between Mosquittos that come and go, killed on the way: a
                                 million messages for each level and version (needs Mosquitto)
  help                           this text
";
