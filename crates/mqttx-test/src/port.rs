//! Addresses for servers that end and begin again in a test.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Ports below are for the services of a system.
const FIRST: u16 = 10_240;

/// Where the system gives ports to whoever asks for any, if it does not say.
const EPHEMERAL: u16 = 32_768;

const ATTEMPTS: usize = 100;

/// A free port that the system gives to nobody while its server is down: neither to a client's connection nor to a server of
/// another test.
pub(crate) fn free_address() -> SocketAddr {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let first = range.ok().and_then(|range| range.split_whitespace().next()?.parse().ok());
    let end = first.unwrap_or(EPHEMERAL).max(FIRST + 1);
    let from = RandomState::new().hash_one(std::process::id()) % u64::from(end - FIRST);
    let mut ports = (FIRST..end).cycle().skip(from as usize).take(ATTEMPTS);
    ports.find_map(bind).or_else(|| bind(0)).expect("a free port")
}

fn bind(port: u16) -> Option<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?.local_addr().ok()
}

#[cfg(test)]
#[test]
fn the_port_is_free_and_for_nobody_else() {
    let address = free_address();
    assert!((FIRST..EPHEMERAL).contains(&address.port()), "{address}");
    assert!(TcpListener::bind(address).is_ok());
}
