//! TLS in front of a peer that has none.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{HandshakeKind, RootCertStore, ServerConfig};

use crate::{Identity, Pki};

/// Accepts TLS on a free loopback port and passes everything on to a peer behind it, in plain.
///
/// ```no_run
/// # async fn test() {
/// use mqttx_test::{Pki, ScriptedBroker, TlsFront};
///
/// let broker = ScriptedBroker::start().await;
/// let pki = Pki::new("ca");
/// let front = TlsFront::builder(&pki.server(&["127.0.0.1"])).start(broker.address()).await;
/// println!("{}", front.url());
/// # }
/// ```
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Handshake>>>,
    accepting: JoinHandle<()>,
}

/// What a [`TlsFront`] is started with.
#[derive(Clone, Debug)]
pub struct TlsFrontBuilder {
    identity: Identity,
    clients: Option<CertificateDer<'static>>,
    only_1_2: bool,
    alpn: Vec<Vec<u8>>,
}

/// A handshake that the front finished.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handshake {
    /// The certificate of the client, DER.
    pub client: Option<Vec<u8>>,
    /// The name that it asked for.
    pub sni: Option<String>,
    /// The protocol that was agreed on.
    pub alpn: Option<String>,
    /// It took up an earlier session.
    pub resumed: bool,
    /// TLS 1.3, not 1.2.
    pub is_1_3: bool,
}

impl TlsFront {
    /// A server with this certificate that asks for none.
    #[must_use]
    pub fn builder(identity: &Identity) -> TlsFrontBuilder {
        TlsFrontBuilder {
            identity: identity.clone(),
            clients: None,
            only_1_2: false,
            alpn: Vec::new(),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a client takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mqtts://{}", self.address)
    }

    /// The handshakes so far.
    #[must_use]
    pub fn handshakes(&self) -> Vec<Handshake> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl TlsFrontBuilder {
    /// Clients must show a certificate of this authority.
    #[must_use]
    pub fn clients_of(mut self, pki: &Pki) -> Self {
        self.clients = Some(pki.ca_der().into());
        self
    }

    /// TLS 1.2 alone is spoken.
    #[must_use]
    pub fn only_1_2(mut self) -> Self {
        self.only_1_2 = true;
        self
    }

    /// The protocols that are spoken.
    #[must_use]
    pub fn alpn(mut self, protocol: &str) -> Self {
        self.alpn.push(protocol.as_bytes().to_vec());
        self
    }

    /// Listens on a free port, on the runtime of the caller.
    ///
    /// # Panics
    /// When the certificate or its key cannot be read.
    pub async fn start(self, behind: SocketAddr) -> TlsFront {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let acceptor = TlsAcceptor::from(Arc::new(self.config()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, acceptor.clone(), behind, Arc::clone(&noted)));
            }
        });
        TlsFront { address, seen, accepting }
    }

    /// Listens on a thread of its own, which ends with the process: for measurements.
    ///
    /// # Panics
    /// When there is no thread, or the certificate or its key cannot be read.
    #[must_use]
    pub fn start_apart(self, behind: SocketAddr) -> TlsFront {
        let (report, reported) = std::sync::mpsc::channel();
        let serving = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            runtime.expect("a runtime").block_on(async {
                report.send(self.start(behind).await).expect("a starter");
                std::future::pending::<()>().await;
            });
        };
        std::thread::Builder::new().name("tls-front".to_owned()).spawn(serving).expect("a thread");
        reported.recv().expect("it listens")
    }

    fn config(&self) -> ServerConfig {
        let provider = Arc::new(default_provider());
        let versions = if self.only_1_2 { &[&TLS12][..] } else { &[&TLS13, &TLS12][..] };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .expect("versions");
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                roots.add(ca.clone()).expect("an authority");
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("a verifier"))
            }
        };
        let chain = CertificateDer::pem_slice_iter(self.identity.cert.as_bytes());
        let chain = chain.collect::<Result<_, _>>().expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(self.identity.key.as_bytes()).expect("a key");
        let key = default_provider().key_provider.load_private_key(key).expect("a usable key");
        // Without a look at whether they fit: clients have to cope with certificates that rustls itself would not serve.
        let shown = SingleCertAndKey::from(CertifiedKey::new(chain, key));
        let mut config = builder.with_cert_resolver(Arc::new(shown));
        config.alpn_protocols.clone_from(&self.alpn);
        config
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    behind: SocketAddr,
    seen: Arc<Mutex<Vec<Handshake>>>,
) {
    // A client that is refused, or refuses, is what tests are about.
    let Ok(mut outer) = acceptor.accept(stream).await else { return };
    let connection = outer.get_ref().1;
    let certificates = connection.peer_certificates();
    let handshake = Handshake {
        client: certificates.and_then(|chain| Some(chain.first()?.to_vec())),
        sni: connection.server_name().map(str::to_owned),
        alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        is_1_3: connection.protocol_version()
            == Some(tokio_rustls::rustls::ProtocolVersion::TLSv1_3),
    };
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(handshake);
    let Ok(mut inner) = TcpStream::connect(behind).await else { return };
    let _ = inner.set_nodelay(true);
    let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
}
