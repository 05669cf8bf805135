//! The scripted broker says what differs, and ends connections as asked.

use mqttx_test::{ScriptedBroker, hex};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn pair() -> (mqttx_test::Peer, TcpStream) {
    let broker = ScriptedBroker::start().await;
    let client = TcpStream::connect(broker.address()).await.unwrap();
    (broker.accept().await, client)
}

#[tokio::test]
async fn packets_in_one_write_are_told_apart() {
    let (mut peer, mut client) = pair().await;
    client.write_all(&hex("c0 {} 30 { <a> 'x' } c0 {}")).await.unwrap();
    peer.expect("c0 {}").await;
    assert_eq!(peer.recv_packet().await, hex("30 { <a> 'x' }"));
    peer.expect_type(0xc0).await;
    peer.expect_silence(Duration::from_millis(1)).await;
}

#[tokio::test]
async fn packet_in_single_bytes_is_put_together_at_either_end() {
    let (mut peer, mut client) = pair().await;
    let send = async {
        for byte in hex("30 { <a> 'x' }") {
            client.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(send, peer.expect("30 { <a> 'x' }"));
    peer.send_split("20 { 00 00 }").await;
    let mut connack = [0; 4];
    client.read_exact(&mut connack).await.unwrap();
    assert_eq!(connack, *hex("20 { 00 00 }"));
}

#[tokio::test]
#[should_panic(expected = "got      [2 bytes] d0 00")]
async fn other_packet_than_expected_is_shown() {
    let (mut peer, mut client) = pair().await;
    client.write_all(&hex("d0 {}")).await.unwrap();
    peer.expect("c0 {}").await;
}

#[tokio::test]
#[should_panic(expected = "expected silence, got [2 bytes] c0 00")]
async fn packet_in_a_silence_is_shown() {
    let (mut peer, mut client) = pair().await;
    client.write_all(&hex("c0 {}")).await.unwrap();
    peer.expect_silence(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn close_delivers_what_was_sent_and_reset_is_an_error() {
    let (mut peer, mut client) = pair().await;
    peer.send("d0 {}").await;
    peer.close().await;
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, hex("d0 {}"));

    let (peer, mut client) = pair().await;
    peer.reset();
    let error = client.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn end_of_the_connection_is_seen() {
    let (mut peer, client) = pair().await;
    drop(client);
    peer.expect_closed().await;
    assert_eq!(peer.try_recv_packet().await, None);
}

#[tokio::test]
async fn stalled_peer_with_small_buffers_stops_the_writer() {
    let broker = ScriptedBroker::start_with_small_buffers();
    let mut client = TcpStream::connect(broker.address()).await.unwrap();
    let _stalled = broker.accept().await;
    let flood = vec![0; 64 * 1024 * 1024];
    let write = tokio::time::timeout(Duration::from_millis(200), client.write_all(&flood));
    assert!(write.await.is_err(), "64 MiB went into a peer that does not read");
}
