//! What TLS costs from end to end: a session over TLS beside a bare rustls stream that writes encoded packets, or counts the
//! bytes that come, in the same run.
//!
//! `cargo bench -p mqttx --bench tls [-- [--rounds N] [--only mqttx|raw]]`; medians of interleaved rounds. The peer has to
//! decrypt as well, so that the rate may be its own: the processor time of the client's thread says what the client costs.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement may fail, and prints")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mqttx::{Publish, QoS, RouteOptions, SessionManager, SessionOptions, TlsOptions};
use mqttx_test::{Flood, LoadOptions, LoadPeer, Pki, TlsFront};
use rustix::time::{ClockId, clock_gettime};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const TOPIC: &str = "bench/plant/line/7/temperature";
const WINDOW: u16 = 1000;
/// What the raw publisher writes at once: whole records of 16 KiB.
const BLOCK: usize = 64 << 10;
const LONG: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
struct Work {
    name: &'static str,
    receives: bool,
    qos: u8,
    payload: usize,
    messages: u64,
}

const WORKS: [Work; 4] = [
    Work { name: "tls-publish-q0", receives: false, qos: 0, payload: 64, messages: 1_000_000 },
    Work { name: "tls-publish-q1", receives: false, qos: 1, payload: 64, messages: 400_000 },
    Work {
        name: "tls-publish-q0-16k",
        receives: false,
        qos: 0,
        payload: 16 << 10,
        messages: 20_000,
    },
    Work { name: "tls-receive-q0", receives: true, qos: 0, payload: 64, messages: 1_000_000 },
];

/// One run: how long it took, and the processor's part in it.
struct Taken {
    wall: Duration,
    processor: Duration,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let rounds = after("--rounds").and_then(|n| n.parse().ok()).unwrap_or(3);
    let only = after("--only");
    let chosen = after("--work");
    for work in WORKS.iter().filter(|work| chosen.as_ref().is_none_or(|name| name == work.name)) {
        let (mut raw, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            if only.as_deref() != Some("mqttx") {
                raw.push(measure(*work, run_raw));
            }
            if only.as_deref() != Some("raw") {
                ours.push(measure(*work, run_mqttx));
            }
        }
        if let (Some(raw), Some(ours)) = (median(raw), median(ours)) {
            let rate = |taken: &Taken| work.messages as f64 / taken.wall.as_secs_f64();
            let each = |taken: &Taken| taken.processor.as_nanos() as f64 / work.messages as f64;
            println!(
                "{:20} raw {:>9.0}/s {:>7.0} ns   mqttx {:>9.0}/s {:>7.0} ns   {:.2} of the rate, {:.2} by processor time",
                work.name,
                rate(&raw),
                each(&raw),
                rate(&ours),
                each(&ours),
                rate(&ours) / rate(&raw),
                each(&raw) / each(&ours),
            );
        }
    }
}

fn median(mut taken: Vec<Taken>) -> Option<Taken> {
    taken.sort_by_key(|taken| taken.processor);
    let middle = taken.len() / 2;
    (middle < taken.len()).then(|| taken.swap_remove(middle))
}

/// A peer with TLS in front of it, and a client with one thread.
fn measure<F: Future<Output = Taken>>(work: Work, run: impl FnOnce(Site) -> F) -> Taken {
    let flood = work.receives.then(|| Flood {
        topics: vec![TOPIC.to_owned()],
        payload: work.payload,
        qos: work.qos,
        messages: work.messages,
        window: WINDOW,
    });
    let peer = LoadPeer::start(LoadOptions { receive_maximum: Some(WINDOW), flood });
    let pki = Pki::new("bench");
    let front = TlsFront::builder(&pki.server(&["127.0.0.1"])).start_apart(peer.address());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let site = Site { work, peer, pki, front };
    runtime.block_on(async { tokio::time::timeout(LONG, run(site)).await.unwrap() })
}

struct Site {
    work: Work,
    peer: LoadPeer,
    pki: Pki,
    front: TlsFront,
}

