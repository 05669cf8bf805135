//! Byte streams to a broker. This layer knows no MQTT and no session.

mod dialer;
mod endpoint;
mod error;
#[cfg(feature = "websocket")]
mod http;
#[cfg(test)]
pub(crate) mod mem;
mod resolve;
mod stream;
mod tcp;
mod unix;
#[cfg(feature = "websocket")]
mod ws;

pub(crate) use dialer::Dialer;
pub use endpoint::{Endpoint, EndpointError, Scheme};
pub(crate) use error::ConnectError;
pub(crate) use stream::Stream;
