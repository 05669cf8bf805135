//! Request and response: what is on the wire, and which response belongs to which request.

use std::time::Duration;

use mqttx::{
    Backoff, Error, ErrorKind, Message, Property, Publish, QoS, ReasonCode, Requester, Session,
    SessionManager, SessionOptions, Version,
};
use mqttx_test::{Peer, ScriptedBroker};

const ACCEPTED: &str = "20 { 00 00 {} }";
const SOON: Duration = Duration::from_secs(10);

async fn connected(broker: &ScriptedBroker, connack: &str) -> (SessionManager, Session, Peer) {
    let manager = SessionManager::new();
    let backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(40));
    let options = SessionOptions::quick_connect("s", broker.url())
        .receive_maximum(None)
        .subscription_identifiers(false)
        .reconnect(backoff);
    let session = manager.add_session(options.build().expect("valid")).expect("a session");
    let (peer, _) = broker.accept_and_answer(connack).await;
    session.wait_ready(SOON).await.expect("ready");
    (manager, session, peer)
}

/// A requester whose responses come to `r`.
async fn requester(session: &Session, peer: &mut Peer) -> Requester {
    let granted = async {
        peer.expect("82 { 0001 {} <r> 01 }").await;
        peer.send("90 { 0001 {} 01 }").await;
    };
    let (requester, ()) = tokio::join!(session.requester("r", QoS::AtLeastOnce), granted);
    requester.expect("granted")
}

/// A request with correlation data of its own.
fn asking(correlation: &[u8]) -> Publish {
    let property = Property::CorrelationData(correlation);
    Publish::new("q", "?").property(property).expect("a property")
}

fn text(response: Result<Message, Error>) -> String {
    response.expect("a response").payload_str().expect("text").to_owned()
}

#[tokio::test]
async fn responses_find_their_requests_in_any_order() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(&broker, ACCEPTED).await;
    let requester = requester(&session, &mut peer).await;
    let serve = async {
        peer.expect("30 { <q> { 09 <one> 08 <r> } '?' }").await;
        peer.expect("30 { <q> { 09 <two> 08 <r> } '?' }").await;
        peer.send("30 { <r> { 09 <three> } 'nobody asked' } 30 { <r> {} 'who?' }").await;
        peer.send("32 { <r> 0007 { 09 <two> } 'second' }").await;
        peer.send("30 { <r> { 09 <one> } 'first' }").await;
        peer.expect("40 { 0007 }").await;
    };
    let (one, two, ()) = tokio::join!(
        requester.request(asking(b"one"), SOON),
        requester.request(asking(b"two"), SOON),
        serve
    );
    assert_eq!((text(one).as_str(), text(two).as_str()), ("first", "second"));
    assert_eq!(requester.pending(), 0);
}

#[tokio::test]
async fn every_request_gets_correlation_data_of_its_own() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(&broker, ACCEPTED).await;
    let requester = requester(&session, &mut peer).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let serve = async {
            let packet = peer.recv_packet().await;
            // 30 LEN <q> { 08 <r> 09 <16 bytes> } '?'
            let correlation = packet[packet.len() - 17..packet.len() - 1].to_vec();
            let mut answer = vec![0x30, 24, 0, 1, b'r', 19, 9, 0, 16];
            answer.extend(&correlation);
            answer.push(b'!');
            peer.send_bytes(&answer).await;
            correlation
        };
        let (response, correlation) =
            tokio::join!(requester.request(Publish::new("q", "?"), SOON), serve);
        assert_eq!(text(response), "!");
        seen.push(correlation);
    }
    assert_ne!(seen[0], seen[1]);
}

