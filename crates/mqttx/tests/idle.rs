//! What an idle session costs: the memory that it holds, and nothing that wakes it.
//!
//! Only the thread of the test is counted: all sessions run there, the peer does not.

use std::time::Duration;

use allocation_counter::measure;
use mqttx::{SessionManager, SessionOptions};
use mqttx_test::{LoadOptions, LoadPeer};
use tokio::runtime::{Builder, Runtime};

const SESSIONS: usize = 200;
/// Live bytes of a session that only waits, the runtime's for its task, socket and timer included.
/// They were 1872 when this was written.
const IDLE: i64 = 2000;

struct Clients {
    runtime: Runtime,
    manager: SessionManager,
    peer: LoadPeer,
}

impl Clients {
    /// Some are connected already, so that what all share is there.
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let manager = SessionManager::builder().connect_rate(0).build();
        let clients = Self { runtime, manager, peer: LoadPeer::start(LoadOptions::default()) };
        clients.connect(0..SESSIONS);
        clients
    }

    fn connect(&self, numbers: std::ops::Range<usize>) {
        self.runtime.block_on(async {
            for n in numbers {
                let options = SessionOptions::quick_connect(format!("client-{n}"), self.peer.url())
                    .client_id(format!("client-{n}"));
                let options = options.build().expect("valid");
                self.manager.add_session(options).expect("a session");
            }
            let limit = Duration::from_secs(30);
            self.manager.wait_for_all_sessions(limit).await.expect("ready");
        });
    }
}

#[test]
fn a_session_that_waits_holds_less_than_two_kilobytes() {
    let clients = Clients::new();
    let counted = measure(|| clients.connect(SESSIONS..2 * SESSIONS));
    let each = counted.bytes_current / SESSIONS as i64;
    println!("{each} bytes, {} pieces", counted.count_current as f64 / SESSIONS as f64);
    assert!(each <= IDLE, "{each} bytes");
}
