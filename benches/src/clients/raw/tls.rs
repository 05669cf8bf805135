//! Publishing over TLS: encoded packets into a bare rustls stream, in whole records.

use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{introduce, publish_packet};
use crate::child::Task;
use crate::workload::TOPIC;

/// Bytes written at a time, at least one packet: as much as rustls encrypts before it sends.
const BLOCK: u64 = 64 << 10;

pub(super) async fn publish(task: &Arc<Task>) -> Result<()> {
    let case = &task.case;
    let mut stream = connect(task).await?;
    let window = u64::from(case.window);
    let packets =
        (1..=case.window).flat_map(|id| publish_packet(TOPIC, case.payload, case.qos, id));
    let ring: Vec<u8> = packets.collect();
    let packet = ring.len() as u64 / window;
    let most = (BLOCK / packet).max(1);
    let mut input = vec![0; 64 << 10];
    let (mut sent, mut acknowledged, mut bytes) = (0, 0, 0);
    task.released().await;
    while acknowledged < task.messages {
        let allowed = (acknowledged + window).min(task.messages);
        let at = sent % window;
        let count = (allowed - sent).min(most).min(window - at);
        if count > 0 {
            let block = (at * packet) as usize..((at + count) * packet) as usize;
            stream.write_all(&ring[block]).await?;
            stream.flush().await?;
            sent += count;
        }
        if sent == allowed {
            let count = stream.read(&mut input).await?;
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            bytes += count as u64;
            // PUBACK has four bytes.
            acknowledged = bytes / 4;
        }
    }
    Ok(())
}

async fn connect(task: &Task) -> Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(&task.authority().unwrap_or_default());
    roots.add(authority.map_err(Error::other)?).map_err(Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(task.peer).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::from(task.peer.ip());
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    introduce(&mut stream, 0).await?;
    Ok(stream)
}
