//! Byte streams to a broker. This layer knows no MQTT and no session.

mod dialer;
mod endpoint;
mod error;
#[cfg(test)]
pub(crate) mod mem;
mod resolve;
mod stream;
mod tcp;
mod unix;

pub(crate) use dialer::Dialer;
pub use endpoint::{Endpoint, EndpointError, Scheme};
pub(crate) use error::ConnectError;
pub(crate) use stream::Stream;
