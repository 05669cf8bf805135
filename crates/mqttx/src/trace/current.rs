//! Between the span that is active in the program and the messages that it sends and gets.

use mqttx_proto::{Properties, PropertiesRef};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry::{Context, ContextGuard};

use super::w3c::{self, Found};

/// The properties of a message with the context of the active span; nothing without one.
pub(crate) struct Injected(Option<Properties>);

/// The properties of a message as they go out. The span that is active now counts, whatever context they name.
pub(crate) fn inject(own: PropertiesRef<'_>) -> Injected {
    let active = Context::map_current(|current| {
        current.has_active_span().then(|| current.span().span_context().clone())
    });
    let active = active.filter(SpanContext::is_valid);
    Injected(active.map(|span| {
        let mut properties = own.to_owned();
        let parent = w3c::traceparent(span.trace_id(), span.span_id(), span.trace_flags());
        w3c::replace(&mut properties, &parent, &span.trace_state().header());
        properties
    }))
}

impl Injected {
    pub(crate) fn or<'a>(&'a self, own: PropertiesRef<'a>) -> PropertiesRef<'a> {
        self.0.as_ref().map_or(own, Properties::as_ref)
    }
}

/// The context that a message came with; without one, or with one that is none, an empty context.
pub(crate) fn context(properties: PropertiesRef<'_>) -> Context {
    match w3c::read(properties) {
        Found::Parent(parent) => Context::new().with_remote_span_context(parent),
        Found::Nothing | Found::Malformed => Context::new(),
    }
}

/// What is the current context while a handler has a message.
pub(crate) struct Surroundings(Option<Context>);

impl Surroundings {
    pub(crate) fn of(properties: PropertiesRef<'_>) -> Self {
        Self(match w3c::read(properties) {
            Found::Parent(parent) => Some(Context::new().with_remote_span_context(parent)),
            Found::Nothing | Found::Malformed => None,
        })
    }

    /// Until what it gives is dropped.
    pub(crate) fn enter(&self) -> Option<ContextGuard> {
        self.0.clone().map(Context::attach)
    }
}
