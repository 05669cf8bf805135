//! An in-memory stream for tests: both ends in one process.

use tokio::io::DuplexStream;

use super::Stream;

/// Two connected ends; each direction holds `capacity` bytes.
pub(crate) fn pair(capacity: usize) -> (Box<dyn Stream>, DuplexStream) {
    let (near, far) = tokio::io::duplex(capacity);
    (Box::new(near), far)
}
