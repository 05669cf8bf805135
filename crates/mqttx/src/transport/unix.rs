//! Sockets of the file system.

use std::io;

use tokio::net::UnixStream;

use super::Endpoint;

pub(super) async fn connect(endpoint: &Endpoint) -> io::Result<UnixStream> {
    let path = endpoint.socket_path().ok_or(io::ErrorKind::InvalidInput)?;
    UnixStream::connect(path).await
}
