//! A forwarder whose rules change, and the brokers' ends of its sessions.

use std::time::Duration;

use mqttx::{
    Backoff, Forwarder, ForwarderBuilder, ForwarderManager, Jitter, SessionManager, SessionOptions,
};
use mqttx_test::{Peer, ScriptedBroker};

pub(crate) const ACCEPTED: &str = "20 { 00 00 {} }";
pub(crate) const RESUMED: &str = "20 { 01 00 {} }";
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// Long enough for a wrong packet to arrive.
pub(crate) const QUIET: Duration = Duration::from_millis(60);

/// A forwarder from "src" to "one", with "two" beside it, and the brokers' ends of their connections.
pub(crate) struct Bridge {
    pub(crate) sessions: SessionManager,
    pub(crate) forwarders: ForwarderManager,
    pub(crate) forwarder: Forwarder,
    pub(crate) broker: ScriptedBroker,
    pub(crate) source: Peer,
    pub(crate) one: Peer,
    pub(crate) two: Peer,
}

pub(crate) fn rules() -> ForwarderBuilder {
    ForwarderBuilder::new("fw").source("src", "a/+").target("one").topic("b/{1}")
}

/// A PUBLISH without properties of its own, as it is forwarded.
pub(crate) fn sent(script: &str) -> String {
    script.replace("{}", "{ 26 <mqttx-via> <d/fw> 26 <mqttx-hops> <1> }")
}

impl Bridge {
    pub(crate) async fn start() -> Self {
        Self::start_with(rules()).await
    }

    pub(crate) async fn start_with(rules: ForwarderBuilder) -> Self {
        Self::start_asking(rules, "0d").await
    }

    /// `options`: what the source subscribes with.
    pub(crate) async fn start_asking(rules: ForwarderBuilder, options: &str) -> Self {
        let sessions = SessionManager::new();
        let brokers = [
            ScriptedBroker::start().await,
            ScriptedBroker::start().await,
            ScriptedBroker::start().await,
        ];
        for (name, broker) in ["src", "one", "two"].into_iter().zip(&brokers) {
            let quick = Backoff::new(Duration::from_millis(10), Duration::from_millis(40));
            let options = SessionOptions::quick_connect(name, broker.url())
                .client_id(name)
                // A message without a route shows at once.
                .unrouted_hold(Duration::ZERO)
                .reconnect(quick.jitter(Jitter::None));
            sessions.add_session(options.build().unwrap()).unwrap();
        }
        let forwarders = ForwarderManager::named(&sessions, "d");
        let forwarder = forwarders.add_forwarder(rules.build().unwrap()).unwrap();
        let [broker, first, second] = brokers;
        let (mut source, _) = broker.accept_and_answer(ACCEPTED).await;
        let (one, _) = first.accept_and_answer(ACCEPTED).await;
        let (two, _) = second.accept_and_answer(ACCEPTED).await;
        source.expect(&format!("82 {{ 00 01 {{ 0b 01 }} <a/+> {options} }}")).await;
        source.send("90 { 00 01 {} 01 }").await;
        sessions.wait_for_all_sessions(SOON).await.unwrap();
        Self { sessions, forwarders, forwarder, broker, source, one, two }
    }

    pub(crate) async fn change(&self, rules: ForwarderBuilder) {
        let rules = vec![rules.build().unwrap()];
        let changed = self.forwarders.reconfigure(rules, &[], SOON).await.unwrap();
        assert_eq!((changed.changed.len(), changed.added.len()), (1, 0));
    }

    pub(crate) async fn until_received(&self, count: u64) {
        let arrived = async {
            while self.forwarder.metrics().received < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, arrived).await.expect("it arrives");
    }

    /// What was given back comes on a new connection, with DUP (`3a`, or `3c` with QoS 2).
    pub(crate) async fn sends_again(&mut self, first_byte: &str) {
        self.source.expect("e0 {}").await;
        self.source = self.broker.accept_and_answer(RESUMED).await.0;
        self.source.send(&format!("{first_byte} {{ <a/x> 00 07 {{}} '1' }}")).await;
    }

    /// [`sends_again`](Self::sends_again) with QoS 1, and "two" gets it this time.
    pub(crate) async fn goes_to_two(&mut self) {
        self.sends_again("3a").await;
        self.two.expect(&sent("32 { <a/x> 00 01 {} '1' }")).await;
        self.two.send("40 { 00 01 }").await;
        self.source.expect("40 { 00 07 }").await;
    }

    /// The forwarder stops, with so many messages left.
    pub(crate) async fn stop(&mut self, left: usize) {
        let forwarder = self.forwarder.clone();
        let stopping = tokio::spawn(async move { forwarder.stop(QUIET).await });
        self.source.expect("a2 { 00 02 {} <a/+> }").await;
        self.source.send("b0 { 00 02 {} 00 }").await;
        assert_eq!(stopping.await.unwrap(), left);
    }

    /// received, forwarded, in flight.
    pub(crate) fn counted(&self) -> (u64, u64, u64) {
        let metrics = self.forwarder.metrics();
        let done = metrics.forwarded + metrics.filtered + metrics.dropped + metrics.dead_lettered;
        assert_eq!(metrics.received, done + metrics.in_flight, "{metrics:?}");
        (metrics.received, metrics.forwarded, metrics.in_flight)
    }
}
