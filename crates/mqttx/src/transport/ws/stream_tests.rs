use super::*;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

fn websocket(capacity: usize) -> (WebSocket<DuplexStream>, DuplexStream) {
    let (near, far) = duplex(capacity);
    (WebSocket::new(near, Vec::new()), far)
}

/// The next frame of the client: its first byte and payload. It must be masked.
async fn frame(stream: &mut DuplexStream) -> (u8, Vec<u8>) {
    let first = stream.read_u8().await.expect("a frame");
    let second = stream.read_u8().await.expect("a frame");
    assert!(second & 0x80 != 0, "the client masks its frames");
    let length = match second & 0x7f {
        126 => usize::from(stream.read_u16().await.expect("a length")),
        127 => usize::try_from(stream.read_u64().await.expect("a length")).expect("a size"),
        short => usize::from(short),
    };
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).await.expect("a mask");
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.expect("the payload");
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    (first, payload)
}

async fn read(websocket: &mut WebSocket<DuplexStream>) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1024];
    let count = websocket.read(&mut buffer).await?;
    buffer.truncate(count);
    Ok(buffer)
}

#[tokio::test]
async fn what_came_with_the_handshake_is_read_first() {
    let (near, mut far) = duplex(64);
    let mut websocket = WebSocket::new(near, b"\x82\x03abc\x82".to_vec());
    far.write_all(b"\x02de").await.expect("room");
    assert_eq!(read(&mut websocket).await.expect("payload"), b"abc");
    assert_eq!(read(&mut websocket).await.expect("payload"), b"de");
}

#[tokio::test]
async fn pings_are_answered_while_only_reading() {
    let (mut websocket, mut far) = websocket(64);
    far.write_all(b"\x89\x02hi\x82\x01x").await.expect("room");
    assert_eq!(read(&mut websocket).await.expect("payload"), b"x");
    assert_eq!(frame(&mut far).await, (0x8a, b"hi".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_pong_without_room_goes_out_once_there_is_some() {
    let (mut websocket, mut far) = websocket(16);
    websocket.write_all(&[7; 10]).await.expect("room for a frame");
    far.write_all(b"\x89\x02hi").await.expect("room");
    let waiting = tokio::time::timeout(Duration::from_secs(1), read(&mut websocket)).await;
    assert!(waiting.is_err(), "a ping is no payload");
    let reader = tokio::spawn(async move { read(&mut websocket).await });
    assert_eq!(frame(&mut far).await, (0x82, vec![7; 10]));
    assert_eq!(frame(&mut far).await, (0x8a, b"hi".to_vec()));
    drop(far);
    assert_eq!(reader.await.expect("the reader").expect("the end"), b"");
}

#[tokio::test]
async fn a_message_goes_through_a_narrow_stream_in_frames_of_bounded_size() {
    let message: Vec<u8> = (0..200_000_u32).map(|n| (n / 7) as u8).collect();
    let (mut websocket, mut far) = websocket(100);
    let copy = message.clone();
    let writer = tokio::spawn(async move {
        websocket.write_all(&copy).await.expect("written");
        websocket.flush().await.expect("flushed");
        assert_eq!(websocket.output.capacity(), 0, "nothing is kept");
        websocket
    });
    let mut got = Vec::new();
    while got.len() < message.len() {
        let (first, payload) = frame(&mut far).await;
        assert!(first == 0x82 && payload.len() <= encoder::MAX_PAYLOAD);
        got.extend_from_slice(&payload);
    }
    assert!(got == message);
    writer.await.expect("the writer");
}

#[tokio::test]
async fn a_shutdown_says_goodbye_and_waits_for_the_server_to_close() {
    let (mut websocket, mut far) = websocket(64);
    websocket.shutdown().await.expect("a close frame");
    assert_eq!(frame(&mut far).await, (0x88, vec![3, 232]));
    let error = websocket.write_all(b"more").await.expect_err("closed");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    far.write_all(b"\x88\x02\x03\xe8").await.expect("still open");
    assert_eq!(read(&mut websocket).await.expect("the end"), b"");
}

#[tokio::test]
async fn the_servers_goodbye_is_answered_and_ends_the_stream() {
    for (close, answer) in
        [(b"\x88\x02\x03\xe9".as_slice(), vec![3, 233]), (b"\x88\x00".as_slice(), vec![])]
    {
        let (mut websocket, mut far) = websocket(64);
        far.write_all(&[b"\x82\x01x", close].concat()).await.expect("room");
        assert_eq!(read(&mut websocket).await.expect("payload"), b"x");
        assert_eq!(read(&mut websocket).await.expect("the end"), b"");
        assert_eq!(frame(&mut far).await, (0x88, answer));
    }
}

#[tokio::test]
async fn a_goodbye_with_a_reason_is_an_error_that_says_it() {
    let (mut websocket, mut far) = websocket(64);
    far.write_all(b"\x88\x08\x03\xf0nope\x07!").await.expect("room");
    let error = read(&mut websocket).await.expect_err("a reason");
    assert_eq!(error.to_string(), "the server closed the WebSocket: 1008 nope\u{fffd}!");
    assert_eq!(frame(&mut far).await, (0x88, vec![3, 240]));
}

#[tokio::test]
async fn a_fault_is_told_to_both_sides_after_the_payload_before_it() {
    let (mut websocket, mut far) = websocket(64);
    far.write_all(b"\x82\x01x\x81\x01y").await.expect("room");
    assert_eq!(read(&mut websocket).await.expect("payload"), b"x");
    let error = read(&mut websocket).await.expect_err("a text frame");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("text frame"), "{error}");
    assert_eq!(frame(&mut far).await, (0x88, vec![3, 235]));
}

#[tokio::test]
async fn an_end_inside_a_frame_is_an_error() {
    for start in [b"\x82".as_slice(), b"\x82\x05ab", b"\x89\x05ab"] {
        let (mut websocket, mut far) = websocket(64);
        far.write_all(start).await.expect("room");
        drop(far);
        let error = loop {
            match read(&mut websocket).await {
                Ok(payload) => assert!(!payload.is_empty(), "an orderly end"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{start:?}");
    }
}

#[tokio::test]
async fn a_frame_that_announces_a_lot_takes_no_memory() {
    let (mut websocket, mut far) = websocket(4096);
    far.write_all(b"\x82\x7f\0\0\0\0\x10\0\0\0start").await.expect("room");
    assert_eq!(read(&mut websocket).await.expect("payload"), b"start");
    let size = size_of::<WebSocket<DuplexStream>>() - size_of::<DuplexStream>();
    assert!(size <= 160, "{size} bytes");
    assert_eq!((websocket.early.capacity(), websocket.output.capacity()), (0, 0));
}
