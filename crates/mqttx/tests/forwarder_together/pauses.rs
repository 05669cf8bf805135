//! A source whose messages a target does not take is not read, and nothing else happens to it; once nobody waits for that target it
//! is read on. In virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mqttx::{
    Backoff, Filter, Forwarder, ForwarderBuilder, ForwarderManager, Jitter, Performance, Session,
    SessionBuilder, SessionManager, SessionOptions, Version,
};
use tokio::time::sleep;

use crate::host::{Host, Net};

const MOMENT: Duration = Duration::from_millis(20);

struct Pair {
    source: Arc<Host>,
    target: Arc<Host>,
    sessions: SessionManager,
    forwarders: ForwarderManager,
    forwarder: Forwarder,
}

fn rules() -> ForwarderBuilder {
    ForwarderBuilder::new("fw").source("src", "a/#").target("dst")
}

impl Pair {
    /// `options` are those of the source.
    async fn new(options: impl Fn(SessionBuilder) -> SessionBuilder) -> Self {
        Self::with(options, |options| options, rules()).await
    }

    /// Sockets hold 4 KiB; `options` are those of the source, `others` those of the targets.
    async fn with(
        options: impl Fn(SessionBuilder) -> SessionBuilder,
        others: impl Fn(SessionBuilder) -> SessionBuilder,
        rules: ForwarderBuilder,
    ) -> Self {
        let hosts = ["src", "dst", "other"].map(|name| (name, Host::new(Version::V5, &[0], 4096)));
        let [source, target] = [0, 1].map(|n: usize| Arc::clone(&hosts[n].1));
        let net = Net(Arc::new(BTreeMap::from(hosts)));
        let sessions = SessionManager::builder().connect_rate(0).build();
        for name in ["src", "dst", "other"] {
            let quick = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
            let new = SessionOptions::quick_connect(name, format!("mqtt://{name}"))
                .transport(net.clone())
                .reconnect(quick.jitter(Jitter::None));
            let new = if name == "src" { options(new) } else { others(new) };
            sessions.add_session(new.build().unwrap()).unwrap();
        }
        let forwarders = ForwarderManager::named(&sessions, "d");
        let forwarder = forwarders.add_forwarder(rules.build().unwrap()).unwrap();
        while !source.is_asked() {
            sleep(MOMENT).await;
        }
        sleep(MOMENT).await;
        Self { source, target, sessions, forwarders, forwarder }
    }

    fn session(&self, name: &str) -> Session {
        self.sessions.session(name).unwrap()
    }

    /// Sends so many messages whose payload has `size` bytes.
    fn produce(&self, count: usize, size: usize) {
        Self::produce_at(&self.source, count, size);
    }

    fn produce_at(host: &Host, count: usize, size: usize) {
        let topic = b"\x00\x03a/x\x00";
        let mut publish = vec![0x30];
        let mut length = topic.len() + size;
        while length >= 0x80 {
            publish.push(length as u8 | 0x80);
            length >>= 7;
        }
        publish.push(length as u8);
        publish.extend(topic);
        publish.resize(publish.len() + size, b'.');
        for _ in 0..count {
            host.send(publish.clone());
        }
    }

    /// The target reads nothing from now on, and so the source is not read.
    async fn stand_still(&self, count: usize, size: usize) {
        self.target.change(|target| target.deaf = true);
        self.produce(count, size);
        let mut before = usize::MAX;
        while self.source.unsent() != before {
            before = self.source.unsent();
            sleep(MOMENT).await;
        }
        assert!(before > 0, "everything was read");
    }

