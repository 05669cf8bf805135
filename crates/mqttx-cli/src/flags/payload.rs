//! The flags that say what a message contains, and the bytes that they mean.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::exit::Failure;

/// The largest remaining length of a packet, in bytes: what a payload cannot exceed.
pub(crate) const LARGEST_PAYLOAD: u64 = 268_435_455;

/// One payload. A command that has these flags puts them into a group of which one is needed.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct PayloadFlags {
    /// The message
    #[arg(short = 'm', long, value_name = "MSG", allow_hyphen_values = true)]
    message: Option<OsString>,

    /// A file is the message
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// An empty message
    #[arg(short = 'n', long)]
    null_message: bool,

    /// All of standard input is one message
    #[arg(short = 's', long)]
    stdin_file: bool,
}

impl PayloadFlags {
    /// Their names, for the group.
    pub(crate) const NAMES: [&str; 4] = ["message", "file", "null_message", "stdin_file"];

    /// The payload.
    ///
    /// # Errors
    /// A file or standard input that cannot be read, or is larger than any packet.
    pub(crate) fn read(self) -> Result<Vec<u8>, Failure> {
        if let Some(message) = self.message {
            Ok(message.into_vec())
        } else if let Some(path) = self.file {
            read_file(&path)
        } else if self.stdin_file {
            read_all(io::stdin().lock(), "standard input")
        } else {
            Ok(Vec::new())
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = std::fs::File::open(path)
        .map_err(|error| Failure::runtime(format_args!("file {}: {error}", path.display())))?;
    read_all(file, &format!("file {}", path.display()))
}

fn read_all(input: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    input
        .take(LARGEST_PAYLOAD + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::runtime(format_args!("{name}: {error}")))?;
    if bytes.len() as u64 > LARGEST_PAYLOAD {
        return Err(Failure::runtime(format_args!(
            "{name} is larger than the {LARGEST_PAYLOAD} bytes of a packet"
        )));
    }
    Ok(bytes)
}
