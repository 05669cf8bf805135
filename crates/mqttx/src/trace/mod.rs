//! The trace that a message belongs to: `traceparent` and `tracestate` among its user properties, as W3C Trace Context
//! for MQTT has it.
//!
//! [`w3c`] reads and writes the two values, [`current`] is the way of a context between the program and its messages, and
//! [`hop`] is a forwarder's part of a trace. A message that has no context, published where no span is active, pays one look.

#[cfg(not(feature = "otel"))]
mod absent;
#[cfg(feature = "otel")]
mod current;
#[cfg(feature = "otel")]
mod hop;
#[cfg(feature = "otel")]
mod w3c;

#[cfg(not(feature = "otel"))]
pub(crate) use absent::{AVAILABLE, Hop, Injected, Span, Surroundings, inject, may_be_in};
#[cfg(feature = "otel")]
pub(crate) use current::{Injected, Surroundings, context, inject};
#[cfg(feature = "otel")]
pub(crate) use hop::{Hop, Span};
#[cfg(feature = "otel")]
pub(crate) use w3c::may_be_in;

/// Whether this build knows of traces.
#[cfg(feature = "otel")]
pub(crate) const AVAILABLE: bool = true;

/// What a forwarder says of the message of a span.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "there are no spans"))]
pub(crate) struct About<'a> {
    pub(crate) forwarder: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) received_at: std::time::Instant,
}
