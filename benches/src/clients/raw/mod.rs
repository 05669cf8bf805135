//! The limit: encoded packets in large writes, acknowledgements counted by their bytes, on one thread.
//!
//! It checks nothing and keeps nothing, so that no client can be faster on the same test peer.

mod durable;
mod forward;
mod latency;
mod many;
mod publish;
mod receive;
mod tls;

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::child::Task;
use crate::workload::Work;

/// Bytes written or read at a time.
const BLOCK: usize = 256 << 10;

pub(super) fn run(task: Task) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let task = Arc::new(task);
    runtime.expect("a runtime").block_on(async {
        let work = match task.case.work {
            Work::Publish if task.case.tls => tls::publish(&task).await,
            Work::Publish => publish::run(&task).await,
            Work::Receive => receive::run(&task).await,
            Work::Forward => forward::run(&task).await,
            Work::Durable => durable::run(&task).await,
            Work::Latency(_) => latency::run(&task).await,
            Work::Connect => many::storm(&task).await,
            Work::Idle => many::idle(&task).await,
            Work::Metrics | Work::Lifecycles => Ok(()),
        };
        work.map_err(|error| format!("raw: {error}"))?;
        task.done();
        std::future::pending().await
    })
}

/// A connection that has its CONNACK.
async fn connect(task: &Task, number: usize) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(address) = task.case.local_address(number) {
        socket.bind((address, 0).into())?;
    }
    let mut stream = socket.connect(task.peer).await?;
    stream.set_nodelay(true)?;
    introduce(&mut stream, number).await?;
    Ok(stream)
}

/// Sends CONNECT and takes the CONNACK.
async fn introduce(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    number: usize,
) -> std::io::Result<()> {
    let id = format!("raw-{number}");
    let mut packet = vec![0x10, 12 + id.len() as u8, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60];
    push_text(&mut packet, &id);
    stream.write_all(&packet).await?;
    stream.flush().await?;
    stream.read_exact(&mut [0; 4]).await?;
    Ok(())
}

/// Sends SUBSCRIBE and takes the SUBACK.
async fn subscribe(stream: &mut TcpStream, filter: &str, qos: u8) -> std::io::Result<()> {
    let mut packet = vec![0x82, 5 + filter.len() as u8, 0, 1];
    push_text(&mut packet, filter);
    packet.push(qos);
    stream.write_all(&packet).await?;
    stream.read_exact(&mut [0; 5]).await?;
    Ok(())
}

fn push_text(packet: &mut Vec<u8>, text: &str) {
    packet.extend((text.len() as u16).to_be_bytes());
    packet.extend(text.as_bytes());
}

/// A PUBLISH of 3.1.1.
fn publish_packet(topic: &str, payload: usize, qos: u8, id: u16) -> Vec<u8> {
    let mut body = Vec::new();
    push_text(&mut body, topic);
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    body.resize(body.len() + payload, b'x');
    let mut packet = vec![0x30 | qos << 1];
    let mut length = body.len();
    while length > 0x7f {
        packet.push(length as u8 | 0x80);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend(body);
    packet
}
