//! A session whose other end is the test, byte for byte.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mqttx_proto::{
    AckTicket, CloseCause, Config, Event, Outcome, Outgoing, Priority, PropertiesRef, PublishError,
    QoS, Session, SubscribeOptions, Subscription, Transmit, Version,
};
use mqttx_test::{hex, shown};

pub(crate) const V311: Version = Version::V311;
pub(crate) const V5: Version = Version::V5;

/// A session whose other end is the test.
pub(crate) struct Wire {
    pub(crate) session: Session,
    pub(crate) now: Instant,
    pub(crate) tickets: Vec<AckTicket>,
    pub(crate) delivered: Vec<String>,
}

impl Wire {
    pub(crate) fn offline(config: Config) -> Self {
        Self {
            session: Session::new(config),
            now: Instant::now(),
            tickets: Vec::new(),
            delivered: Vec::new(),
        }
    }

    /// Connected, with CONNECT taken and this CONNACK.
    pub(crate) fn online(config: Config, connack: &str) -> Self {
        let mut wire = Self::offline(config);
        wire.reconnect(connack);
        wire
    }

    pub(crate) fn reconnect(&mut self, connack: &str) {
        self.session.handle_disconnected();
        self.session.handle_connected(self.now, 0);
        self.sent();
        self.receive(connack);
    }

    /// Everything that leaves now.
    pub(crate) fn sent(&mut self) -> Vec<u8> {
        let mut transmit = Transmit::new();
        let mut all = Vec::new();
        while self.session.poll_transmit(&mut transmit) {
            let mut slices = [IoSlice::new(&[]); 64];
            let filled = transmit.io_slices(&mut slices);
            let bytes: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
            transmit.advance(bytes.len());
            self.session.handle_written(self.now, bytes.len());
            all.extend(bytes);
        }
        all
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, script: &str) {
        let (sent, wanted) = (self.sent(), hex(script));
        assert!(sent == wanted, "sent   {}\nwanted {}", shown(&sent), shown(&wanted));
    }

    pub(crate) fn receive(&mut self, script: &str) {
        let input = hex(script);
        let mut inbound = Vec::new();
        let consumed = self.session.handle_input(self.now, &input, &mut inbound);
        assert_eq!(consumed, input.len());
        for message in &inbound {
            let publish = message.publish();
            let payload = String::from_utf8_lossy(publish.payload);
            self.delivered.push(format!("{}={payload}", publish.topic));
            self.tickets.extend(message.ticket);
        }
    }

    pub(crate) fn publish(
        &mut self,
        qos: QoS,
        payload: &str,
        token: u64,
    ) -> Result<(), PublishError> {
        self.publish_with(qos, payload, token, PropertiesRef::EMPTY)
    }

    pub(crate) fn publish_with(
        &mut self,
        qos: QoS,
        payload: &str,
        token: u64,
        properties: PropertiesRef<'_>,
    ) -> Result<(), PublishError> {
        self.publish_at(Priority::LOWEST, qos, payload, token, properties)
    }

    pub(crate) fn publish_at(
        &mut self,
        priority: Priority,
        qos: QoS,
        payload: &str,
        token: u64,
        properties: PropertiesRef<'_>,
    ) -> Result<(), PublishError> {
        let payload = Bytes::from(payload.to_owned());
        let message = Outgoing {
            topic: "t",
            payload: (&payload).into(),
            qos,
            retain: false,
            properties,
            expires_at: None,
            priority,
            origin: None,
        };
        self.session.publish(self.now, &message, token).map(|_| ())
    }

    pub(crate) fn subscribe(&mut self, filters: &[&str], token: u64) {
        let options = SubscribeOptions::new(QoS::AtLeastOnce);
        let all: Vec<_> = filters
            .iter()
            .map(|filter| Subscription { filter, options, identifier: None })
            .collect();
        self.session.subscribe(&all, PropertiesRef::EMPTY, token).unwrap();
    }

    pub(crate) fn outcome(&mut self, token: u64) -> Option<Outcome> {
        let completion = self.session.poll_completion()?;
        assert_eq!(completion.token, token);
        Some(completion.outcome)
    }

    pub(crate) fn close_cause(&mut self) -> Option<CloseCause> {
        while let Some(event) = self.session.poll_event() {
            if let Event::Closing(cause) = event {
                return Some(cause);
            }
        }
        None
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    pub(crate) fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.session.handle_timeout(self.now);
    }
}

pub(crate) fn config(version: Version) -> Config {
    let mut config = Config::new(version);
    config.client_id = "c".to_owned();
    config.clean_start = false;
    config
}

pub(crate) fn ok(version: Version) -> &'static str {
    if version == V5 { "20 03 00 00 00" } else { "20 02 00 00" }
}

pub(crate) fn resumed(version: Version) -> &'static str {
    if version == V5 { "20 03 01 00 00" } else { "20 02 01 00" }
}

/// The empty property length of v5, nothing in 3.1.1.
pub(crate) fn props(version: Version) -> &'static str {
    if version == V5 { "00" } else { "" }
}
