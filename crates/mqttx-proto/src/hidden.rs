//! Bytes that must not be seen.

use std::fmt;
use std::ops::Deref;

use zeroize::Zeroize;

/// A password, or authentication data: not shown by `Debug`, and overwritten when it is dropped.
///
/// Only its own memory is overwritten: what was encoded into a packet is with the write queue and the socket.
///
/// ```
/// let password = mqttx_proto::Hidden::from("geheim");
/// assert_eq!(format!("{password:?}"), "***");
/// assert_eq!(&password[..], b"geheim");
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Hidden(Vec<u8>);

impl Deref for Hidden {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Hidden {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Hidden {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<&str> for Hidden {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
