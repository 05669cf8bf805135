//! One process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::Error;

/// Held as long as the store is open. The operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the store in `directory`.
    ///
    /// # Errors
    /// Another process has it.
    pub(super) fn take(directory: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(directory.join(FILE)).map_err(|e| cannot(directory, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(directory, &mut file)),
            Err(TryLockError::Error(error)) => return Err(cannot(directory, error)),
        }
        let pid = std::process::id().to_string();
        // The pid is for people: without room for it the lock holds all the same.
        drop(file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())));
        Ok(Self { file })
    }

    /// Fails when somebody has the store.
    pub(super) fn check(directory: &Path) -> Result<(), Error> {
        let Ok(mut file) = File::open(directory.join(FILE)) else { return Ok(()) };
        match file.try_lock_shared() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(held(directory, &mut file)),
            Err(TryLockError::Error(error)) => Err(cannot(directory, error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A child of a fork may have the file open, too.
        drop(self.file.unlock());
    }
}

fn held(directory: &Path, file: &mut File) -> Error {
    let mut pid = String::new();
    drop(file.rewind().and_then(|()| file.take(20).read_to_string(&mut pid)));
    let holder = match pid.trim() {
        "" => "another process".to_owned(),
        pid if pid == std::process::id().to_string() => format!("this process ({pid})"),
        pid => format!("process {pid}"),
    };
    let text = format!(
        "the store in {} is in use by {holder}: stop that, or use another directory",
        directory.display()
    );
    Error::store(text).with_code("store.locked")
}

fn cannot(directory: &Path, error: std::io::Error) -> Error {
    let text = format!("the store in {} cannot be locked: {error}", directory.display());
    Error::store(text).with_source(error)
}

const FILE: &str = "lock";