#[tokio::test]
async fn a_response_may_come_before_the_acknowledgement_and_after_a_reconnect() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(&broker, ACCEPTED).await;
    let requester = requester(&session, &mut peer).await;
    let early = async {
        peer.expect("32 { <q> 0002 { 09 <one> 08 <r> } '?' }").await;
        peer.send("30 { <r> { 09 <one> } 'early' }").await;
    };
    let request = asking(b"one").qos(QoS::AtLeastOnce);
    let (response, ()) = tokio::join!(requester.request(request, SOON), early);
    assert_eq!(text(response), "early");
    peer.send("40 { 0002 }").await;
    let late = async {
        peer.expect("32 { <q> 0003 { 09 <two> 08 <r> } '?' }").await;
        peer.send("40 { 0003 }").await;
        peer.reset();
        let (mut peer, _) = broker.accept_and_answer(ACCEPTED).await;
        peer.expect("82 { 0004 {} <r> 01 }").await;
        peer.send("90 { 0004 {} 01 } 30 { <r> { 09 <two> } 'late' }").await;
        peer
    };
    let request = asking(b"two").qos(QoS::AtLeastOnce);
    let (response, _peer) = tokio::join!(requester.request(request, SOON), late);
    assert_eq!(text(response), "late");
}

#[tokio::test]
async fn a_topic_that_nobody_subscribes_is_an_error_at_once() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(&broker, ACCEPTED).await;
    let requester = requester(&session, &mut peer).await;
    let serve = async {
        peer.expect("32 { <q> 0002 { 09 <one> 08 <r> } '?' }").await;
        peer.send("40 { 0002 10 }").await;
    };
    let request = asking(b"one").qos(QoS::AtLeastOnce);
    let (response, ()) = tokio::join!(requester.request(request, SOON), serve);
    let error = response.expect_err("nobody is there");
    assert_eq!(error.reason_code(), Some(ReasonCode::NO_MATCHING_SUBSCRIBERS));
    assert_eq!((error.topic(), error.is_temporary()), (Some("q"), true));
}

#[tokio::test]
async fn a_request_that_could_not_be_sent_in_time_is_not_sent_later() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(&broker, ACCEPTED).await;
    let requester = requester(&session, &mut peer).await;
    peer.close().await;
    let broken = requester.request(asking(b"one"), Duration::from_millis(100));
    let error = broken.await.expect_err("no connection");
    assert!(error.is_timeout() || error.code() == "publish.expired", "{error:?}");
    assert_eq!(requester.pending(), 0);
    let (mut peer, _) = broker.accept_and_answer(ACCEPTED).await;
    peer.expect("82 { 0002 {} <r> 01 }").await;
    peer.send("90 { 0002 {} 01 }").await;
    drop(requester);
    peer.expect("a2 { 0003 {} <r> }").await;
}

#[tokio::test]
async fn the_same_correlation_data_twice_is_refused_and_free_again_after_the_response() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(&broker, ACCEPTED).await;
    let requester = requester(&session, &mut peer).await;
    let both = async {
        tokio::join!(
            biased;
            requester.request(asking(b"one"), SOON),
            requester.request(asking(b"one"), SOON)
        )
    };
    let serve = async {
        peer.expect("30 { <q> { 09 <one> 08 <r> } '?' }").await;
        peer.send("30 { <r> { 09 <one> } 'first' }").await;
    };
    let ((first, second), ()) = tokio::join!(both, serve);
    assert_eq!(text(first), "first");
    assert_eq!(second.expect_err("twice").kind(), ErrorKind::Publish);
    let serve = async {
        peer.expect("30 { <q> { 09 <one> 08 <r> } '?' }").await;
        // Our own request on our own topic would be no response.
        peer.send("30 { <r> { 09 <one> 08 <r> } '?' } 30 { <r> { 09 <one> } 'again' }").await;
    };
    let (again, ()) = tokio::join!(requester.request(asking(b"one"), SOON), serve);
    assert_eq!(text(again), "again");
}

