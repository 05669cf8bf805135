//! SOCKS 5 proxies (RFC 1928 and 1929).

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;
use tokio_socks::tcp::Socks5Stream;
use tokio_socks::{Error, TargetAddr};

use super::ProxyServer;
use crate::options::TcpOptions;
use crate::transport::race::alternating;
use crate::transport::resolve::resolve;
use crate::transport::{ConnectError, Endpoint};

/// Addresses of a name that the proxy is asked for at most, one after the other.
const MOST: usize = 4;

/// Asks the proxy for the broker by its name.
pub(super) async fn connect(
    proxy: &ProxyServer,
    stream: TcpStream,
    endpoint: &Endpoint,
) -> Result<TcpStream, ConnectError> {
    let target = match endpoint.host().parse() {
        Ok(ip) => TargetAddr::Ip(SocketAddr::new(ip, endpoint.port())),
        Err(_) => TargetAddr::Domain(endpoint.host().into(), endpoint.port()),
    };
    request(proxy, stream, target).await
}

/// Asks the proxy for the addresses of the broker, each through a connection of its own, until one is reached.
pub(super) async fn connect_resolved(
    proxy: &ProxyServer,
    endpoint: &Endpoint,
    bind: Option<IpAddr>,
    tcp: &TcpOptions,
) -> Result<TcpStream, ConnectError> {
    let addresses = resolve(endpoint.host(), endpoint.port()).await?;
    let mut last = None;
    for address in alternating(&addresses).into_iter().take(MOST) {
        match request(proxy, proxy.open(bind, tcp).await?, TargetAddr::Ip(address)).await {
            Err(error) if !error.permanent => last = Some(error),
            outcome => return outcome,
        }
    }
    Err(last.unwrap_or_else(|| proxy.failed(io::ErrorKind::NotFound.into())))
}

async fn request(
    proxy: &ProxyServer,
    stream: TcpStream,
    target: TargetAddr<'_>,
) -> Result<TcpStream, ConnectError> {
    if let TargetAddr::Domain(name, _) = &target
        && name.len() > 255
    {
        return Err(proxy.refused("a name of more than 255 bytes has no place in SOCKS 5", true));
    }
    let connected = match proxy.credentials() {
        None => Socks5Stream::connect_with_socket(stream, target).await,
        Some((user, password)) => {
            let text = |bytes| std::str::from_utf8(bytes);
            let (Ok(user), Ok(password)) = (text(user), text(password)) else {
                return Err(proxy.refused("its credentials are not UTF-8", true));
            };
            Socks5Stream::connect_with_password_and_socket(stream, target, user, password).await
        }
    };
    connected.map(Socks5Stream::into_inner).map_err(|error| judge(proxy, error))
}

fn judge(proxy: &ProxyServer, error: Error) -> ConnectError {
    let (reply, permanent) = match &error {
        Error::Io(_) => {
            let Error::Io(error) = error else { unreachable!("it was one") };
            return proxy.failed(error);
        }
        Error::InvalidResponseVersion
        | Error::InvalidReservedByte
        | Error::UnknownAddressType
        | Error::InvalidTargetAddress(_)
        // A method that was not offered, or a reply that SOCKS 5 does not have.
        | Error::UnknownAuthMethod
        | Error::ParseError(_) => {
            let text = match error {
                Error::UnknownAuthMethod => "it answers what SOCKS 5 does not know".to_owned(),
                error => error.to_string(),
            };
            return proxy.failed(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Error::GeneralSocksServerFailure => (" (reply 0x01)", false),
        Error::ConnectionNotAllowedByRuleset => (" (reply 0x02)", true),
        Error::NetworkUnreachable => (" (reply 0x03)", false),
        Error::HostUnreachable => (" (reply 0x04)", false),
        Error::ConnectionRefused => (" (reply 0x05)", false),
        Error::TtlExpired => (" (reply 0x06)", false),
        Error::CommandNotSupported => (" (reply 0x07)", true),
        Error::AddressTypeNotSupported => (" (reply 0x08)", false),
        Error::AuthorizationRequired | Error::NoAcceptableAuthMethods => {
            (": it asks for other credentials", true)
        }
        Error::PasswordAuthFailure(_) => (": user name or password is wrong", true),
        Error::InvalidAuthValues(_) => ("", true),
        _ => ("", false),
    };
    proxy.refused(format_args!("{error}{reply}"), permanent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// What comes of a proxy that chooses this method, and gives this reply.
    async fn outcome(method: u8, reply: u8) -> ConnectError {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let proxy: ProxyServer = format!("socks5h://{address}").parse().expect("a proxy");
        let endpoint: Endpoint = "mqtt://plant".parse().expect("an address");
        let client = async {
            let stream = TcpStream::connect(address).await.expect("connected");
            connect(&proxy, stream, &endpoint).await.expect_err("refused")
        };
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut greeting = [0; 3];
            stream.read_exact(&mut greeting).await.expect("a greeting");
            stream.write_all(&[5, method]).await.expect("room");
            // Version, command, the kind of the address, the name behind its length, the port.
            let mut request = [0; 12];
            if stream.read_exact(&mut request).await.is_ok() {
                stream.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await.expect("room");
            }
        };
        tokio::join!(client, server).0
    }

    #[tokio::test]
    async fn each_reply_is_told_and_says_whether_it_lasts() {
        for (method, reply, permanent, code, part) in [
            (0, 1, false, "connection.proxy.refused", "reply 0x01"),
            (0, 2, true, "connection.proxy.refused", "reply 0x02"),
            (0, 3, false, "connection.proxy.refused", "reply 0x03"),
            (0, 4, false, "connection.proxy.refused", "reply 0x04"),
            (0, 5, false, "connection.proxy.refused", "reply 0x05"),
            (0, 6, false, "connection.proxy.refused", "reply 0x06"),
            (0, 7, true, "connection.proxy.refused", "reply 0x07"),
            (0, 8, false, "connection.proxy.refused", "reply 0x08"),
            (0, 9, false, "connection.proxy.failed", "does not know"),
            (0, 255, false, "connection.proxy.failed", "does not know"),
            (255, 0, true, "connection.proxy.refused", "other credentials"),
            (7, 0, false, "connection.proxy.failed", "does not know"),
        ] {
            let error = outcome(method, reply).await;
            let text = error.error.to_string();
            assert_eq!((error.code, error.permanent), (code, permanent), "{text}");
            assert!(text.contains(part), "{method} {reply}: {text}");
        }
    }
}
