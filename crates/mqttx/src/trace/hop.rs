//! A forwarder's part of a trace: one span for each message that came with a context.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

use mqttx_proto::{Properties, PropertiesRef};
use opentelemetry::global::{self, BoxedSpan};
use opentelemetry::trace::{Span as _, SpanId, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, InstrumentationScope, KeyValue};

use super::About;
use super::w3c::{self, Found};

/// What a message is published with that continues a trace.
#[derive(Default)]
pub(crate) struct Hop {
    /// Empty: the context that came is none, and goes no further.
    traceparent: String,
    tracestate: String,
    /// Of a forwarder whose spans somebody records.
    span: Option<Span>,
}

/// A span that ends when it is dropped.
pub(crate) struct Span(BoxedSpan);

impl Hop {
    /// Begins a span whose parent is the sender's; `None`: the message is in no trace.
    ///
    /// Where the program has set no tracer provider the span is recorded nowhere, and has an id of its own all the same.
    pub(crate) fn begin(properties: PropertiesRef<'_>, about: About<'_>) -> Option<Self> {
        let parent = match w3c::read(properties) {
            Found::Nothing => return None,
            Found::Malformed => return Some(Self::default()),
            Found::Parent(parent) => parent,
        };
        let context = Context::new().with_remote_span_context(parent.clone());
        let scope = InstrumentationScope::builder("mqttx").with_version(env!("CARGO_PKG_VERSION"));
        let tracer = global::tracer_with_scope(scope.build());
        let now = SystemTime::now();
        let arrived = now.checked_sub(about.received_at.elapsed()).unwrap_or(now);
        let span = tracer
            .span_builder(format!("forward {}", about.forwarder))
            .with_kind(SpanKind::Consumer)
            .with_start_time(arrived)
            .with_attributes([
                KeyValue::new("messaging.system", "mqtt"),
                KeyValue::new("messaging.destination.name", about.topic.to_owned()),
                KeyValue::new("mqttx.forwarder", about.forwarder.to_owned()),
            ])
            .start_with_context(&tracer, &context);
        let own = span.span_context();
        let (traceparent, state) = if own.is_valid() && own.span_id() != parent.span_id() {
            let traceparent = w3c::traceparent(own.trace_id(), own.span_id(), own.trace_flags());
            (traceparent, own.trace_state())
        } else {
            let (trace, flags) = (parent.trace_id(), parent.trace_flags());
            (w3c::traceparent(trace, new_id(), flags), parent.trace_state())
        };
        let tracestate = match state.header() {
            none if none.is_empty() => w3c::kept_state(properties).unwrap_or_default(),
            list => list,
        };
        let span = span.is_recording().then_some(Span(span));
        Some(Self { traceparent, tracestate, span })
    }

    /// The span, for whoever knows when it ends.
    pub(crate) fn span(&mut self) -> Option<Span> {
        self.span.take()
    }

    /// Puts its context in the place of that which came.
    pub(crate) fn replace(&self, properties: &mut Properties) {
        w3c::replace(properties, &self.traceparent, &self.tracestate);
    }
}

impl Span {
    /// The message was not forwarded.
    pub(crate) fn fail(&mut self, why: &'static str) {
        self.0.set_status(Status::error(why));
    }
}

/// A random id: the numbers of a thread follow a start of its own (splitmix64).
fn new_id() -> SpanId {
    thread_local! {
        static LAST: Cell<u64> = Cell::new(RandomState::new().hash_one(0));
    }
    loop {
        let next = LAST.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        LAST.set(next);
        let mut mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        if mixed != 0 {
            return SpanId::from(mixed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn list(pairs: &[(&str, &str)]) -> Properties {
        let mut list = Properties::new();
        for (name, value) in pairs {
            list.user_property(name, value).unwrap();
        }
        list
    }

    fn passed_on(pairs: &[(&str, &str)]) -> Option<Properties> {
        let about = About { forwarder: "fw", topic: "a/b", received_at: Instant::now() };
        let mut carried = list(pairs);
        let hop = Hop::begin(carried.as_ref(), about)?;
        hop.replace(&mut carried);
        Some(carried)
    }

    // No test of the library itself sets a tracer provider.
    #[test]
    fn without_a_provider_the_trace_goes_on_with_a_new_id() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-";
        let came = format!("{trace}00f067aa0ba902b7-01");
        let mut ids = std::collections::HashSet::from([came.clone()]);
        for _ in 0..100 {
            let carried = passed_on(&[("traceparent", &came), ("tracestate", "a=1")]).unwrap();
            let pairs: Vec<_> = carried.as_ref().user_properties().collect();
            let [("traceparent", parent), ("tracestate", "a=1")] = pairs[..] else {
                panic!("{pairs:?}")
            };
            assert!(parent.starts_with(trace) && parent.ends_with("-01"), "{parent}");
            assert!(ids.insert(parent.to_owned()), "an id of its own");
        }
    }

    #[test]
    fn a_tracestate_goes_on_as_it_came_also_where_the_library_cannot_read_it() {
        let came = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for (state, kept) in [("t@abcdefghijklmn=1,a=2", true), ("t@abcdefghijklmn=1,A=2", false)] {
            let carried = passed_on(&[("traceparent", came), ("tracestate", state)]).unwrap();
            let carried =
                carried.as_ref().user_properties().find(|(name, _)| *name == "tracestate");
            assert_eq!(carried, kept.then_some(("tracestate", state)));
        }
    }

    #[test]
    fn what_is_no_context_goes_no_further_and_nothing_stays_nothing() {
        assert_eq!(
            passed_on(&[("traceparent", "x"), ("k", "v"), ("tracestate", "a=1")]),
            Some(list(&[("k", "v")]))
        );
        assert_eq!(passed_on(&[("k", "v")]), None);
    }
}
