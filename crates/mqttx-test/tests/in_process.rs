//! The broker in this process: both versions, no loss above QoS 0, stop and start.

use mqttx_test::{InProcessBroker, hex};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

async fn connect(address: SocketAddr, connect: &str) -> (OwnedReadHalf, OwnedWriteHalf) {
    let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    write.write_all(&hex(connect)).await.unwrap();
    let connack = packet(&mut read).await;
    assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:?}");
    (read, write)
}

async fn packet(read: &mut OwnedReadHalf) -> Vec<u8> {
    let mut packet = vec![read.read_u8().await.unwrap()];
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let byte = read.read_u8().await.unwrap();
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    read.read_exact(&mut body).await.unwrap();
    packet.push(0);
    packet.extend(body);
    packet
}

#[tokio::test]
async fn both_versions_are_spoken() {
    let broker = InProcessBroker::start().await;
    connect(broker.address(), "10 { <MQTT> 04 02 00 3c <three> }").await;
    connect(broker.address(), "10 { <MQTT> 05 02 00 3c {} <five> }").await;
    broker.stop().await;
}

#[tokio::test]
async fn stopped_broker_frees_its_address() {
    let broker = InProcessBroker::start().await;
    let address = broker.address();
    let (mut read, _write) = connect(address, "10 { <MQTT> 04 02 00 3c <a> }").await;
    broker.stop().await;
    assert_eq!(read.read(&mut [0; 8]).await.unwrap_or(0), 0);
    let broker = InProcessBroker::start_at(address).await;
    connect(broker.address(), "10 { <MQTT> 04 02 00 3c <a> }").await;
}

#[tokio::test]
async fn absent_subscriber_gets_every_message_of_a_flood_in_order() {
    // More than the broker keeps by default.
    const MESSAGES: u32 = 12_000;
    const SUBSCRIBER: &str = "10 { <MQTT> 05 00 00 00 { 11 00000e10 } <sub> }";
    let broker = InProcessBroker::start().await;
    let (mut read, mut write) = connect(broker.address(), SUBSCRIBER).await;
    write.write_all(&hex("82 { 00 01 {} <t> 01 } e0 {}")).await.unwrap();
    assert_eq!(packet(&mut read).await[0], 0x90);
    assert_eq!(read.read(&mut [0; 8]).await.unwrap(), 0);

    let publisher = "10 { <MQTT> 05 02 00 00 {} <pub> }";
    let (mut read, mut write) = connect(broker.address(), publisher).await;
    let acks = tokio::spawn(async move {
        for _ in 0..MESSAGES {
            assert_eq!(packet(&mut read).await[0], 0x40);
        }
    });
    for number in 0..MESSAGES {
        let script = format!("32 {{ <t> {:04x} {{}} {number:08x} }}", number + 1);
        write.write_all(&hex(&script)).await.unwrap();
    }
    acks.await.unwrap();

    let (mut read, mut write) = connect(broker.address(), SUBSCRIBER).await;
    for number in 0..MESSAGES {
        let publish = packet(&mut read).await;
        assert_eq!(publish[0], 0x32, "{publish:?}");
        assert_eq!(publish[publish.len() - 4..], number.to_be_bytes());
        write.write_all(&[0x40, 2, publish[5], publish[6]]).await.unwrap();
    }
}
