//! What the checks need from the machine, installed when it is missing and can be.

use crate::process::Task;
use std::path::{Path, PathBuf};

/// A program of the system: a server that the tests start, or a tool that a build needs.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    package: &'static str,
    by_hand: &'static str,
}

pub(crate) const MOSQUITTO: Program = Program {
    name: "mosquitto",
    package: "mosquitto",
    by_hand: "install the broker `mosquitto` (2.0 or later) and run this again",
};

pub(crate) const MOSQUITTO_CLIENTS: Program = Program {
    name: "mosquitto_pub",
    package: "mosquitto-clients",
    by_hand: "install the clients of Mosquitto (`mosquitto_pub`) and run this again",
};

pub(crate) const REDIS: Program = Program {
    name: "redis-server",
    package: "redis-server",
    by_hand: "install Redis (`redis-server`, 7.0 or later) and run this again",
};

pub(crate) const CHROMIUM: Program = Program {
    name: "chromium",
    package: "chromium",
    by_hand: "install the browser `chromium` and run this again",
};

pub(crate) const CMAKE: Program =
    Program { name: "cmake", package: "cmake", by_hand: "install `cmake` and run this again" };

pub(crate) const C_COMPILER: Program = Program {
    name: "cc",
    package: "build-essential",
    by_hand: "install a C compiler (`cc`) and `make`, and run this again",
};

pub(crate) const VALGRIND: Program = Program {
    name: "valgrind",
    package: "valgrind",
    by_hand: "install `valgrind` and run this again",
};

/// Where a program is, installed first when it is not there.
///
/// # Errors
/// A sentence that says what to install by hand.
pub(crate) fn installed(root: &Path, program: Program) -> Result<PathBuf, String> {
    let Program { name, package, by_hand } = program;
    if let Some(found) = find_program(name) {
        return Ok(found);
    }
    println!("{name} is missing: installing the system's package");
    let Some(apt) = find_program("apt-get") else {
        return Err(format!("there is no {name} and no apt-get on this machine: {by_hand}"));
    };
    let Some(prefix) = root_prefix(root) else {
        return Err(format!(
            "installing {name} needs root, and neither root nor sudo is here: {by_hand}"
        ));
    };
    let apt = apt.to_string_lossy();
    for step in [&["update"][..], &["install", "-y", "--no-install-recommends", package]] {
        let mut line = prefix.clone();
        line.extend(["env", "DEBIAN_FRONTEND=noninteractive", &apt]);
        line.extend(step);
        let task = Task::new(line[0], &line[1..]);
        task.run(root).map_err(|error| format!("{error}: {by_hand}"))?;
    }
    find_program(name).ok_or_else(|| format!("apt-get ran, but there is no {name}: {by_hand}"))
}

/// Makes sure that cargo has rustfmt and clippy, which a minimal toolchain lacks.
///
/// # Errors
/// A sentence that names the missing component.
pub(crate) fn components(root: &Path) -> Result<(), String> {
    for (command, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if Task::cargo(&[command, "--version"]).succeeds(root) {
            continue;
        }
        Task::new("rustup", &["component", "add", component])
            .run(root)
            .map_err(|error| format!("this toolchain has no {component}: {error}"))?;
    }
    Ok(())
}

/// A program in `PATH`, or in the system directories that a user's `PATH` often lacks.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

/// What must stand before a command that needs root: nothing for root itself.
fn root_prefix(root: &Path) -> Option<Vec<&'static str>> {
    let user = Task::new("id", &["-u"]).output(root).ok()?;
    if user.trim() == "0" {
        return Some(Vec::new());
    }
    find_program("sudo").map(|_| vec!["sudo"])
}
