//! A SOCKS 5 proxy (RFC 1928 and 1929).

use super::{Server, behind};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Opens connections on request; names lead to the loopback interface.
#[derive(Debug)]
pub struct SocksProxy {
    server: Server,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    credentials: Option<(String, String)>,
    asked: Mutex<Vec<String>>,
}

impl SocksProxy {
    /// Listens on a free port; with credentials, it asks for them.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start(credentials: Option<(&str, &str)>) -> Self {
        let credentials = credentials.map(|(user, password)| (user.into(), password.into()));
        let state = Arc::new(State { credentials, asked: Mutex::default() });
        let served = Arc::clone(&state);
        let server = Server::start(move |stream| {
            let state = Arc::clone(&served);
            async move {
                // A client that gives up ends only its own connection.
                let _ = serve(stream, &state).await;
            }
        })
        .await;
        Self { server, state }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// The targets that it was asked for, reached or not: an address, or a name.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(mut client: TcpStream, state: &State) -> io::Result<()> {
    if !greet(&mut client, state).await? {
        return Ok(());
    }
    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    assert_eq!(request[..3], [5, 1, 0], "CONNECT of SOCKS 5");
    let host = match request[3] {
        1 => Ipv4Addr::from(client.read_u32().await?).to_string(),
        4 => format!("[{}]", Ipv6Addr::from(client.read_u128().await?)),
        _ => {
            let mut name = vec![0; client.read_u8().await?.into()];
            client.read_exact(&mut name).await?;
            String::from_utf8(name).expect("a name")
        }
    };
    let port = client.read_u16().await?;
    let asked = format!("{host}:{port}");
    state.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    let peer = behind(SocketAddr::from(([127, 0, 0, 1], port))).await;
    // Granted, or refused by the target.
    let reply = if peer.is_some() { 0 } else { 5 };
    client.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    if let Some(mut peer) = peer {
        tokio::io::copy_bidirectional(&mut client, &mut peer).await?;
    }
    Ok(())
}

/// Whether the client may go on.
async fn greet(client: &mut TcpStream, state: &State) -> io::Result<bool> {
    assert_eq!(client.read_u8().await?, 5, "SOCKS 5");
    let mut methods = vec![0; client.read_u8().await?.into()];
    client.read_exact(&mut methods).await?;
    let method = if state.credentials.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        client.write_all(&[5, 0xff]).await?;
        return Ok(false);
    }
    client.write_all(&[5, method]).await?;
    let Some((user, password)) = &state.credentials else { return Ok(true) };
    assert_eq!(client.read_u8().await?, 1, "the version of the negotiation");
    let mut given = Vec::new();
    for _ in 0..2 {
        let mut text = vec![0; client.read_u8().await?.into()];
        client.read_exact(&mut text).await?;
        given.push(text);
    }
    let right = given == [user.as_bytes(), password.as_bytes()];
    client.write_all(&[1, u8::from(!right)]).await?;
    Ok(right)
}
