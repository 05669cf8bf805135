//! What an idle session over TLS costs: the memory that it holds.
//!
//! Only the thread of the test is counted: all sessions run there, the peer does not.
#![cfg(feature = "tls")]

use std::time::Duration;

use allocation_counter::measure;
use mqttx::{SessionManager, SessionOptions, TlsOptions};
use mqttx_test::{LoadOptions, LoadPeer, Pki, TlsFront};
use tokio::runtime::{Builder, Runtime};

/// `MQTTX_TEST_SESSIONS` asks for more.
const SESSIONS: usize = 100;
/// Live bytes of a session over TLS 1.3 that only waits, the runtime's included; they were 9991 when this was written.
const IDLE: i64 = 10_240;

struct Clients {
    runtime: Runtime,
    manager: SessionManager,
    _peer: LoadPeer,
    pki: Pki,
    front: TlsFront,
}

impl Clients {
    /// Some are connected already, so that what all share is there.
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let manager = SessionManager::builder().connect_rate(0).build();
        let peer = LoadPeer::start(LoadOptions::default());
        let pki = Pki::new("ca");
        let front = TlsFront::builder(&pki.server(&["127.0.0.1"])).start_apart(peer.address());
        let clients = Self { runtime, manager, _peer: peer, pki, front };
        clients.connect(0..SESSIONS);
        clients
    }

    fn connect(&self, numbers: std::ops::Range<usize>) {
        self.runtime.block_on(async {
            let tls = TlsOptions::new().ca(self.pki.ca().into_bytes());
            for n in numbers {
                let options =
                    SessionOptions::quick_connect(format!("client-{n}"), self.front.url())
                        .client_id(format!("client-{n}"))
                        .connect_timeout(Duration::from_secs(60))
                        .tls(tls.clone());
                let options = options.build().expect("valid");
                self.manager.add_session(options).expect("a session");
            }
            let limit = Duration::from_secs(120);
            self.manager.wait_for_all_sessions(limit).await.expect("ready");
        });
    }
}

#[test]
fn a_session_over_tls_that_waits_holds_less_than_ten_kibibytes() {
    let count = std::env::var("MQTTX_TEST_SESSIONS").ok().and_then(|n| n.parse().ok());
    let count: usize = count.unwrap_or(SESSIONS);
    let clients = Clients::new();
    let counted = measure(|| clients.connect(SESSIONS..SESSIONS + count));
    let each = counted.bytes_current / count as i64;
    println!("{each} bytes, {} pieces", counted.count_current as f64 / count as f64);
    assert!(each <= IDLE, "{each} bytes");
}
