//! A forwarder that costs next to nothing: bytes from one socket to the other.
//!
//! PUBLISH goes to the target with the source's packet id, and PUBACK back with the same one, so that nothing needs to be looked at.

use std::io::{Read, Result, Write};
use std::net::TcpStream;

/// Between the two addresses until a connection ends.
pub(crate) fn forward(source: &str, target: &str) -> Result<()> {
    let (mut source, known) = connect(source, b"gw-src")?;
    if !known {
        // Packet id 1, no properties, the filter `in/#` with QoS 1.
        source.write_all(&[0x82, 10, 0, 1, 0, 0, 4, b'i', b'n', b'/', b'#', 1])?;
        packet(&mut source)?;
    }
    let (target, _) = connect(target, b"gw-dst")?;
    let (back, forth) = (target.try_clone()?, source.try_clone()?);
    std::thread::spawn(move || pump(back, source));
    pump(forth, target)
}

/// A session that stays at the server; whether it was there.
fn connect(address: &str, client_id: &[u8; 6]) -> Result<(TcpStream, bool)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    // No clean start, no keep alive; Session Expiry Interval 1 h, Receive Maximum 1000.
    let header = [0x10, 27, 0, 4, b'M', b'Q', b'T', b'T', 5, 0, 0, 0];
    let properties = [8, 0x11, 0, 0, 14, 16, 0x21, 3, 232];
    stream.write_all(&[&header[..], &properties, &[0, 6], client_id].concat())?;
    let connack = packet(&mut stream)?;
    assert_eq!(connack.get(1), Some(&0), "the broker accepts the connection");
    Ok((stream, connack.first() == Some(&1)))
}

/// What follows the length of a short packet.
fn packet(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut header = [0; 2];
    stream.read_exact(&mut header)?;
    assert!(header[1] < 128, "a short packet");
    let mut rest = vec![0; header[1].into()];
    stream.read_exact(&mut rest)?;
    Ok(rest)
}

fn pump(mut from: TcpStream, mut to: TcpStream) -> Result<()> {
    let mut block = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut block)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&block[..count])?;
    }
}
