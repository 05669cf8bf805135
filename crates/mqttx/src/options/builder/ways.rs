//! How brokers are reached.

use std::sync::Arc;

use super::SessionBuilder;
use crate::options::{Secret, TcpOptions};
use crate::transport::{Proxy, Transport};

impl SessionBuilder {
    /// Sets what is asked of TCP.
    #[must_use]
    pub fn tcp(mut self, options: TcpOptions) -> Self {
        self.options.tcp = options;
        self
    }

    /// Sets the proxy: a [`ProxyServer`](crate::ProxyServer), or whether there is one.
    #[must_use]
    pub fn proxy(mut self, proxy: impl Into<Proxy>) -> Self {
        self.options.proxy = Some(proxy.into());
        self
    }

    /// Takes the proxy from the environment variables, as [`Proxy::Environment`] says.
    #[must_use]
    pub fn proxy_from_env(self) -> Self {
        self.proxy(Proxy::Environment)
    }

    /// Sets what opens the connections in place of sockets and proxies.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport + 'static) -> Self {
        self.options.transport = Some(Arc::new(transport));
        self
    }

    /// Adds a header field to what WebSocket servers are sent, such as `Authorization`.
    #[must_use]
    pub fn ws_header(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.options.ws.headers.insert(name.into(), value.into());
        self
    }
}
