//! Traces that messages carry: from the active span into a message, from a message to those who handle it, and through a
//! forwarder.

#[path = "../support/bridge.rs"]
mod support;

mod forwarders;
mod sessions;

use std::sync::OnceLock;

use mqttx::Version;
use mqttx::opentelemetry::global;
use mqttx::opentelemetry::trace::TraceId;
use mqttx::proto::{FrameStatus, Packet, decode, frame};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};

/// What records the spans of all tests of this process: each has a trace of its own.
fn recorder() -> &'static (InMemorySpanExporter, SdkTracerProvider) {
    static RECORDER: OnceLock<(InMemorySpanExporter, SdkTracerProvider)> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let exporter = InMemorySpanExporter::default();
        // It lives as long as the process: the end of a provider empties its exporter.
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        global::set_tracer_provider(provider.clone());
        (exporter, provider)
    })
}

/// The finished spans of one trace.
fn finished(trace: TraceId) -> Vec<SpanData> {
    let mut spans = recorder().0.get_finished_spans().expect("the exporter is not shut down");
    spans.retain(|span| span.span_context.trace_id() == trace);
    spans
}

/// A trace that no other test has, and the `traceparent` of a span in it.
fn trace(number: u64, flags: &str) -> (TraceId, String) {
    let id = TraceId::from(u128::from(number) << 64 | 7);
    (id, format!("00-{id}-00f067aa0ba902b7-{flags}"))
}

/// The user properties of a PUBLISH called `traceparent` and `tracestate`.
fn context_of(packet: &[u8]) -> Vec<(String, String)> {
    let Ok(FrameStatus::Complete(found)) = frame(packet, Version::V5, u32::MAX) else {
        panic!("a packet is expected")
    };
    let body = &packet[found.header_len..found.total_len];
    let Ok(Packet::Publish(publish)) = decode(Version::V5, found.first_byte, body) else {
        panic!("PUBLISH is expected")
    };
    let all = publish.properties.user_properties();
    all.filter(|(name, _)| name.starts_with("trace"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
