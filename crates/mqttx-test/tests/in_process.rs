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
    assert_eq!((connack[0], connack[2]), (0x20, 0), "{connack:?}");
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
async fn flood_of_qos_1_reaches_a_slow_subscriber_whole_and_in_order() {
    const MESSAGES: u32 = 30_000;
    let broker = InProcessBroker::start().await;
    let (mut sub_read, mut sub_write) =
        connect(broker.address(), "10 { <MQTT> 05 02 00 00 {} <sub> }").await;
    sub_write.write_all(&hex("82 { 00 01 {} <t> 01 }")).await.unwrap();
    assert_eq!(packet(&mut sub_read).await[0], 0x90);
    let (mut pub_read, mut pub_write) =
        connect(broker.address(), "10 { <MQTT> 05 02 00 00 {} <pub> }").await;
    let acks = tokio::spawn(async move {
        for _ in 0..MESSAGES {
            assert_eq!(packet(&mut pub_read).await[0], 0x40);
        }
    });
    // The subscriber reads nothing until everything was published.
    for number in 0..MESSAGES {
        let id = number % 60_000 + 1;
        let script = format!("32 {{ <t> {id:04x} {{}} {number:08x} }}");
        pub_write.write_all(&hex(&script)).await.unwrap();
    }
    acks.await.unwrap();
    for number in 0..MESSAGES {
        let publish = packet(&mut sub_read).await;
        assert_eq!(publish[0], 0x32, "{publish:?}");
        assert_eq!(publish[publish.len() - 4..], number.to_be_bytes());
        sub_write.write_all(&[0x40, 2, publish[5], publish[6]]).await.unwrap();
    }
}
