//! How brokers are reached.

use super::SessionBuilder;
use crate::options::Secret;

impl SessionBuilder {
    /// Adds a header field to what WebSocket servers are sent, such as `Authorization`.
    #[must_use]
    pub fn ws_header(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.options.ws.headers.insert(name.into(), value.into());
        self
    }
}
