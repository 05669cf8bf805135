//! What a server says before it closes is heard, also by a session that is just writing.

use std::time::Duration;

use mqttx::{EventKind, EventName, Publish, QoS, ReasonCode, SessionManager, SessionOptions};
use mqttx_test::ScriptedBroker;

use crate::LONG;

/// A server that closes with unread input resets the connection: the session's next write fails while the
/// reason waits to be read.
#[tokio::test]
async fn the_reason_of_a_server_that_resets_a_writing_session_is_told() {
    for _ in 0..20 {
        let broker = ScriptedBroker::start_with_small_buffers();
        let manager = SessionManager::new();
        let mut ends = manager.events_matching(EventName::SessionDisconnected);
        let options = SessionOptions::quick_connect("s", broker.url()).client_id("s");
        let session = manager.add_session(options.build().unwrap()).unwrap();
        let (mut peer, _) = broker.accept_and_answer("20 { 00 00 {} }").await;
        session.wait_ready(LONG).await.unwrap();
        let writing = tokio::spawn({
            let session = session.clone();
            async move {
                let message = Publish::new("t", vec![0; 8192]).qos(QoS::AtLeastOnce);
                while session.enqueue(message.clone()).await.is_ok() {}
            }
        });
        peer.expect_type(0x32).await;
        peer.send("e0 { 98 {} }").await;
        peer.reset();
        let end = ends.next().await.unwrap();
        let EventKind::SessionDisconnected { error, reason } = &end.kind else { panic!("{end:?}") };
        assert_eq!(*reason, Some(ReasonCode::ADMINISTRATIVE_ACTION), "{error:?}");
        manager.remove_session("s").await.unwrap();
        writing.await.unwrap();
    }
}

/// The refusal of a CONNECT is final, however the connection ends.
#[tokio::test]
async fn a_refusal_followed_by_a_reset_is_a_refusal() {
    for (refusal, version) in
        [("20 { 00 87 {} }", mqttx::Version::V5), ("20 { 00 05 }", mqttx::Version::V311)]
    {
        let broker = ScriptedBroker::start().await;
        let manager = SessionManager::new();
        let options = SessionOptions::quick_connect("s", broker.url()).protocol(version);
        let session = manager.add_session(options.build().unwrap()).unwrap();
        let _waiting = session.try_publish(Publish::new("t", "x").qos(QoS::AtLeastOnce)).unwrap();
        let mut peer = broker.accept().await;
        peer.expect_type(0x10).await;
        peer.send(refusal).await;
        peer.reset();
        let error = session.wait_ready(LONG).await.unwrap_err();
        assert_eq!(error.reason_code(), Some(ReasonCode::NOT_AUTHORIZED), "{error}");
        broker.expect_no_connection(Duration::from_millis(50)).await;
    }
}
