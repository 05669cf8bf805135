//! The wrapper around Mosquitto starts, kills and restarts it; needs `MQTTX_TEST_MOSQUITTO`.

use mqttx_test::{Mosquitto, hex};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connects as `client` with MQTT 3.1.1, keeping the session; whether the session was there.
async fn connect(address: SocketAddr) -> (TcpStream, bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&hex("10 { <MQTT> 04 00 00 3c <client> }")).await.unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).await.unwrap();
    assert_eq!([connack[0], connack[1], connack[3]], [0x20, 2, 0]);
    (stream, connack[2] == 1)
}

#[tokio::test]
async fn killed_broker_ends_connections_and_comes_back_at_the_same_address() {
    let Some(mut broker) = Mosquitto::builder().start().await else { return };
    let (mut stream, _) = connect(broker.address()).await;
    broker.kill();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(broker.address()).await.is_err());
    broker.restart().await;
    let (_, present) = connect(broker.address()).await;
    assert!(!present, "a session survived without persistence");
}

#[tokio::test]
async fn stopped_broker_with_persistence_keeps_sessions() {
    let Some(mut broker) = Mosquitto::builder().persistence(true).start().await else { return };
    let (stream, present) = connect(broker.address()).await;
    assert!(!present);
    drop(stream);
    broker.stop().await;
    broker.restart().await;
    let (_, present) = connect(broker.address()).await;
    assert!(present, "the session is gone\n{}", broker.log());
}

#[tokio::test]
async fn more_messages_than_may_be_in_flight_are_queued_and_none_is_lost() {
    let builder = Mosquitto::builder().max_inflight(2);
    let Some(broker) = builder.start().await else { return };
    let (mut stream, _) = connect(broker.address()).await;
    stream.write_all(&hex("82 { 00 01 <t> 01 }")).await.unwrap();
    let mut suback = [0; 5];
    stream.read_exact(&mut suback).await.unwrap();
    assert_eq!(suback, *hex("90 { 00 01 01 }"));
    for id in 1..=9_u8 {
        stream.write_all(&hex(&format!("32 {{ <t> 00 {id:02x} 'x' }}"))).await.unwrap();
    }
    let (mut pubacks, mut publishes) = (0, 0);
    while pubacks < 9 || publishes < 9 {
        let first = stream.read_u8().await.unwrap();
        let mut body = vec![0; usize::from(stream.read_u8().await.unwrap())];
        stream.read_exact(&mut body).await.unwrap();
        if first == 0x40 {
            pubacks += 1;
        } else {
            assert_eq!(first, 0x32, "{body:?}");
            publishes += 1;
            stream.write_all(&[0x40, 2, body[3], body[4]]).await.unwrap();
        }
    }
}