#[tokio::test]
async fn requesters_on_one_topic_share_the_subscription_and_a_refusal_is_an_error() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(&broker, ACCEPTED).await;
    let first = requester(&session, &mut peer).await;
    let granted = async {
        peer.expect("82 { 0002 {} <r> 01 }").await;
        peer.send("90 { 0002 {} 01 }").await;
    };
    let (second, ()) = tokio::join!(session.requester("r", QoS::AtLeastOnce), granted);
    drop(first);
    let second = second.expect("granted");
    let serve = async {
        peer.expect("30 { <q> { 09 <one> 08 <r> } '?' }").await;
        peer.send("30 { <r> { 09 <one> } 'here' }").await;
    };
    let (response, ()) = tokio::join!(second.request(asking(b"one"), SOON), serve);
    assert_eq!(text(response), "here");
    let refused = async {
        peer.expect("82 { 0003 {} <no> 00 }").await;
        peer.send("90 { 0003 {} 87 }").await;
    };
    let (denied, ()) = tokio::join!(session.requester("no", QoS::AtMostOnce), refused);
    let error = denied.expect_err("refused");
    assert_eq!(error.reason_code(), Some(ReasonCode::NOT_AUTHORIZED));
    let wildcard = session.requester("a/+", QoS::AtMostOnce).await.expect_err("no topic");
    assert_eq!(wildcard.kind(), ErrorKind::Subscribe);
}

#[tokio::test]
async fn a_single_request_makes_its_topic_under_the_servers_response_information() {
    let broker = ScriptedBroker::start().await;
    let (manager, session, mut peer) = connected(&broker, "20 { 00 00 { 1a <resp/of/s/> } }").await;
    let serve = async {
        let subscribe = peer.expect_type(0x82).await;
        let topic = String::from_utf8(subscribe[7..subscribe.len() - 1].to_vec()).expect("text");
        assert!(topic.starts_with("resp/of/s/") && topic.len() == 10 + 32, "{topic}");
        peer.send("90 { 0001 {} 01 }").await;
        let request = peer.expect_type(0x32).await;
        let correlation = &request[request.len() - 17..request.len() - 1];
        let mut answer = vec![0x30, 0, 0, 42];
        answer.extend(topic.as_bytes());
        answer.extend([19, 9, 0, 16]);
        answer.extend(correlation);
        answer.push(b'!');
        answer[1] = u8::try_from(answer.len() - 2).expect("short");
        peer.send_bytes(&answer).await;
        peer.expect_type(0xa2).await;
    };
    let (response, ()) = tokio::join!(session.request("q", "?", SOON), serve);
    assert_eq!(text(response), "!");
    manager.remove_session("s").await.expect("removed");
    let error = session.request("q", "?", SOON).await.expect_err("removed");
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn version_3_1_1_has_no_requests() {
    let manager = SessionManager::new();
    let options = SessionOptions::quick_connect("s", "mqtt://127.0.0.1:1")
        .protocol(Version::V311)
        .manual_connect(true);
    let session = manager.add_session(options.build().expect("valid")).expect("a session");
    let error = session.requester("r", QoS::AtMostOnce).await.expect_err("no properties");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.session(), Some("s"));
}

#[tokio::test]
async fn a_request_is_answered_with_its_correlation_data_at_its_response_topic() {
    let broker = ScriptedBroker::start().await;
    let (_manager, session, mut peer) = connected(&broker, ACCEPTED).await;
    let mut questions = session.listen("q").expect("a route");
    peer.expect("82 { 0001 {} <q> 01 }").await;
    peer.send("90 { 0001 {} 01 }").await;
    peer.send("30 { <q> {} 'no answer wanted' } 30 { <q> { 08 <r> 09 <one> } '?' }").await;
    let plain = questions.next().await.expect("a message");
    assert_eq!(plain.response("!"), None);
    let question = questions.next().await.expect("a message");
    let answer = question.response("!").expect("a response topic");
    let answered = async {
        peer.expect("32 { <r> 0002 { 09 <one> } '!' }").await;
        peer.send("40 { 0002 }").await;
    };
    let (published, ()) = tokio::join!(session.publish_message(answer), answered);
    published.expect("acknowledged");
}
