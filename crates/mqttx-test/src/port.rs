//! Addresses for servers that end and begin again in a test, and those where nobody listens.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpSocket;

/// Ports below are for the services of a system.
const FIRST: u16 = 10_240;

/// Where the system gives ports to whoever asks for any, if it does not say.
const EPHEMERAL: u16 = 32_768;

const ATTEMPTS: usize = 100;

/// A free port that the system gives to nobody while its server is down: neither to a client's connection nor to a server of
/// another test.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_address() -> SocketAddr {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let first = range.ok().and_then(|range| range.split_whitespace().next()?.parse().ok());
    let end = first.unwrap_or(EPHEMERAL).max(FIRST + 1);
    let from = RandomState::new().hash_one(std::process::id()) % u64::from(end - FIRST);
    let mut ports = (FIRST..end).cycle().skip(from as usize).take(ATTEMPTS);
    let found = ports.find_map(bind).or_else(|| bind(0)).expect("a free port");
    found.local_addr().expect("an address")
}

/// Not a listener: a process that another thread starts has a copy of the socket until it runs its program. Beside a copy of this one
/// a server can listen.
fn bind(port: u16) -> Option<TcpSocket> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.set_reuseaddr(true).ok()?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into()).ok()?;
    Some(socket)
}

/// A loopback port that refuses each connection, and is nobody else's until this is dropped: a port that was only found free may
/// have a server of another test by the time it is used.
#[derive(Debug)]
pub struct ClosedPort {
    address: SocketAddr,
    // Bound, and never listened to.
    _held: TcpSocket,
}

impl ClosedPort {
    /// Takes a free port.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn take() -> Self {
        let held = TcpSocket::new_v4().expect("a socket");
        held.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        Self { address: held.local_addr().expect("an address"), _held: held }
    }

    /// Where nobody listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_free_port_is_for_nobody_else() {
        let address = free_address();
        assert!((FIRST..EPHEMERAL).contains(&address.port()), "{address}");
        assert!(TcpListener::bind(address).is_ok());
    }

    #[test]
    fn a_copy_of_the_socket_that_looked_keeps_no_server_away() {
        let copy = bind(0).expect("a free port");
        let address = copy.local_addr().expect("an address");
        let _server = TcpListener::bind(address).expect("nobody listens");
        assert!(bind(address.port()).is_none(), "now somebody does");
    }

    #[test]
    fn a_closed_port_refuses_and_is_for_nobody_else() {
        let closed = ClosedPort::take();
        let refused = TcpStream::connect(closed.address()).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let taken = TcpListener::bind(closed.address()).expect_err("it is taken");
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    }
}