    fn balanced(&self) {
        let m = self.forwarder.metrics();
        assert_eq!(m.received, m.forwarded + m.dropped + m.in_flight, "{m:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_to_a_target_that_never_reads_is_bounded() {
    for size in [100, 16 << 10, 1 << 20] {
        let pair = Pair::new(|options| options).await;
        let count = (4 << 20) / size + 4;
        pair.stand_still(count, size).await;
        let bytes = pair.forwarder.metrics().in_flight as usize * size;
        // What the limit was reached with, and one read.
        let most = (192 << 10) + (128 << 10) + size;
        assert!(bytes <= most, "{bytes} bytes in messages of {size}");
        pair.target.heal();
        sleep(MOMENT * 100).await;
        assert_eq!(pair.source.unsent(), 0);
        assert_eq!(pair.forwarder.metrics().forwarded as usize, count);
        assert_eq!(pair.target.lock().published.len(), count);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_was_not_read_is_not_taken_for_a_silent_one() {
    let performance =
        Performance { read_timeout: Some(Duration::from_secs(5)), ..Performance::default() };
    let pair = Pair::new(|options| options.performance(performance)).await;
    pair.stand_still(400, 20_000).await;
    sleep(Duration::from_secs(12)).await;
    pair.target.heal();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(pair.source.unsent(), 0);
    assert_eq!(pair.session("src").metrics().reconnects, 0);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_not_read_keeps_its_connection_alive() {
    let pair = Pair::new(|options| options.keep_alive(Duration::from_secs(5))).await;
    pair.stand_still(400, 20_000).await;
    sleep(Duration::from_secs(15)).await;
    assert_eq!(pair.session("src").metrics().reconnects, 0);
    assert!(pair.session("src").is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_lost_while_it_is_not_read_comes_back() {
    let pair = Pair::new(|options| options.keep_alive(Duration::from_secs(5))).await;
    pair.stand_still(400, 20_000).await;
    pair.source.cut();
    sleep(Duration::from_secs(15)).await;
    pair.target.heal();
    sleep(Duration::from_secs(5)).await;
    assert!(pair.source.is_asked());
    pair.produce(100, 20_000);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(pair.source.unsent(), 0);
    pair.balanced();
    assert_eq!(pair.forwarder.metrics().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_as_soon_as_the_target_has_what_was_on_its_way() {
    let pair = Pair::new(|options| options).await;
    pair.stand_still(400, 20_000).await;
    let (forwarder, target) = (pair.forwarder.clone(), Arc::clone(&pair.target));
    tokio::spawn(async move {
        sleep(Duration::from_secs(5)).await;
        target.heal();
    });
    let begun = tokio::time::Instant::now();
    assert_eq!(forwarder.stop(Duration::from_secs(60)).await, 0);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// The source has to take what comes to it from its target, whose server reads nothing before that. Its socket is full to the last
/// byte, so that nothing tells of that before something is to be written.
#[tokio::test(start_paused = true)]
async fn a_source_is_read_on_once_its_own_socket_takes_nothing() {
    let pair = Pair::new(|options| options).await;
    let back = ForwarderBuilder::new("back").source("dst", "a/#").target("src").topic("b/x");
    let back = pair.forwarders.add_forwarder(back.build().unwrap()).unwrap();
    sleep(MOMENT).await;
    // With its topic and the properties of the forwarder it is a quarter of what the socket holds.
    let quarter = 1024 - 45;
    Pair::produce_at(&pair.target, 1, quarter);
    sleep(MOMENT).await;
    assert_eq!(pair.source.lock().published[0].len(), 1024);
    pair.source.change(|source| source.deaf = true);
    Pair::produce_at(&pair.target, 4, quarter);
    sleep(MOMENT).await;
    assert_eq!(back.metrics().forwarded, 5, "the socket took all of it");
    pair.stand_still(400, 20_000).await;
    Pair::produce_at(&pair.target, 1, quarter);
    sleep(MOMENT).await;
    assert_eq!(pair.source.unsent(), 0, "it is read on");
    assert_eq!(pair.session("src").metrics().reconnects, 0);
}

/// The target has most of it in its outbox, not on the way to its socket, or the forwarder has it.
#[tokio::test(start_paused = true)]
async fn what_waits_for_a_target_holds_its_source_back_no_more_once_that_leaves() {
    let performance = Performance { write_buffer: 4096, ..Performance::default() };
    let narrow = |options: SessionBuilder| options.performance(performance);
    let one_by_one = rules().filter(Filter::from_fn(|_| true)).qos0_queue(64);
    for rules in [rules(), one_by_one] {
        for deed in 0..4 {
            let pair = Pair::with(|options| options, narrow, rules.clone()).await;
            pair.stand_still(250, 30_000).await;
            pair.target.heal();
            sleep(Duration::from_secs(200)).await;
            assert_eq!((pair.source.unsent(), pair.forwarder.metrics().in_flight), (0, 0));
            pair.stand_still(250, 30_000).await;
            match deed {
                0 => pair.target.go_down(),
                1 => pair.session("dst").disconnect().await,
                2 => pair.sessions.remove_session("dst").await.unwrap(),
                _ => {
                    // It is silent until its connection is given up.
                    sleep(Duration::from_secs(60)).await;
                }
            }
            sleep(Duration::from_secs(3)).await;
            assert_eq!(pair.source.unsent(), 0, "after {deed}");
            // It is away from the beginning.
            pair.produce(100, 30_000);
            sleep(Duration::from_secs(3)).await;
            assert_eq!(pair.source.unsent(), 0, "after {deed}");
            pair.balanced();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_becomes_of_target_and_forwarder_the_source_is_read_on() {
    for deed in 0..9 {
        let pair = Pair::new(|options| options).await;
        pair.stand_still(400, 20_000).await;
        let moment = Duration::from_millis(50);
        match deed {
            0 => pair.target.cut(),
            1 => pair.target.go_down(),
            2 => pair.session("dst").disconnect().await,
            3 => pair.sessions.remove_session("dst").await.unwrap(),
            4 => pair.session("dst").reconnect(),
            5 => drop(pair.forwarder.stop(moment).await),
            6 => pair.forwarder.pause().await,
            7 => drop(pair.forwarders.remove("fw", moment).await.unwrap()),
            _ => {
                let other = ForwarderBuilder::new("fw").source("src", "a/#").target("other");
                let rules = vec![other.build().unwrap()];
                pair.forwarders.reconfigure(rules, &[], moment).await.unwrap();
                pair.forwarder.settle(moment).await;
            }
        }
        sleep(Duration::from_secs(5)).await;
        assert_eq!(pair.source.unsent(), 0, "after {deed}");
        pair.balanced();
        // What holds it back no more is not taken off twice: the next flood stands still as the first one did.
        if deed == 0 || deed == 4 {
            pair.target.heal();
            sleep(Duration::from_secs(5)).await;
            pair.stand_still(400, 20_000).await;
        }
    }
}
