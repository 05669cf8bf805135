//! Full queues, slow and broken handlers, brokers that come and go: nothing hangs, nothing is lost, and
//! what is dropped is counted.

mod broker;
mod chaos;
mod feedback;
mod fleet;
mod handlers;
mod last_words;
mod lifecycle;
mod publishers;
mod reentrancy;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use broker::Broker;
use mqttx::{Backoff, SessionBuilder, SessionOptions, Version};

/// More than anything here takes.
const LONG: Duration = Duration::from_secs(30);

const VERSIONS: [Version; 2] = [Version::V311, Version::V5];

/// A persistent session whose client id is its name.
fn options(name: &str, broker: &Broker, version: Version) -> SessionBuilder {
    SessionOptions::quick_connect(name, broker.url())
        .client_id(name)
        .protocol(version)
        .reconnect(Backoff::new(Duration::from_millis(20), Duration::from_millis(200)))
}

/// The same with every queue as small as it can be.
fn tight(name: &str, broker: &Broker, version: Version) -> SessionBuilder {
    options(name, broker, version)
        .max_pending(1)
        .message_channel_size(1)
        .max_in_flight(1)
        .receive_maximum(1)
        .inbound_buffer(64 << 10)
}

/// Notes the longest time, in microseconds, for which the runtime that it runs on stood still.
async fn note_stalls(longest: Arc<AtomicU64>) {
    const BEAT: Duration = Duration::from_millis(5);
    loop {
        let begun = Instant::now();
        tokio::time::sleep(BEAT).await;
        let late = begun.elapsed().saturating_sub(BEAT);
        longest.fetch_max(late.as_micros() as u64, Ordering::Relaxed);
    }
}

/// Runs a test on one thread and on two. A hang of the runtime itself ends the process, since no timeout
/// inside it would.
fn on_both_runtimes(name: &str, test: impl AsyncFn()) {
    for threads in [1, 2] {
        let mut builder = match threads {
            1 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        let runtime = builder.worker_threads(threads).enable_all().build().unwrap();
        let (done, watched) = std::sync::mpsc::channel::<()>();
        let text = format!("{name} hangs on {threads} threads");
        let watchdog = std::thread::spawn(move || {
            if watched.recv_timeout(2 * LONG) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{text}");
                std::process::abort();
            }
        });
        runtime.block_on(async {
            let outcome = tokio::time::timeout(LONG, test()).await;
            assert!(outcome.is_ok(), "{name}: a deadlock on {threads} threads");
        });
        drop(runtime);
        drop(done);
        watchdog.join().unwrap();
    }
}