impl Site {
    /// Until the peer has counted everything.
    async fn counted(&self) {
        while self.peer.counters().publishes < self.work.messages {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

struct Clock(Instant, Duration);

impl Clock {
    fn start() -> Self {
        Self(Instant::now(), processor())
    }

    fn stop(self) -> Taken {
        Taken { wall: self.0.elapsed(), processor: processor() - self.1 }
    }
}

fn processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

async fn run_mqttx(site: Site) -> Taken {
    let work = site.work;
    let manager = SessionManager::new();
    let tls = TlsOptions::new().ca(site.pki.ca().into_bytes());
    let options = SessionOptions::quick_connect("s", site.front.url()).tls(tls);
    let session = manager.add_session(options.max_in_flight(WINDOW).build().unwrap()).unwrap();
    session.wait_ready(LONG).await.unwrap();
    let clock = Clock::start();
    if work.receives {
        let done = Arc::new(tokio::sync::Notify::new());
        let (finished, mut left) = (Arc::clone(&done), work.messages);
        let count = std::sync::Mutex::new(move || {
            left -= 1;
            if left == 0 {
                finished.notify_one();
            }
        });
        let route = session.route(TOPIC).options(RouteOptions::default());
        let route = route.inline(move |_| count.lock().unwrap()());
        done.notified().await;
        drop(route);
        return clock.stop();
    }
    let qos = if work.qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
    let message = Publish::new(TOPIC, Bytes::from(vec![b'x'; work.payload])).qos(qos);
    for _ in 0..work.messages {
        if session.try_submit(&message).is_err() {
            session.submit(message.clone()).await.unwrap();
        }
    }
    session.flush(LONG).await.unwrap();
    let taken = clock.stop();
    site.counted().await;
    taken
}

async fn run_raw(site: Site) -> Taken {
    let work = site.work;
    let mut stream = connect(&site).await;
    let clock = Clock::start();
    if work.receives {
        let subscribe = mqttx_test::hex(&format!("82 {{ 00 01 {{}} <{TOPIC}> 00 }}"));
        stream.write_all(&subscribe).await.unwrap();
        stream.flush().await.unwrap();
        let mut left = work.messages * publish_packet(&work, 1).len() as u64;
        let mut input = vec![0; 128 << 10];
        // The answer to SUBSCRIBE comes first.
        left += 6;
        while left > 0 {
            left -= stream.read(&mut input).await.unwrap() as u64;
        }
        return clock.stop();
    }
    let packet = publish_packet(&work, 1).len();
    let packets = (BLOCK / packet).max(usize::from(WINDOW)).max(1);
    let ring: Vec<u8> = (0..packets).flat_map(|n| publish_packet(&work, n as u16 + 1)).collect();
    let (mut sent, mut acknowledged, mut at) = (0, 0, 0);
    let mut input = vec![0; 64 << 10];
    while acknowledged < work.messages {
        let allowed = if work.qos == 0 { work.messages } else { acknowledged + u64::from(WINDOW) };
        let allowed = allowed.min(work.messages) - sent;
        let count = allowed.min((BLOCK / packet).max(1) as u64).min((packets - at) as u64);
        let block = &ring[at * packet..(at + count as usize) * packet];
        stream.write_all(block).await.unwrap();
        stream.flush().await.unwrap();
        (sent, at) = (sent + count, (at + count as usize) % packets);
        match work.qos {
            0 => acknowledged = sent,
            _ if sent < work.messages && count > 0 && allowed > count => {}
            _ => acknowledged += stream.read(&mut input).await.unwrap() as u64 / 4,
        }
    }
    let taken = clock.stop();
    site.counted().await;
    taken
}

async fn connect(site: &Site) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(site.pki.ca().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(site.front.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    stream.write_all(&mqttx_test::hex("10 { <MQTT> 05 02 003c {} <raw> }")).await.unwrap();
    stream.flush().await.unwrap();
    let mut connack = [0; 2];
    stream.read_exact(&mut connack).await.unwrap();
    let mut rest = vec![0; connack[1].into()];
    stream.read_exact(&mut rest).await.unwrap();
    stream
}

fn publish_packet(work: &Work, id: u16) -> Vec<u8> {
    let mut body = vec![0, TOPIC.len() as u8];
    body.extend(TOPIC.as_bytes());
    if work.qos > 0 {
        body.extend(id.to_be_bytes());
    }
    body.push(0);
    body.resize(body.len() + work.payload, b'x');
    let mut packet = vec![0x30 | (work.qos << 1)];
    let mut length = body.len();
    loop {
        let more = if length > 127 { 0x80 } else { 0 };
        packet.push((length % 128) as u8 | more);
        length /= 128;
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}
