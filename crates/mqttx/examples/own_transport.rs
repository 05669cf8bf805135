//! A transport of the program's own: a slow line to a broker in the same process. It needs no network.
//!
//! `cargo run -p mqttx --example own_transport`

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mqttx::proto::{FrameStatus, Packet, decode, frame};
use mqttx::{Endpoint, QoS, SessionManager, SessionOptions, Transport, TransportFuture, Version};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes that the line takes at once.
const CHUNK: usize = 16;
/// How long it needs for them.
const PAUSE: Duration = Duration::from_millis(2);

#[tokio::main]
async fn main() -> Result<(), mqttx::Error> {
    println!("the answers: {:?}", run().await?);
    Ok(())
}

/// Publishes three messages over the slow line and returns what was acknowledged.
pub(crate) async fn run() -> Result<Vec<String>, mqttx::Error> {
    let manager = SessionManager::new();
    let options = SessionOptions::quick_connect("slow", "mqtt://in-process").transport(SlowLine);
    let session = manager.add_session(options.build()?)?;
    let mut answers = Vec::new();
    for text in ["one", "two", "three"] {
        let published = session.publish("example/t", text, QoS::AtLeastOnce, false).await?;
        answers.push(format!("{text}: {}", published.reason));
    }
    manager.shutdown(Duration::from_secs(5)).await;
    Ok(answers)
}

/// Each connection is a pipe in memory with a broker at its other end.
struct SlowLine;

impl Transport for SlowLine {
    fn connect<'a>(&'a self, _broker: &'a Endpoint) -> TransportFuture<'a> {
        Box::pin(async {
            let (near, far) = duplex(4096);
            tokio::spawn(serve(far));
            Ok(Box::new(Throttled::new(near)) as _)
        })
    }
}

/// A stream that takes a few bytes at a time.
struct Throttled<S> {
    stream: S,
    pause: Pin<Box<Sleep>>,
}

impl<S> Throttled<S> {
    fn new(stream: S) -> Self {
        Self { stream, pause: Box::pin(sleep_until(Instant::now())) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Throttled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Throttled<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.pause.as_mut().poll(cx));
        let some = bytes.get(..CHUNK).unwrap_or(bytes);
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, some))?;
        self.pause.as_mut().reset(Instant::now() + PAUSE);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// As much of a broker as this example needs: it accepts everybody and acknowledges everything.
async fn serve(mut stream: DuplexStream) -> io::Result<()> {
    let mut input = Vec::new();
    loop {
        while let Ok(FrameStatus::Complete(found)) = frame(&input, Version::V5, u32::MAX) {
            let body = &input[found.header_len..found.total_len];
            match decode(Version::V5, found.first_byte, body) {
                Ok(Packet::Connect(_)) => stream.write_all(&[0x20, 3, 0, 0, 0]).await?,
                Ok(Packet::Publish(publish)) => {
                    println!("the broker received {:?}", String::from_utf8_lossy(publish.payload));
                    if let Some(id) = publish.packet_id {
                        let [high, low] = id.get().to_be_bytes();
                        stream.write_all(&[0x40, 2, high, low]).await?;
                    }
                }
                _ => return Ok(()),
            }
            input.drain(..found.total_len);
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}
