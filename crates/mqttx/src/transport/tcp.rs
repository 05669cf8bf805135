//! TCP.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

use super::Endpoint;
use super::resolve::resolve;

/// Connects to the first address of the endpoint that answers, in the resolver's order.
pub(super) async fn connect(endpoint: &Endpoint, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    let mut last = None;
    for address in resolve(endpoint.host(), endpoint.port()).await? {
        if bind.is_some_and(|bind| bind.is_ipv4() != address.is_ipv4()) {
            continue;
        }
        match connect_to(address, bind).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("no address for {}", endpoint.host()))
    }))
}

async fn connect_to(address: SocketAddr, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(bind) = bind {
        socket.bind(SocketAddr::new(bind, 0))?;
    }
    let stream = socket.connect(address).await?;
    // Acknowledgements and pings must not wait for a peer's delayed ACK; writes are whole turns.
    stream.set_nodelay(true)?;
    Ok(stream)
}
