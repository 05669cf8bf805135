//! Servers that are slow, silent or gone: a handshake ends within the time for connecting.

use std::time::Duration;

use mqttx::{SessionBuilder, TlsOptions};
use mqttx_test::ScriptedBroker;

use crate::support::{PATIENCE, options, start};

fn quick(url: &str) -> SessionBuilder {
    options(url, TlsOptions::new())
        .connect_timeout(Duration::from_millis(300))
        .auto_reconnect(false)
}

async fn told(options: SessionBuilder) -> mqttx::Error {
    let (_manager, session) = start(options);
    session.wait_ready(PATIENCE).await.expect_err("no connection");
    session.last_error().expect("the reason")
}

#[tokio::test]
async fn silent_server_costs_the_time_for_connecting() {
    let broker = ScriptedBroker::start().await;
    let url = format!("mqtts://{}", broker.address());
    let (error, _peer) = tokio::join!(told(quick(&url)), broker.accept());
    assert!(error.is_timeout() && error.is_temporary(), "{error}");
    assert!(error.to_string().contains("no answer to TLS after 300 ms"), "{error}");
}

#[tokio::test]
async fn server_that_sends_a_byte_at_a_time_costs_no_more() {
    let broker = ScriptedBroker::start().await;
    let url = format!("mqtts://{}", broker.address());
    let dripping = async {
        let mut peer = broker.accept().await;
        // The header of a handshake record of 16 KiB, and never its end.
        let mut next = [0x16, 3, 3, 0x40, 0].into_iter().chain(std::iter::repeat(2));
        loop {
            let byte = next.next().expect("endless");
            peer.try_send(&format!("{byte:02x}")).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let error = tokio::select! {
        error = told(quick(&url)) => error,
        () = dripping => unreachable!(),
    };
    assert!(error.is_timeout(), "{error}");
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
    let (error, ()) = tokio::join!(told(quick(&url)), resetting);
    assert_eq!(error.code(), "connection.tls.failed", "{error}");
    assert!(error.is_temporary() && error.to_string().contains("TLS handshake"), "{error}");
    let closing = async {
        let peer = broker.accept().await;
        peer.close().await;
    };
    let (error, ()) = tokio::join!(told(quick(&url)), closing);
    assert!(error.is_temporary(), "{error}");
    assert!(error.to_string().contains("does it speak TLS at this port?"), "{error}");
}
