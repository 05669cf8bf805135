//! By bytes in the payload.

use std::fmt;
use std::sync::Arc;

use crate::message::MessageView;

#[derive(Clone)]
pub(super) struct Contains(Arc<memchr::memmem::Finder<'static>>);

impl Contains {
    pub(super) fn new(needle: &[u8]) -> Self {
        Self(Arc::new(memchr::memmem::Finder::new(needle).into_owned()))
    }

    pub(super) fn matches(&self, message: &MessageView<'_>) -> bool {
        self.0.find(message.payload).is_some()
    }
}

impl fmt::Debug for Contains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contains(b\"{}\")", self.0.needle().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::filter::tests::message;

    #[test]
    fn bytes_are_found_anywhere() {
        let filter = Contains::new(b"\x00x");
        for (payload, found) in
            [(&b"\x00x"[..], true), (b"aa\x00\x00xa", true), (b"x\x00", false), (b"", false)]
        {
            assert_eq!(filter.matches(&message("t", payload)), found, "{payload:?}");
        }
        assert!(Contains::new(b"").matches(&message("t", b"")));
    }
}
