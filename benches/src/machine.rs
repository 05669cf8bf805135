//! Where the figures come from: without it a figure says nothing.

use std::process::Command;

use serde_json::{Value, json};

/// What can be told of this machine and of what was built.
pub(crate) fn describe() -> Value {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "cpu": model.map_or("unknown", |(_, name)| name.trim()),
        "memory": memory.lines().next().and_then(|line| line.split_once(':')).map(|(_, size)| size.trim()),
        "kernel": kernel.trim(),
        "commit": commit(),
        "rustc": output("rustc", &["--version"]),
        "versions": versions(),
    })
}

/// The commit that was built, marked when the files differ from it.
fn commit() -> String {
    let commit = output("git", &["rev-parse", "--short=12", "HEAD"]);
    let changed = !output("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
    if changed { format!("{commit} with changes") } else { commit }
}

/// The clients in the lock file.
fn versions() -> Value {
    let lock = include_str!("../Cargo.lock");
    let mut found = serde_json::Map::new();
    for package in lock.split("[[package]]") {
        let field = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim_matches('"').to_owned())
        };
        let (Some(name), Some(version)) = (field("name = "), field("version = ")) else { continue };
        if CLIENTS.contains(&name.as_str()) {
            found.insert(name, version.into());
        }
    }
    found.into()
}

const CLIENTS: [&str; 7] =
    ["mqttx", "ntex-mqtt", "paho-mqtt", "rumqttc", "rumqttc-v4-next", "rumqttc-v5-next", "tokio"];

fn output(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}
