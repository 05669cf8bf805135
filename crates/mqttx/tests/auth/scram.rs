//! SCRAM end to end.

use std::time::Duration;

use mqttx::auth::{AuthMethod, Credentials, Scram};
use mqttx::{ErrorKind, QoS, ReasonCode, SessionStatus};
use mqttx_test::{Peer, ScramServer, ScriptedBroker, authentication_data};

use super::{SOON, add, options};

const METHOD: &str = ScramServer::METHOD;

fn data_of(packet: &[u8]) -> Vec<u8> {
    authentication_data(packet, METHOD).expect("data")
}

/// AUTH with 0x18.
fn challenge(data: &str) -> String {
    format!("f0 {{ 18 {{ 15 <{METHOD}> 16 <{data}> }} }}")
}

/// CONNACK with the proof.
fn accepted(proof: &str) -> String {
    format!("20 {{ 00 00 {{ 15 <{METHOD}> 16 <{proof}> }} }}")
}

fn pencil() -> Scram<Credentials> {
    Scram::sha256(Credentials::new("user", "pencil"))
}

/// Takes CONNECT and answers client-first.
async fn begin(broker: &ScriptedBroker, server: &mut ScramServer) -> Peer {
    let mut peer = broker.accept().await;
    let connect = peer.expect_type(0x10).await;
    let first = server.first(&data_of(&connect));
    peer.send(&challenge(&first)).await;
    peer
}

/// The whole exchange.
async fn authenticate(broker: &ScriptedBroker, server: &mut ScramServer) -> Peer {
    let mut peer = begin(broker, server).await;
    let auth = peer.expect_type(0xf0).await;
    let last = server.last(&data_of(&auth));
    peer.send(&accepted(&last.expect("the right proof"))).await;
    peer
}

#[tokio::test]
async fn a_session_proves_its_password_without_sending_it() {
    let broker = ScriptedBroker::start().await;
    let mut server = ScramServer::new("user", "pencil", 4096);
    let (_manager, session) = add(options(&broker).authenticator(pencil()));
    let queued = session.enqueue(mqttx::Publish::new("t", "m").qos(QoS::AtLeastOnce)).await;
    let mut peer = broker.accept().await;
    let connect = peer.expect_type(0x10).await;
    assert_eq!(connect[9], 0x02, "neither user nor password: clean start alone");
    let first = server.first(&data_of(&connect));
    peer.send(&challenge(&first)).await;
    let auth = peer.expect_type(0xf0).await;
    assert_eq!(auth[2], 0x18);
    let last = server.last(&data_of(&auth)).expect("the proof");
    peer.expect_silence(Duration::from_millis(50)).await;
    // CONNACK and a message in one piece: the message is not lost.
    let mut stream = session.route("in").listen().expect("a route");
    peer.send(&format!("{} 32 {{ <in> 0007 {{}} 'early' }}", accepted(&last))).await;
    peer.expect("82 { 00 01 { 0b 01 } <in> 01 }").await;
    peer.expect("32 { <t> 00 02 {} 'm' }").await;
    let early = stream.next().await.expect("the message");
    assert_eq!(early.payload_str(), Ok("early"));
    peer.send("40 { 00 02 } 90 { 00 01 {} 01 }").await;
    queued.expect("accepted").await.expect("acknowledged");
    session.wait_ready(SOON).await.expect("ready");
}

#[tokio::test]
async fn the_proof_may_come_with_auth_before_connack() {
    let broker = ScriptedBroker::start().await;
    let mut server = ScramServer::new("user", "pencil", 4096);
    let (_manager, session) = add(options(&broker).authenticator(pencil()));
    let mut peer = begin(&broker, &mut server).await;
    let auth = peer.expect_type(0xf0).await;
    let last = server.last(&data_of(&auth)).expect("the proof");
    peer.send(&challenge(&last)).await;
    peer.expect(&format!("f0 {{ 18 {{ 15 <{METHOD}> }} }}")).await;
    peer.send(&format!("20 {{ 00 00 {{ 15 <{METHOD}> }} }}")).await;
    session.wait_connected(SOON).await.expect("connected");
}

