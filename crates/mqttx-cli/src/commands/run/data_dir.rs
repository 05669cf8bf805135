//! The directory in which the daemon keeps state.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Messages of others are nobody else's business.
///
/// # Errors
/// It is not there and cannot be made.
pub(super) fn create(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}
