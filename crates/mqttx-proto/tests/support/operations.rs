//! Any sequence of calls, with any bytes from the peer: no panic, bounds kept, and every byte that leaves is MQTT.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mqttx_proto::{
    AckTicket, Authentication, Config, FrameStatus, Outgoing, Phase, Priority, Properties,
    PropertiesRef, Property, QoS, ReasonCode, RecordBatch, Session, SubscribeOptions, Subscription,
    Transmit, Version, decode, frame,
};

const OUTBOX: usize = 12;

struct Machine {
    session: Session,
    now: Instant,
    records: RecordBatch,
    tickets: Vec<AckTicket>,
    input: Vec<u8>,
    output: Vec<u8>,
    transmit: Transmit,
}

/// Interprets `data` as calls of the session.
pub(crate) fn operate(data: &[u8]) {
    let Some((&setting, mut rest)) = data.split_first() else { return };
    let mut machine = Machine::new(setting);
    while let Some((&code, after)) = rest.split_first() {
        rest = after;
        let argument = rest.first().copied().unwrap_or(0);
        rest = machine.step(code, argument, rest);
        machine.check();
    }
    machine.session.handle_closed();
}

impl Machine {
    fn new(setting: u8) -> Self {
        Self {
            session: Session::new(config(setting)),
            now: Instant::now(),
            records: RecordBatch::new(),
            tickets: Vec::new(),
            input: Vec::new(),
            output: Vec::new(),
            transmit: Transmit::new(),
        }
    }

    fn step<'a>(&mut self, code: u8, argument: u8, rest: &'a [u8]) -> &'a [u8] {
        let session = &mut self.session;
        match code % 16 {
            0 if session.phase() == Phase::Offline => {
                session.handle_connected(self.now, u64::from(argument % 2));
            }
            0 | 1 => self.disconnect(),
            2 | 3 => {
                let count = usize::from(argument).min(rest.len().saturating_sub(1));
                self.receive(&rest[rest.len().min(1)..][..count]);
                return &rest[rest.len().min(1) + count..];
            }
            4 => {
                let version = session.config().version;
                self.receive(connack(version, argument % 4));
            }
            5 => self.publish(argument),
            6 => {
                let options = SubscribeOptions::new(QoS::ExactlyOnce);
                let filter = ["a", "b/+", "$share/g/c", "#"][usize::from(argument % 4)];
                let identifier = (argument > 127).then_some(u32::from(argument));
                let wanted = [Subscription { filter, options, identifier }];
                session.subscribe(&wanted, PropertiesRef::EMPTY, 1).unwrap();
            }
            7 => {
                let filter = ["a", "b/+", "$share/g/c", "#"][usize::from(argument % 4)];
                session.unsubscribe(&[filter], PropertiesRef::EMPTY, 2).unwrap();
            }
            8 if !self.tickets.is_empty() => {
                let ticket = self.tickets.remove(usize::from(argument) % self.tickets.len());
                session.ack(ticket);
            }
            9 => {
                self.now += Duration::from_secs(u64::from(argument));
                session.handle_timeout(self.now);
            }
            10 => self.write(usize::from(argument)),
            11 => {
                let last = session.poll_store(&mut self.records);
                let reached = last.saturating_sub(u64::from(argument % 4));
                session.handle_stored(self.now, reached, reached);
            }
            12 => drop(session.drop_oldest()),
            13 => session.disconnect(ReasonCode::NORMAL_DISCONNECTION, PropertiesRef::EMPTY),
            14 if session.config().journal => self.crash(),
            _ => self.authenticate(argument),
        }
        rest
    }

    /// Steps of an authentication, due or not.
    fn authenticate(&mut self, argument: u8) {
        let session = &mut self.session;
        let data = (argument & 8 != 0).then_some(&b"d"[..]);
        // What is not due is refused, and sends nothing.
        match argument % 5 {
            0 => session.shrink(),
            1 => drop(session.authenticate(data)),
            2 => drop(session.reauthenticate(self.now, data)),
            3 => {
                drop(session.confirm_authentication(self.now));
                self.receive(&[]);
            }
            _ => session.fail_authentication(String::new()),
        }
    }

    fn disconnect(&mut self) {
        self.session.handle_disconnected();
        self.input.clear();
        self.output.clear();
        self.transmit.clear();
    }

    fn crash(&mut self) {
        self.disconnect();
        self.session.poll_store(&mut self.records);
        self.tickets.clear();
        let config = self.session.config().clone();
        self.session = Session::restore(config, self.now, &self.records);
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.input);
        let mut inbound = Vec::new();
        let consumed = self.session.handle_input(self.now, &input, &mut inbound);
        for message in &inbound {
            assert!(message.packet_len <= input.len());
            assert!(!message.publish().topic.is_empty());
            self.tickets.extend(message.ticket);
        }
        self.input = input[consumed..].to_vec();
    }

    fn publish(&mut self, argument: u8) {
        let payload = Bytes::from(vec![argument; if argument > 250 { 5000 } else { 3 }]);
        let mut properties = Properties::new();
        if argument & 8 != 0 {
            properties.push(Property::MessageExpiryInterval(u32::from(argument))).unwrap();
        }
        let message = Outgoing {
            topic: "t",
            // Both ways of handing bytes over.
            payload: if argument & 2 == 0 { (&payload).into() } else { payload[..].into() },
            qos: QoS::from_u8(argument % 3).unwrap(),
            retain: argument & 16 != 0,
            properties: properties.as_ref(),
            expires_at: (argument & 32 != 0).then(|| self.now + Duration::from_secs(1)),
            priority: Priority::new(argument >> 6).unwrap(),
            origin: None,
        };
        // Refusals are fine; what they must not do is change anything, which `check` would see.
        let _ = self.session.publish(self.now, &message, u64::from(argument));
    }

    fn write(&mut self, count: usize) {
        self.session.poll_transmit(&mut self.transmit);
        let mut slices = [IoSlice::new(&[]); 5];
        let filled = self.transmit.io_slices(&mut slices);
        let bytes: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
        let count = (count * 40).min(bytes.len());
        self.output.extend_from_slice(&bytes[..count]);
        self.transmit.advance(count);
        self.session.handle_written(self.now, count);
        let version = self.session.config().version;
        while let Ok(FrameStatus::Complete(found)) = frame(&self.output, version, u32::MAX) {
            if found.first_byte >> 4 != 1 {
                let body = &self.output[found.header_len..found.total_len];
                decode(version, found.first_byte, body).expect("what leaves is MQTT");
            }
            self.output.drain(..found.total_len);
        }
    }

    fn check(&mut self) {
        while self.session.poll_event().is_some() {}
        while self.session.poll_completion().is_some() {}
        let status = self.session.outbox();
        assert!(status.messages <= OUTBOX, "{status:?}");
        assert!(status.in_flight <= self.session.unacknowledged(), "{status:?}");
        assert!(self.session.unacknowledged() <= status.messages);
        assert!(status.messages > 0 || status.bytes == 0, "{status:?}");
    }
}

