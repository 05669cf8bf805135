//! What an idle session costs: the memory that it holds, and nothing that wakes it.
//!
//! Only the thread of the test is counted: all sessions run there, the peer does not.

use std::time::Duration;

use allocation_counter::measure;
use mqttx::{SessionManager, SessionOptions};
use mqttx_test::{LoadOptions, LoadPeer, UnixFront, WebSocketFront};
use tokio::runtime::{Builder, Runtime};

const SESSIONS: usize = 200;
/// Live bytes of a session that only waits, the runtime's for its task, socket and timer included.
/// They were 1834 when this was written.
const IDLE: i64 = 1880;
/// What a stream in a box takes besides: for WebSocket the states of its frames. They were 40 and 160.
const UNIX: i64 = 60;
const WEBSOCKET: i64 = 200;

/// What it holds at most while all of them are connecting: the process keeps as much afterwards. They were 1899 when this was
/// written.
const CONNECTING: u64 = 2100;

struct Clients {
    runtime: Runtime,
    manager: SessionManager,
    url: String,
}

impl Clients {
    /// Some are connected already, so that what all share is there.
    fn new(url: String) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let manager = SessionManager::builder().connect_rate(0).build();
        let clients = Self { runtime, manager, url };
        clients.connect(0..SESSIONS);
        clients
    }

    fn connect(&self, numbers: std::ops::Range<usize>) {
        self.runtime.block_on(async {
            for n in numbers {
                let options = SessionOptions::quick_connect(format!("client-{n}"), &self.url)
                    .client_id(format!("client-{n}"));
                let options = options.build().expect("valid");
                self.manager.add_session(options).expect("a session");
            }
            let limit = Duration::from_secs(30);
            self.manager.wait_for_all_sessions(limit).await.expect("ready");
        });
    }
}

/// The bytes of a session at that address, and what it holds at most while all are connecting.
fn each(url: String) -> (i64, u64) {
    let clients = Clients::new(url);
    let counted = measure(|| clients.connect(SESSIONS..2 * SESSIONS));
    let each = counted.bytes_current / SESSIONS as i64;
    let most = counted.bytes_max / SESSIONS as u64;
    let pieces = counted.count_current as f64 / SESSIONS as f64;
    println!("{each} bytes, {pieces} pieces, {most} bytes while they connect");
    (each, most)
}

#[test]
fn a_session_that_waits_holds_less_than_two_kilobytes() {
    let peer = LoadPeer::start(LoadOptions::default());
    let (bytes, most) = each(peer.url());
    assert!(bytes <= IDLE, "{bytes} bytes");
    assert!(most <= CONNECTING, "{most} bytes while they connect");
}

#[test]
fn a_session_over_another_stream_holds_no_buffer_either() {
    let peer = LoadPeer::start(LoadOptions::default());
    // On other threads, which are not counted.
    let fronts = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let fronts = fronts.expect("a runtime");
    let _entered = fronts.enter();
    let unix = UnixFront::start(peer.address());
    let ws = fronts.block_on(WebSocketFront::start(peer.address()));
    for (url, more) in [(unix.url(), UNIX), (ws.url(), WEBSOCKET)] {
        let (bytes, _) = each(url.clone());
        assert!(bytes <= IDLE + more, "{url}: {bytes} bytes");
    }
}
