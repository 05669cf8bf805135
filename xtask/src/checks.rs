//! `cargo xtask test`: every check of the project in order, stopping at the first that fails.

use crate::process::Task;
use crate::{instructions, system, tidy};
use std::path::Path;
use std::time::Instant;

/// Runs every check.
///
/// # Errors
/// The first check that failed, and the line that runs just this one.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let started = Instant::now();
    let [mosquitto, redis, chromium] = step("system packages", "cargo xtask test", || {
        system::components(root)?;
        let programs = [
            system::MOSQUITTO,
            system::REDIS,
            system::CHROMIUM,
            system::VALGRIND,
            system::MOSQUITTO_CLIENTS,
        ];
        let found = programs.map(|program| {
            let path = system::installed(root, program)?;
            println!("{}: {}", program.name, path.display());
            Ok::<_, String>(path)
        });
        let [mosquitto, redis, chromium, valgrind, clients] = found;
        valgrind?;
        clients?;
        Ok([mosquitto?, redis?, chromium?])
    })?;
    for (name, task) in static_checks() {
        step(name, &task.shown(), || task.run(root))?;
    }
    step("tidy", "cargo xtask tidy", || tidy::run(root))?;
    // The same random cases at every run; others by hand, with another seed.
    let seed = std::env::var("PROPTEST_RNG_SEED").unwrap_or_else(|_| "1".to_owned());
    let tests = Task::cargo(&["test", "--workspace", "--features", FEATURES])
        .env("PROPTEST_RNG_SEED", &seed)
        .env_remove(MOSQUITTO)
        .env_remove(REDIS)
        .env_remove(CHROMIUM);
    step("tests, without servers", &tests.shown(), || tests.run(root))?;
    let interop =
        Task::cargo(&["test", "--workspace", "--features", FEATURES, "--test", "interop*"])
            .env(MOSQUITTO, &mosquitto.to_string_lossy())
            .env(REDIS, &redis.to_string_lossy())
            .env(CHROMIUM, &chromium.to_string_lossy());
    step("interop tests", &interop.shown(), || interop.run(root))?;
    step("instructions", "cargo xtask instructions", || instructions::run(root, &[]))?;
    let demo = Task::cargo(&["run", "--release", "--", "demo", "--seconds", "5", "--json"]);
    step("smoke: the demo", &demo.shown(), || smoke(root, &demo))?;
    println!("\n== all checks passed in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Where the tests that need a server look for it; without it they say so and pass.
const MOSQUITTO: &str = "MQTTX_TEST_MOSQUITTO";
const REDIS: &str = "MQTTX_TEST_REDIS";
const CHROMIUM: &str = "MQTTX_TEST_CHROMIUM";

/// What is checked beyond the default features.
const FEATURES: &str = "mqttx/redis,mqttx/contract,mqttx/filters,mqttx/otel";

/// The comparison with the peers, without the peers: so that it does not rot, in half a minute.
const BENCHES_FORMAT: [&str; 4] = ["fmt", "--manifest-path", "benches/Cargo.toml", "--check"];
const BENCHES_CLIPPY: [&str; 9] = [
    "clippy",
    "--manifest-path",
    "benches/Cargo.toml",
    "--target-dir",
    "target/benches",
    "--all-targets",
    "--",
    "-D",
    "warnings",
];

/// The other cryptography compiles; its tests are run by hand, as docs/tls.md says.
const AWS_LC: [&str; 5] = ["check", "-p", "mqttx", "--features", "aws-lc-rs,redis"];

fn static_checks() -> [(&'static str, Task); 6] {
    let clippy =
        ["clippy", "--workspace", "--features", FEATURES, "--all-targets", "--", "-D", "warnings"];
    [
        ("format", Task::cargo(&["fmt", "--all", "--check"])),
        ("clippy", Task::cargo(&clippy)),
        ("build with aws-lc-rs", Task::cargo(&AWS_LC)),
        (
            "documentation",
            Task::cargo(&["doc", "--workspace", "--features", FEATURES, "--no-deps"])
                .env("RUSTDOCFLAGS", "-Dwarnings"),
        ),
        ("format of benches", Task::cargo(&BENCHES_FORMAT)),
        ("clippy of benches", Task::cargo(&BENCHES_CLIPPY)),
    ]
}

/// One check under a heading, with its time; its failure says how to run it alone.
fn step<T>(name: &str, alone: &str, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    println!("\n== {name}");
    let started = Instant::now();
    let outcome = work();
    let seconds = started.elapsed().as_secs_f64();
    match outcome {
        Ok(value) => {
            println!("-- {name}: ok, {seconds:.1} s");
            Ok(value)
        }
        Err(error) => {
            println!("-- {name}: FAILED, {seconds:.1} s");
            Err(format!("{name} failed: {error}\nto run just this: {alone}"))
        }
    }
}

/// The demo must end with success and an object that reports neither loss nor duplicates.
fn smoke(root: &Path, demo: &Task) -> Result<(), String> {
    let output = demo.output(root)?;
    print!("{output}");
    let summary = output.lines().last().unwrap_or_default();
    for wanted in ["\"lost\":0", "\"duplicates\":0"] {
        if !summary.replace(' ', "").contains(wanted) {
            return Err(format!("the summary lacks {wanted}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_step_says_what_failed_and_how_to_run_it_alone() {
        let failed = step::<()>("format", "cargo fmt", || Err("status 1".to_owned()));
        let message = failed.unwrap_err();
        assert!(message.starts_with("format failed: status 1"), "{message}");
        assert!(message.ends_with("to run just this: cargo fmt"), "{message}");
    }
}
