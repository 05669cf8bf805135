//! A forwarder is one span between the sender's and those of who gets the message.

use std::time::Duration;

use mqttx::opentelemetry::trace::{SpanKind, Status};
use mqttx::{ForwarderBuilder, Transform, Version};

use super::support::{QUIET, assert_balanced, bridge, bridge_between, until};
use super::{context_of, finished, recorder, trace};

fn rules() -> ForwarderBuilder {
    recorder();
    ForwarderBuilder::new("fw").source("src", "a/+").target("dst").topic("b/{1}")
}

#[tokio::test]
async fn the_forwarded_message_names_the_forwarders_span_and_that_the_senders() {
    let mut bridge = bridge(Version::V5, rules()).await;
    let (number, parent) = trace(100, "01");
    let message = format!(
        "32 {{ <a/x> 0007 {{ 26 <tracestate> <a=1> 26 <traceparent> <{parent}> 26 <own> <1> }} 'hi' }}"
    );
    bridge.source.send(&message).await;
    let forwarded = context_of(&bridge.target.recv_packet().await);
    bridge.source.expect_silence(QUIET).await;
    assert_eq!(finished(number), [], "the target has not acknowledged");
    bridge.target.send("40 { 0001 }").await;
    bridge.source.expect("40 { 0007 }").await;
    until("the span has ended", || !finished(number).is_empty()).await;
    let [span] = &finished(number)[..] else { panic!("one span") };
    assert_eq!((&*span.name, &span.span_kind), ("forward fw", &SpanKind::Consumer));
    assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(span.status, Status::Unset);
    let took = span.end_time.duration_since(span.start_time).expect("it ends after it began");
    assert!(took >= QUIET && took < Duration::from_secs(60), "{took:?}");
    let own = &span.span_context;
    let named = format!("00-{number}-{}-01", own.span_id());
    let expected = [("traceparent", &*named), ("tracestate", "a=1")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(forwarded, expected, "in the place of the old ones");
    assert_balanced(&bridge.forwarder);
}

#[tokio::test]
async fn a_refused_message_ends_its_span_with_the_reason() {
    let mut bridge = bridge(Version::V5, rules()).await;
    let (number, parent) = trace(101, "01");
    bridge.source.send(&format!("32 {{ <a/x> 0007 {{ 26 <traceparent> <{parent}> }} }}")).await;
    bridge.target.recv_packet().await;
    bridge.target.send("40 { 0001 97 }").await;
    bridge.source.expect("40 { 0007 }").await;
    until("the span has ended", || !finished(number).is_empty()).await;
    assert_eq!(finished(number)[0].status, Status::error("refused"));
}

#[tokio::test]
async fn a_dead_letter_goes_as_it_came() {
    let rules = rules().dead_letter("dst", "dlq");
    let mut bridge = bridge(Version::V5, rules).await;
    let (number, parent) = trace(102, "01");
    bridge.source.send(&format!("32 {{ <a/x> 0007 {{ 26 <traceparent> <{parent}> }} }}")).await;
    bridge.target.recv_packet().await;
    bridge.target.send("40 { 0001 97 }").await;
    let letter = context_of(&bridge.target.recv_packet().await);
    assert_eq!(letter, [("traceparent".to_owned(), parent)]);
    bridge.target.send("40 { 0002 }").await;
    bridge.source.expect("40 { 0007 }").await;
    until("the span has ended", || !finished(number).is_empty()).await;
    assert_eq!(finished(number)[0].status, Status::error("refused"));
}

#[tokio::test]
async fn an_unsampled_trace_goes_on_unrecorded() {
    let mut bridge = bridge(Version::V5, rules()).await;
    let (number, parent) = trace(103, "00");
    bridge.source.send(&format!("30 {{ <a/x> {{ 26 <traceparent> <{parent}> }} }}")).await;
    let forwarded = context_of(&bridge.target.recv_packet().await);
    let [(_, value)] = &forwarded[..] else { panic!("{forwarded:?}") };
    assert!(value.starts_with(&format!("00-{number}-")) && value.ends_with("-00"), "{value}");
    assert_ne!(*value, parent);
    assert_eq!(finished(number), []);
}

#[tokio::test]
async fn what_is_no_context_goes_no_further() {
    let mut bridge = bridge(Version::V5, rules()).await;
    bridge
        .source
        .send("30 { <a/x> { 26 <traceparent> <x> 26 <own> <1> 26 <tracestate> <a=1> } }")
        .await;
    bridge
        .target
        .expect("30 { <b/x> { 26 <own> <1> 26 <mqttx-via> <d/fw> 26 <mqttx-hops> <1> } }")
        .await;
}

#[tokio::test]
async fn rules_and_traces_go_together_and_311_targets_have_no_place_for_one() {
    let set = || Transform::set("/a", 1).expect("valid");
    let (number, parent) = trace(104, "01");
    let message = format!("32 {{ <a/x> 0007 {{ 26 <traceparent> <{parent}> }} '{{}}' }}");
    let mut both = bridge(Version::V5, rules().transform(set())).await;
    both.source.send(&message).await;
    let packet = both.target.recv_packet().await;
    assert!(packet.ends_with(b"{\"a\":1}"));
    assert_eq!(context_of(&packet).len(), 1);
    let versions = (Version::V5, Version::V311);
    let mut old = bridge_between(versions, rules().transform(set()), 1, |options| options).await;
    old.source.send(&message).await;
    old.target.expect("32 { <b/x> 0001 '{\"a\":1}' }").await;
    old.target.send("40 { 0001 }").await;
    old.source.expect("40 { 0007 }").await;
    until("the span has ended", || !finished(number).is_empty()).await;
}
