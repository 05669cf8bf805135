//! Child processes: their output goes straight through, their failure becomes one sentence.

use std::path::Path;
use std::process::{Command, Stdio};

/// A command line with the environment changes that belong to it.
#[derive(Clone)]
pub(crate) struct Task {
    program: String,
    arguments: Vec<String>,
    set: Vec<(String, String)>,
    removed: Vec<String>,
}

impl Task {
    /// A command and its arguments.
    pub(crate) fn new(program: &str, arguments: &[&str]) -> Self {
        Self {
            program: program.to_owned(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            set: Vec::new(),
            removed: Vec::new(),
        }
    }

    /// `cargo` with these arguments: the cargo that started this program.
    pub(crate) fn cargo(arguments: &[&str]) -> Self {
        Self::new("cargo", arguments)
    }

    /// Adds an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.set.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Keeps an environment variable from the child.
    pub(crate) fn env_remove(mut self, name: &str) -> Self {
        self.removed.push(name.to_owned());
        self
    }

    /// The line a person types to run just this.
    pub(crate) fn shown(&self) -> String {
        let environment = self.set.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        let program = std::iter::once(self.program.clone());
        let arguments = self.arguments.iter().map(|argument| quoted(argument));
        environment.chain(program).chain(arguments).collect::<Vec<_>>().join(" ")
    }

    /// Runs to the end with the output passed through.
    ///
    /// # Errors
    /// A sentence that names the command, and how it ended.
    pub(crate) fn run(&self, directory: &Path) -> Result<(), String> {
        let status = self
            .command(directory)
            .status()
            .map_err(|error| format!("cannot start `{}`: {error}", self.shown()))?;
        if status.success() { Ok(()) } else { Err(format!("`{}`: {status}", self.shown())) }
    }

    /// Runs to the end and returns standard output; standard error is passed through.
    ///
    /// # Errors
    /// A sentence that names the command, and how it ended.
    pub(crate) fn output(&self, directory: &Path) -> Result<String, String> {
        let output = self
            .command(directory)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("cannot start `{}`: {error}", self.shown()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            Ok(text)
        } else {
            print!("{text}");
            Err(format!("`{}`: {}", self.shown(), output.status))
        }
    }

    /// Runs with all output discarded; whether it could be started and succeeded.
    pub(crate) fn succeeds(&self, directory: &Path) -> bool {
        let status = self.command(directory).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    fn command(&self, directory: &Path) -> Command {
        let program = if self.program == "cargo" {
            std::env::var("CARGO").unwrap_or_else(|_| self.program.clone())
        } else {
            self.program.clone()
        };
        let mut command = Command::new(program);
        command.args(&self.arguments).current_dir(directory).stdin(Stdio::null());
        for name in &self.removed {
            command.env_remove(name);
        }
        command.envs(self.set.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// The argument as a shell needs it.
fn quoted(argument: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:+,%@".contains(&byte);
    if !argument.is_empty() && argument.bytes().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_line_can_be_pasted_into_a_shell() {
        let task = Task::cargo(&["test", "--test", "interop*"]).env("A", "b c");
        assert_eq!(task.shown(), "A='b c' cargo test --test 'interop*'");
    }

    #[test]
    fn failure_names_the_command() {
        let task = Task::new("sh", &["-c", "exit 3"]);
        let message = task.run(Path::new(".")).unwrap_err();
        assert!(message.contains("exit 3") && message.contains("status: 3"), "{message}");
    }
}
