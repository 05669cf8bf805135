//! The load peer counts what it gets and keeps to the windows of its clients.

use mqttx_test::{Flood, LoadOptions, LoadPeer, hex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECT_311: &str = "10 { <MQTT> 04 02 00 3c <a> }";
const CONNECT_5: &str = "10 { <MQTT> 05 02 00 3c {} <a> }";

/// Connects and checks the CONNACK.
async fn connect(peer: &LoadPeer, connect: &str, connack: &str) -> TcpStream {
    let mut stream = TcpStream::connect(peer.address()).await.unwrap();
    stream.write_all(&hex(connect)).await.unwrap();
    expect(&mut stream, connack).await;
    stream
}

async fn expect(stream: &mut TcpStream, script: &str) {
    let expected = hex(script);
    let mut got = vec![0; expected.len()];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(mqttx_test::shown(&got), mqttx_test::shown(&expected));
}

fn flood(qos: u8, messages: u64, window: u16) -> LoadOptions {
    let flood = Flood { topics: vec!["t".to_owned()], payload: 8, qos, messages, window };
    LoadOptions { flood: Some(flood), ..LoadOptions::default() }
}

#[tokio::test]
async fn every_kind_of_packet_is_answered_and_counted() {
    let peer = LoadPeer::start(LoadOptions::default());
    let mut stream = connect(&peer, CONNECT_311, "20 { 00 00 }").await;
    let script = "82 { 00 01 <a> 01 <b/#> 02 } 30 { <t> 'x' } 32 { <t> 00 02 'x' } \
                  3c { <t> 00 03 'x' } 62 { 00 03 } c0 {} a2 { 00 04 <a> }";
    stream.write_all(&hex(script)).await.unwrap();
    let answers = "90 { 00 01 01 02 } 40 { 00 02 } 50 { 00 03 } 70 { 00 03 } d0 {} b0 { 00 04 }";
    expect(&mut stream, answers).await;
    drop(stream);
    let counted = peer.wait_for(|counters| counters.closed == 1).await;
    assert_eq!((counted.connects, counted.subscribes, counted.pings), (1, 1, 1));
    assert_eq!((counted.publishes, counted.duplicates, counted.released), (3, 1, 1));
    assert_eq!(counted.publish_bytes, 6 + 8 + 8);
}

#[tokio::test]
async fn version_5_gets_properties_and_the_receive_maximum() {
    let peer = LoadPeer::start(LoadOptions { receive_maximum: Some(7), flood: None });
    let mut stream = connect(&peer, CONNECT_5, "20 { 00 00 { 21 00 07 } }").await;
    stream.write_all(&hex("82 { 00 01 { 0b 05 } <a> 2d } a2 { 00 02 {} <a> <b> }")).await.unwrap();
    expect(&mut stream, "90 { 00 01 {} 01 } b0 { 00 02 {} 00 00 }").await;
}

#[tokio::test]
async fn the_topics_of_a_flood_take_turns() {
    let topics = ["a", "b/longer", "c"].map(str::to_owned).to_vec();
    let flood = Flood { topics, payload: 8, qos: 1, messages: 4, window: 4 };
    let peer = LoadPeer::start(LoadOptions { flood: Some(flood), ..LoadOptions::default() });
    let mut stream = connect(&peer, CONNECT_311, "20 { 00 00 }").await;
    stream.write_all(&hex("82 { 00 01 <#> 01 }")).await.unwrap();
    let zeros = "00 00 00 00 00 00 00";
    let message = |topic, n| format!("32 {{ <{topic}> 00 0{} {zeros} 0{n} }} ", n + 1);
    let messages = [("a", 0), ("b/longer", 1), ("c", 2), ("a", 3)].map(|(t, n)| message(t, n));
    expect(&mut stream, &format!("90 {{ 00 01 01 }} {}", messages.concat())).await;
}

#[tokio::test]
async fn publish_in_pieces_is_counted_once_and_whole() {
    let peer = LoadPeer::start(LoadOptions::default());
    let mut stream = connect(&peer, CONNECT_311, "20 { 00 00 }").await;
    let publish = hex(&format!("32 {{ <t> 00 01 '{}' }}", "x".repeat(700_000)));
    for piece in publish.chunks(100_000) {
        stream.write_all(piece).await.unwrap();
    }
    expect(&mut stream, "40 { 00 01 }").await;
    let counted = peer.wait_for(|counters| counters.publishes > 0).await;
    assert_eq!((counted.publishes, counted.publish_bytes), (1, publish.len() as u64));
}

#[tokio::test]
async fn flood_of_qos_1_keeps_to_the_window() {
    let peer = LoadPeer::start(flood(1, 5, 3));
    let mut stream = connect(&peer, CONNECT_311, "20 { 00 00 }").await;
    stream.write_all(&hex("82 { 00 01 <t> 01 }")).await.unwrap();
    expect(&mut stream, "90 { 00 01 01 }").await;
    for number in 0..3_u64 {
        expect(&mut stream, &format!("32 {{ <t> {:04x} {number:016x} }}", number + 1)).await;
    }
    // What comes after the answer to a ping was not sent before it.
    stream.write_all(&hex("c0 {}")).await.unwrap();
    expect(&mut stream, "d0 {}").await;
    stream.write_all(&hex("40 { 00 01 }")).await.unwrap();
    expect(&mut stream, "32 { <t> 00 04 0000000000000003 }").await;
    stream.write_all(&hex("40 { 00 02 } 40 { 00 03 } 40 { 00 04 }")).await.unwrap();
    expect(&mut stream, "32 { <t> 00 05 0000000000000004 }").await;
    stream.write_all(&hex("40 { 00 05 }")).await.unwrap();
    let counted = peer.wait_for(|counters| counters.acknowledged == 5).await;
    assert_eq!(counted.flooded, 5);
}

#[tokio::test]
async fn flood_keeps_to_a_smaller_receive_maximum_of_the_client() {
    let peer = LoadPeer::start(flood(2, 2, 100));
    // Properties of every wire type before the Receive Maximum.
    let properties = "{ 11 00000009 26 <k> <v> 17 01 22 0001 16 <x> 21 00 01 }";
    let script = format!("10 {{ <MQTT> 05 02 00 3c {properties} <a> }}");
    let mut stream = connect(&peer, &script, "20 { 00 00 {} }").await;
    stream.write_all(&hex("82 { 00 01 {} <t> 02 }")).await.unwrap();
    expect(&mut stream, "90 { 00 01 {} 02 } 34 { <t> 00 01 {} 0000000000000000 }").await;
    stream.write_all(&hex("50 { 00 01 } c0 {}")).await.unwrap();
    expect(&mut stream, "62 { 00 01 } d0 {}").await;
    stream.write_all(&hex("70 { 00 01 }")).await.unwrap();
    expect(&mut stream, "34 { <t> 00 02 {} 0000000000000001 }").await;
    // A refused message is done with its PUBREC.
    stream.write_all(&hex("50 { 00 02 97 {} }")).await.unwrap();
    peer.wait_for(|counters| counters.acknowledged == 2).await;
}

#[tokio::test]
async fn flood_of_qos_0_is_larger_than_every_buffer() {
    let peer = LoadPeer::start(flood(0, 1_000_000, 1));
    let mut stream = connect(&peer, CONNECT_311, "20 { 00 00 }").await;
    stream.write_all(&hex("82 { 00 01 <t> 00 }")).await.unwrap();
    expect(&mut stream, "90 { 00 01 00 }").await;
    let mut left = 1_000_000 * 13;
    let mut buffer = vec![0; 1 << 20];
    while left > 0 {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0 && count <= left, "{count} of {left}");
        left -= count;
    }
}
