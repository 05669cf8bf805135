//! `cargo xtask soak`: the load tests of the bridge at full length.

use crate::process::Task;
use crate::system;
use std::path::Path;

/// Runs the tests of loss with so many messages, one after the other, in release.
///
/// # Errors
/// Wrong options, a missing Mosquitto, or a test that fails.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let messages = match arguments {
        [] => MESSAGES,
        ["--messages", messages] if messages.parse::<u32>().is_ok() => messages,
        _ => return Err("soak [--messages N]".to_owned()),
    };
    let mosquitto = system::installed(root, system::MOSQUITTO)?;
    let task = [
        "test",
        "--release",
        "-p",
        "mqttx-cli",
        "--test",
        "interop_bridge",
        "--",
        "loss::",
        "--test-threads=1",
        "--nocapture",
    ];
    Task::cargo(&task)
        .env("MQTTX_TEST_MOSQUITTO", &mosquitto.to_string_lossy())
        .env("MQTTX_TEST_BRIDGE_MESSAGES", messages)
        .run(root)
}

const MESSAGES: &str = "1000000";