#[tokio::test]
async fn every_connection_authenticates_anew() {
    let broker = ScriptedBroker::start().await;
    let mut server = ScramServer::new("user", "pencil", 4096);
    let (_manager, session) = add(options(&broker).authenticator(pencil()));
    for _ in 0..3 {
        let peer = authenticate(&broker, &mut server).await;
        session.wait_connected(SOON).await.expect("connected");
        peer.close().await;
        while session.is_connected() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_by_the_server() {
    let broker = ScriptedBroker::start().await;
    let mut server = ScramServer::new("user", "another", 4096);
    let (_manager, session) = add(options(&broker).authenticator(pencil()));
    let mut peer = begin(&broker, &mut server).await;
    let auth = peer.expect_type(0xf0).await;
    assert!(server.last(&data_of(&auth)).is_none());
    peer.send("20 { 00 87 {} }").await;
    let error = session.wait_connected(SOON).await.expect_err("refused");
    assert_eq!(error.reason_code(), Some(ReasonCode::NOT_AUTHORIZED));
    assert_eq!(session.status(), SessionStatus::Failed);
}

#[tokio::test]
async fn a_server_that_does_not_know_the_password_gets_nothing() {
    for proof in ["16 <v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=>", ""] {
        let broker = ScriptedBroker::start().await;
        let mut server = ScramServer::new("user", "another", 4096);
        let (_manager, session) = add(options(&broker).authenticator(pencil()));
        let queued = session.enqueue(mqttx::Publish::new("t", "secret")).await;
        let mut peer = begin(&broker, &mut server).await;
        peer.expect_type(0xf0).await;
        let stream = session.route("in").listen().expect("a route");
        let connack = format!("20 {{ 00 00 {{ 15 <{METHOD}> {proof} }} }}");
        peer.send(&format!("{connack} 30 {{ <in> {{}} 'false' }}")).await;
        // Neither the message nor a subscription went out.
        peer.expect("e0 { 80 }").await;
        peer.expect_closed().await;
        let error = session.wait_connected(SOON).await.expect_err("no proof");
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Authentication, false));
        assert!(!error.to_string().contains("pencil"), "{error}");
        assert_eq!(session.status(), SessionStatus::Failed);
        assert_eq!(stream.route().stats().received, 0);
        drop(queued);
    }
}

#[tokio::test]
async fn a_server_that_asks_for_too_little_or_too_much_is_left() {
    for change in [
        |first: String| first.replace("i=4096", "i=1"),
        |first: String| first.replace("i=4096", "i=2000000000"),
        |first: String| first.replace("r=", "r=x"),
        |first: String| first.replace("-server", ""),
    ] {
        let broker = ScriptedBroker::start().await;
        let mut server = ScramServer::new("user", "pencil", 4096);
        let (_manager, session) = add(options(&broker).authenticator(pencil()));
        let mut peer = broker.accept().await;
        let connect = peer.expect_type(0x10).await;
        let first = server.first(&data_of(&connect));
        peer.send(&challenge(&change(first))).await;
        peer.expect("e0 { 80 }").await;
        peer.expect_closed().await;
        let error = session.wait_connected(SOON).await.expect_err("left");
        assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
    }
}

#[tokio::test]
async fn the_options_of_the_file_make_the_same() {
    let broker = ScriptedBroker::start().await;
    let mut server = ScramServer::new("user", "pencil", 4096);
    for moved in [false, true] {
        let mut auth = mqttx::auth::AuthOptions::default();
        auth.method = Some(AuthMethod::ScramSha256);
        let mut builder = options(&broker);
        if moved {
            builder = builder.auth("user", "pencil");
        } else {
            (auth.username, auth.password) = (Some("user".to_owned()), Some("pencil".into()));
        }
        let (_manager, session) = add(builder.auth_options(auth.clone()));
        let shown = session.options();
        assert_eq!((shown.auth, shown.username.is_some()), (Some(auth), moved), "as asked for");
        let _peer = authenticate(&broker, &mut server).await;
        session.wait_connected(SOON).await.expect("connected");
    }
}
