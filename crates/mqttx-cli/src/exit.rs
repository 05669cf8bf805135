//! How a command ends: its exit code and the one line that explains it.

use std::fmt;
use std::process::ExitCode;

use mqttx::proto::ReasonCode;

/// The time of `-W` is over.
pub(crate) const TIMED_OUT: u8 = 27;

const RUNTIME: u8 = 1;
const USAGE: u8 = 2;

/// What a command returns: the exit code of a good end, or why it failed.
pub(crate) type Outcome = Result<ExitCode, Failure>;

/// Why a command failed: an exit code and one line for stderr.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// Something went wrong while the command ran: exit code 1.
    pub(crate) fn runtime(message: impl fmt::Display) -> Self {
        Self { code: RUNTIME, message: message.to_string() }
    }

    /// The command line asks for something impossible: exit code 2.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self { code: USAGE, message: message.to_string() }
    }

    /// The server said no: exit code 128 to 255, the reason code itself. A code below 128 is not a
    /// refusal, so it ends like any other error.
    pub(crate) fn refused(reason: ReasonCode, message: impl fmt::Display) -> Self {
        let code = if reason.is_error() { reason.value() } else { RUNTIME };
        Self { code, message: message.to_string() }
    }

    /// Says first what it is about.
    pub(crate) fn of(mut self, subject: impl fmt::Display) -> Self {
        self.message = format!("{subject}: {}", self.message);
        self
    }

    /// Adds a consequence.
    pub(crate) fn and(mut self, consequence: impl fmt::Display) -> Self {
        use fmt::Write;
        // Writing to memory does not fail.
        let _ = write!(self.message, "; {consequence}");
        self
    }

    /// Writes the line and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        warn(self);
        self.code()
    }

    /// The exit code, for whoever wrote the line.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)
    }
}

/// Writes one line to stderr. Text of a server may contain line breaks; a line stays a line.
///
/// A closed stderr is nobody's fault and ends nothing.
pub(crate) fn warn(message: impl fmt::Display) {
    use std::io::Write;
    let line: String = message
        .to_string()
        .trim_end()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
