//! TCP.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};

use super::race;
use super::resolve::resolve;
use crate::options::TcpOptions;

/// The addresses of a host that the local address can reach.
///
/// # Errors
/// The resolver's, or there is none.
pub(super) async fn addresses(
    host: &str,
    port: u16,
    bind: Option<IpAddr>,
) -> io::Result<Vec<SocketAddr>> {
    let mut addresses = resolve(host, port).await?;
    if let Some(bind) = bind {
        addresses.retain(|address| address.is_ipv4() == bind.is_ipv4());
        if addresses.is_empty() {
            let text = format!("{host} has no address of the family of the local address {bind}");
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
    }
    Ok(addresses)
}

/// Connects to the first of them that answers.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    bind: Option<IpAddr>,
    options: &TcpOptions,
) -> io::Result<TcpStream> {
    let stream = match addresses {
        // Without a race, and without the memory of its future.
        [only] => {
            let connecting = begin(*only, bind, options)?;
            connecting.await?
        }
        several => {
            let begin = async |address| begin(address, bind, options)?.await;
            Box::pin(race::first(several, begin)).await?
        }
    };
    if options.nodelay {
        stream.set_nodelay(true)?;
    }
    if let Some(time) = options.keep_alive {
        let probes = TcpKeepalive::new().with_time(time).with_interval(time);
        SockRef::from(&stream).set_tcp_keepalive(&probes)?;
    }
    Ok(stream)
}

/// Connects to `address` once it is polled.
fn begin(
    address: SocketAddr,
    bind: Option<IpAddr>,
    options: &TcpOptions,
) -> io::Result<impl Future<Output = io::Result<TcpStream>> + Send + use<>> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // The window that the connection begins with depends on the buffers.
    if let Some(size) = options.send_buffer {
        socket.set_send_buffer_size(u32::try_from(size).unwrap_or(u32::MAX))?;
    }
    if let Some(size) = options.receive_buffer {
        socket.set_recv_buffer_size(u32::try_from(size).unwrap_or(u32::MAX))?;
    }
    if let Some(bind) = bind {
        socket.bind(SocketAddr::new(bind, 0))?;
    }
    Ok(socket.connect(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::net::TcpListener;

    async fn connected(options: &TcpOptions, bind: Option<&str>) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let bind = bind.map(|bind| bind.parse().expect("an address"));
        let addresses = addresses("127.0.0.1", port, bind).await.expect("an address");
        let (near, far) = tokio::join!(connect(&addresses, bind, options), listener.accept());
        (near.expect("connected"), far.expect("accepted").0)
    }

    #[tokio::test]
    async fn without_options_there_is_no_delay_and_no_probe() {
        let (near, _far) = connected(&TcpOptions::default(), None).await;
        assert!(near.nodelay().expect("a socket"));
        assert!(!SockRef::from(&near).keepalive().expect("a socket"));
    }

    #[tokio::test]
    async fn options_reach_the_socket() {
        let options = TcpOptions {
            nodelay: false,
            keep_alive: Some(Duration::from_secs(45)),
            send_buffer: Some(32 << 10),
            receive_buffer: Some(48 << 10),
        };
        let (near, far) = connected(&options, Some("127.0.0.7")).await;
        assert_eq!(far.peer_addr().expect("an address").ip().to_string(), "127.0.0.7");
        let socket = SockRef::from(&near);
        assert!(!near.nodelay().expect("a socket") && socket.keepalive().expect("a socket"));
        assert_eq!(socket.tcp_keepalive_time().expect("a socket"), Duration::from_secs(45));
        // The kernel takes twice the size, for what it keeps besides.
        let sizes = (socket.send_buffer_size(), socket.recv_buffer_size());
        assert_eq!((sizes.0.expect("a size"), sizes.1.expect("a size")), (64 << 10, 96 << 10));
    }

    #[tokio::test]
    async fn a_local_address_of_the_other_family_is_an_error_that_says_so() {
        let bind = "::1".parse().ok();
        let error = addresses("127.0.0.1", 1, bind).await;
        let text = error.expect_err("no address").to_string();
        assert!(text.contains("family of the local address ::1"), "{text}");
    }
}
