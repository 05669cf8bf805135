//! What the program sends inside a span, and what it does with what it gets.

use mqttx::opentelemetry::trace::{
    FutureExt, SpanContext, Status, TraceContextExt, TraceId, TraceState, Tracer,
};
use mqttx::opentelemetry::{Context, global};
use mqttx::{Publish, QoS, Session, SessionManager};
use mqttx_test::{Peer, ScriptedBroker};
use tokio::sync::mpsc::unbounded_channel;
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;

use super::support::{SOON, grant, session as options};
use super::{context_of, finished, recorder, trace};
use mqttx::Version;

async fn connected() -> (SessionManager, Session, Peer) {
    recorder();
    let broker = ScriptedBroker::start().await;
    let manager = SessionManager::new();
    let options = options("s", &broker, Version::V5).subscription_identifiers(false);
    let session = manager.add_session(options.build().expect("valid")).expect("a session");
    let (peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
    session.wait_ready(SOON).await.expect("ready");
    (manager, session, peer)
}

/// A span, and what a message has to carry that is sent inside it.
fn span() -> (Context, Vec<(String, String)>) {
    let tracer = global::tracer("app");
    let context = Context::new().with_span(tracer.start_with_context("work", &Context::new()));
    let sent = carries(context.span().span_context());
    (context, sent)
}

fn carries(span: &SpanContext) -> Vec<(String, String)> {
    let value = format!("00-{}-{}-01", span.trace_id(), span.span_id());
    vec![("traceparent".to_owned(), value)]
}

#[tokio::test]
async fn every_way_to_publish_inside_a_span_carries_it_and_outside_nothing() {
    let (_manager, session, mut peer) = connected().await;
    let (context, expected) = span();
    let message = Publish::new("t", "x");
    // QoS 0 is through once the socket has it.
    let all = async {
        session.publish("t", "x", QoS::AtMostOnce, false).await.expect("sent");
        session.publish_message(message.clone()).await.expect("sent");
        session.enqueue(message.clone()).await.expect("accepted").await.expect("sent");
        session.submit(&message).await.expect("accepted");
        session.try_submit(&message).expect("accepted");
        session.try_publish(message.clone()).expect("accepted").await.expect("sent");
        session
            .begin_submit(message.clone())
            .await
            .expect("accepted")
            .stored()
            .await
            .expect("stored");
        session
            .begin_enqueue(message.clone())
            .await
            .expect("accepted")
            .stored()
            .await
            .expect("stored");
    };
    all.with_context(context).await;
    for _ in 0..8 {
        assert_eq!(context_of(&peer.recv_packet().await), expected);
    }
    session.publish_message(message).await.expect("sent");
    peer.expect("30 { <t> {} 'x' }").await;
}

#[tokio::test]
async fn the_active_span_replaces_what_the_message_had() {
    let (_manager, session, mut peer) = connected().await;
    let (_, old) = trace(1, "00");
    let message = Publish::new("t", "x").user_property("traceparent", &old).expect("short");
    let message = message.user_property("tracestate", "old=1").expect("short");
    session.publish_message(message.clone()).await.expect("sent");
    let as_given = [("traceparent".to_owned(), old), ("tracestate".to_owned(), "old=1".to_owned())];
    assert_eq!(context_of(&peer.recv_packet().await), as_given);
    let (context, expected) = span();
    session.publish_message(message).with_context(context).await.expect("sent");
    assert_eq!(context_of(&peer.recv_packet().await), expected);
}

#[tokio::test]
async fn a_remote_span_goes_on_with_its_state() {
    let (_manager, session, mut peer) = connected().await;
    let state: TraceState = "a=1,b=2".parse().expect("valid");
    let span = SpanContext::new(TraceId::from(7), 9.into(), Default::default(), true, state);
    let context = Context::new().with_remote_span_context(span);
    session.publish("t", "x", QoS::AtMostOnce, false).with_context(context).await.expect("sent");
    let expected = [
        ("traceparent", "00-00000000000000000000000000000007-0000000000000009-00"),
        ("tracestate", "a=1,b=2"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(context_of(&peer.recv_packet().await), expected);
}

#[tokio::test]
async fn a_request_carries_the_span_and_its_response_the_answerers() {
    let (_manager, session, mut peer) = connected().await;
    let (context, expected) = span();
    let granted = async {
        peer.expect_type(0x82).await;
        peer.send("90 { 0001 {} 01 }").await;
    };
    let (requester, ()) = tokio::join!(session.requester("r", QoS::AtLeastOnce), granted);
    let requester = requester.expect("granted");
    let question = Publish::new("q", "?");
    let (number, answer) = trace(2, "01");
    let serve = async {
        let packet = peer.recv_packet().await;
        assert_eq!(context_of(&packet), expected);
        let at = packet.windows(3).position(|bytes| bytes == [0x09, 0, 16]).expect("the data");
        let correlation: String =
            packet[at + 3..at + 19].iter().map(|byte| format!("{byte:02x} ")).collect();
        let script =
            format!("30 {{ <r> {{ 09 0010 {correlation} 26 <traceparent> <{answer}> }} '!' }}");
        peer.send(&script).await;
    };
    let asked = requester.request(question, SOON).with_context(context);
    let (response, ()) = tokio::join!(asked, serve);
    let parent = response.expect("a response").trace_context();
    assert_eq!(parent.span().span_context().trace_id(), number);
}

#[tokio::test]
async fn handlers_of_every_kind_have_the_sender_as_their_parent() {
    let (_manager, session, mut peer) = connected().await;
    let (tell, mut told) = unbounded_channel();
    let work = move |name: &'static str| {
        global::tracer("app").start(name);
        tell.send(()).expect("the test waits");
    };
    let (blocking, inline, concurrent) = (work.clone(), work.clone(), work);
    let _blocking = session.handle("a/blocking", move |_| blocking("blocking")).expect("a route");
    let _inline = session.route("a/inline").inline(move |_| inline("inline")).expect("a route");
    let _async = session
        .handle_async("a/async", move |_| {
            let work = concurrent.clone();
            async move {
                work("async");
                tokio::task::yield_now().await;
                work("async, later");
            }
        })
        .expect("a route");
    for _ in 0..3 {
        grant(&mut peer, Version::V5).await;
    }
    let (number, parent) = trace(3, "01");
    for topic in ["blocking", "inline", "async"] {
        peer.send(&format!("30 {{ <a/{topic}> {{ 26 <traceparent> <{parent}> }} 'x' }}")).await;
        // The next one has no trace: its span is a root.
        peer.send(&format!("30 {{ <a/{topic}> {{}} 'x' }}")).await;
    }
    for _ in 0..8 {
        told.recv().await.expect("a handler runs");
    }
    let spans = finished(number);
    let mut names: Vec<_> = spans.iter().map(|span| span.name.to_string()).collect();
    names.sort();
    assert_eq!(names, ["async", "async, later", "blocking", "inline"]);
    for span in spans {
        assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7", "{}", span.name);
        assert!(span.parent_span_is_remote);
    }
}

#[tokio::test]
async fn what_a_handler_publishes_goes_on_with_the_trace() {
    let (_manager, session, mut peer) = connected().await;
    let out = session.clone();
    let _route = session
        .route("in")
        .inline(move |_| out.try_submit(&Publish::new("out", "x")).expect("room"))
        .expect("a route");
    grant(&mut peer, Version::V5).await;
    let (_, parent) = trace(4, "01");
    peer.send(&format!("30 {{ <in> {{ 26 <traceparent> <{parent}> 26 <tracestate> <a=1> }} }}"))
        .await;
    let expected = [("traceparent", &*parent), ("tracestate", "a=1")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(context_of(&peer.recv_packet().await), expected);
}

#[tokio::test]
async fn a_stream_gives_the_context_and_an_empty_one_for_what_is_none() {
    let (_manager, session, mut peer) = connected().await;
    let mut stream = session.listen("a").expect("a route");
    grant(&mut peer, Version::V5).await;
    let (number, parent) = trace(5, "01");
    let spoilt = parent.replace('-', ":");
    for value in [&parent, &spoilt] {
        peer.send(&format!("30 {{ <a> {{ 26 <traceparent> <{value}> }} }}")).await;
    }
    let tracer = global::tracer("app");
    let message = stream.next().await.expect("a message");
    drop(tracer.start_with_context("child", &message.trace_context()));
    let message = stream.next().await.expect("a message");
    assert!(!message.trace_context().has_active_span());
    let spans = finished(number);
    assert_eq!(spans.len(), 1);
    assert_eq!((&*spans[0].name, &spans[0].status), ("child", &Status::Unset));
}

#[tokio::test]
async fn spans_of_tracing_are_carried_and_continued() {
    use mqttx::opentelemetry::trace::TracerProvider as _;
    use tracing_opentelemetry::OpenTelemetrySpanExt;
    let layer = tracing_opentelemetry::layer().with_tracer(recorder().1.tracer("app"));
    let _default = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let (_manager, session, mut peer) = connected().await;
    let mut stream = session.listen("a").expect("a route");
    grant(&mut peer, Version::V5).await;
    let (number, parent) = trace(6, "01");
    peer.send(&format!("30 {{ <a> {{ 26 <traceparent> <{parent}> }} }}")).await;
    let message = stream.next().await.expect("a message");
    let span = tracing::info_span!("answer");
    span.set_parent(message.trace_context()).expect("the layer is there");
    let sent = session.publish("t", "x", QoS::AtMostOnce, false);
    sent.instrument(span.clone()).await.expect("sent");
    let own = span.context().span().span_context().clone();
    assert_eq!(own.trace_id(), number);
    assert_eq!(context_of(&peer.recv_packet().await), carries(&own));
    drop(span);
    assert_eq!(finished(number)[0].parent_span_id.to_string(), "00f067aa0ba902b7");
}
