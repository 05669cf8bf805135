//! Servers that are gone in the middle of a handshake. Those that are slow or silent need stopped time: `transports/hostile.rs`.

use mqttx::{SessionBuilder, TlsOptions};
use mqttx_test::ScriptedBroker;

use crate::support::{PATIENCE, options, start};

fn once(url: &str) -> SessionBuilder {
    options(url, TlsOptions::new()).auto_reconnect(false)
}

async fn told(options: SessionBuilder) -> mqttx::Error {
    let (_manager, session) = start(options);
    session.wait_ready(PATIENCE).await.expect_err("no connection");
    session.last_error().expect("the reason")
}

#[tokio::test]
async fn reset_and_end_in_the_handshake_are_told_and_tried_again() {
    let broker = ScriptedBroker::start().await;
    let url = format!("mqtts://{}", broker.address());
    let resetting = async {
        let mut peer = broker.accept().await;
        peer.recv_packet().await;
        peer.reset();
    };
    let (error, ()) = tokio::join!(told(once(&url)), resetting);
    assert_eq!(error.code(), "connection.tls.failed", "{error}");
    assert!(error.is_temporary() && error.to_string().contains("TLS handshake"), "{error}");
    let closing = async {
        let peer = broker.accept().await;
        peer.close().await;
    };
    let (error, ()) = tokio::join!(told(once(&url)), closing);
    assert!(error.is_temporary(), "{error}");
    assert!(error.to_string().contains("does it speak TLS at this port?"), "{error}");
}