fn config(setting: u8) -> Config {
    let version = if setting & 1 == 0 { Version::V311 } else { Version::V5 };
    let mut config = Config::new(version);
    config.client_id = "f".to_owned();
    config.clean_start = setting & 2 != 0;
    config.journal = setting & 4 != 0;
    config.max_in_flight = if setting & 8 != 0 { 2 } else { u16::MAX };
    config.topic_alias_maximum = (setting & 16 != 0).then_some(3);
    config.receive_maximum = (setting & 32 != 0).then_some(2);
    config.write_buffer_limit = if setting & 64 != 0 { 30 } else { 1 << 20 };
    config.outbox.messages = OUTBOX;
    if setting & 128 != 0 {
        let method = "m".into();
        config.authentication = Some(Authentication { method, data: None });
    }
    config
}

/// With or without a session, and with a Receive Maximum that may be another one on the next connection.
fn connack(version: Version, kind: u8) -> &'static [u8] {
    match (version, kind) {
        (Version::V311, 0 | 2) => &[0x20, 2, 0, 0],
        (Version::V311, _) => &[0x20, 2, 1, 0],
        (Version::V5, 0) => &[0x20, 6, 0, 0, 3, 0x21, 0, 3],
        (Version::V5, 1) => &[0x20, 6, 1, 0, 3, 0x21, 0, 3],
        (Version::V5, 2) => &[0x20, 6, 0, 0, 3, 0x21, 0, 1],
        (Version::V5, _) => &[0x20, 6, 1, 0, 3, 0x21, 0, 1],
    }
}
