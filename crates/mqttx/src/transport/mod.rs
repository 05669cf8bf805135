//! Byte streams to a broker. This layer knows no MQTT and no session.

mod dialer;
mod endpoint;
mod error;
mod http;
#[cfg(test)]
pub(crate) mod mem;
mod own;
mod proxy;
mod race;
mod resolve;
mod stream;
mod tcp;
#[cfg_attr(not(feature = "tls"), path = "tls/absent.rs")]
pub(crate) mod tls;
mod unix;
#[cfg(feature = "websocket")]
mod ws;

pub(crate) use dialer::Dialer;
pub use endpoint::{Endpoint, EndpointError, Scheme};
pub(crate) use error::{ConnectError, Fault};
pub use own::{ByteStream, Transport, TransportFuture};
pub(crate) use proxy::Proxies;
pub use proxy::{Proxy, ProxyError, ProxyKind, ProxyServer};
pub(crate) use stream::Stream;
