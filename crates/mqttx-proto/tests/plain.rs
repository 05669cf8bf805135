//! The short way of most messages, against the longer one that they could take as well.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use std::time::{Duration, Instant};

use mqttx_proto::{
    Ack, CloseCause, Config, ConnAck, Event, Inbound, KeepAlive, NO_TOKEN, Origin, Outcome,
    Outgoing, PacketId, PacketType, PlainMessage, PlainProperties, Priority, Properties,
    PropertiesRef, Property, QoS, ReasonCode, RecordBatch, Session, SubscribeOptions, Subscription,
    Transmit, Version,
};

const MESSAGE: PlainMessage<'static> = PlainMessage {
    topic: "plant/7",
    properties: PlainProperties::EMPTY,
    payload: b"21.5",
    qos: QoS::AtLeastOnce,
    retain: false,
    priority: Priority::LOWEST,
};

/// A session, and what a driver has.
struct Client {
    session: Session,
    version: Version,
    now: Instant,
}

impl Client {
    fn offline(config: Config) -> Self {
        let version = config.version;
        Self { session: Session::new(config), version, now: Instant::now() }
    }

    /// Connected, with an outbox that was used.
    fn new(config: Config) -> Self {
        Self::with(config, PropertiesRef::EMPTY)
    }

    fn with(config: Config, properties: PropertiesRef<'_>) -> Self {
        let mut client = Self::offline(config);
        client.session.handle_connected(client.now, 0);
        client.take();
        let mut answer = Vec::new();
        let (session_present, reason) = (false, ReasonCode::SUCCESS);
        ConnAck { session_present, reason, properties }
            .encode(client.version, &mut answer)
            .expect("a CONNACK");
        client.input(&answer);
        while client.session.poll_event().is_some() {}
        let first = Outgoing { qos: QoS::AtMostOnce, ..of(&MESSAGE) };
        client.session.publish(client.now, &first, NO_TOKEN).expect("accepted");
        client.take();
        client
    }

    fn input(&mut self, bytes: &[u8]) {
        let mut inbound: Vec<Inbound<'_>> = Vec::new();
        let consumed = self.session.handle_input(self.now, bytes, &mut inbound);
        assert_eq!((consumed, inbound.len()), (bytes.len(), 0));
    }

    /// What the socket gets; it takes all of it.
    fn take(&mut self) -> Vec<u8> {
        let (mut transmit, mut bytes) = (Transmit::new(), Vec::new());
        self.session.poll_transmit(&mut transmit);
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let filled = transmit.io_slices(&mut slices);
        slices[..filled].iter().for_each(|slice| bytes.extend_from_slice(slice));
        self.session.handle_written(self.now, bytes.len());
        bytes
    }

    /// PUBACKs for these ids.
    fn acknowledge(&mut self, ids: &[u16]) {
        let mut acks = Vec::new();
        for id in ids {
            let id = PacketId::new(*id).expect("not zero");
            Ack::new(id).encode(PacketType::PubAck, self.version, &mut acks).expect("an ack");
        }
        self.input(&acks);
    }

    fn completed(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.session.poll_completion())
            .map(|completion| {
                assert!(matches!(
                    completion.outcome,
                    Outcome::Acknowledged { .. } | Outcome::Written
                ));
                completion.token
            })
            .collect()
    }

    /// Nothing comes of it, and nothing is changed by it.
    fn refuses(&mut self, message: &PlainMessage<'_>) {
        let before = (self.session.outbox(), self.session.send_totals());
        assert_eq!(self.session.publish_plain(message, 9), None, "{message:?}");
        assert_eq!((self.session.outbox(), self.session.send_totals()), before);
        assert!(!self.session.has_transmit());
    }
}

fn of<'a>(message: &PlainMessage<'a>) -> Outgoing<'a> {
    Outgoing {
        topic: message.topic,
        payload: message.payload.into(),
        qos: message.qos,
        retain: message.retain,
        properties: PropertiesRef::EMPTY,
        expires_at: None,
        priority: message.priority,
        origin: None,
    }
}

#[test]
fn a_plain_message_leaves_as_it_would_the_longer_way() {
    let (topic, payload) = ("t".repeat(4096), vec![7; 4095]);
    for version in [Version::V311, Version::V5] {
        let mut config = Config::new(version);
        config.clean_start = false;
        let (mut short, mut long) = (Client::new(config.clone()), Client::new(config));
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for (topic_len, payload_len) in [
                (1, 0),
                (31, 64),
                // Around the length that takes a second byte.
                (20, 100),
                (20, 101),
                (20, 102),
                (20, 103),
                (20, 104),
                (20, 105),
                (20, 106),
                (4096, 4095),
                (20, 17),
            ] {
                let mut properties = Properties::new();
                if payload_len % 2 == 1 {
                    properties.user_property("via", "plant/line").expect("a text");
                    properties.push(Property::ContentType("json")).expect("a text");
                }
                let properties = properties.as_ref();
                let message = PlainMessage {
                    topic: &topic[..topic_len],
                    properties: PlainProperties::of(properties).expect("plain ones"),
                    payload: &payload[..payload_len],
                    qos,
                    retain: payload_len % 2 == 1,
                    priority: Priority::HIGHEST,
                };
                let len = short.session.publish_plain(&message, 5).expect("nothing is in its way");
                // With an origin it is none of the plain ones.
                let origin = Some(Origin::new(1).expect("not zero"));
                let accepted = long
                    .session
                    .publish(long.now, &Outgoing { origin, properties, ..of(&message) }, 5)
                    .expect("accepted");
                assert_eq!(len, accepted.packet_len);
                assert_eq!(short.session.outbox(), long.session.outbox());
                assert_eq!(short.session.send_totals(), long.session.send_totals());
                let bytes = short.take();
                assert_eq!(bytes.len(), len);
                assert!(bytes == long.take(), "{version} {qos:?} {topic_len} {payload_len}");
                assert_eq!(short.completed(), long.completed());
            }
        }
        assert_eq!(short.session.unacknowledged(), 22);
        // What is kept is sent again as the other would be.
        for client in [&mut short, &mut long] {
            client.session.handle_disconnected();
            client.session.handle_connected(client.now, 0);
            client.take();
            let accepted: &[u8] = match version {
                Version::V311 => b"\x20\x02\x01\0",
                Version::V5 => b"\x20\x03\x01\0\0",
            };
            client.input(accepted);
        }
        let (again, other) = (short.take(), long.take());
        assert!(!again.is_empty() && again == other);
    }
}

#[test]
fn properties_that_say_something_of_the_way_or_may_not_be_sent_are_not_plain() {
    let list = |all: &[Property<'_>]| {
        let mut list = Properties::new();
        all.iter().for_each(|property| list.push(*property).expect("a property"));
        list
    };
    let user = |len: usize| list(&[Property::UserProperty("", &"v".repeat(len))]);
    let plain = [
        list(&[]),
        list(&[Property::UserProperty("a", "b"), Property::CorrelationData(b"7")]),
        user(122),
    ];
    for list in plain {
        assert!(PlainProperties::of(list.as_ref()).is_some(), "{list:?}");
    }
    let others = [
        list(&[Property::MessageExpiryInterval(1)]),
        list(&[Property::UserProperty("a", "b"), Property::TopicAlias(1)]),
        list(&[Property::SubscriptionIdentifier(1)]),
        list(&[Property::ReasonString("of an answer")]),
        // 128 bytes with identifier and lengths.
        user(123),
    ];
    for list in others {
        assert!(PlainProperties::of(list.as_ref()).is_none(), "{list:?}");
    }
}

#[test]
fn what_is_in_the_way_of_a_message_makes_it_take_the_longer_one() {
    let mut offline = Client::offline(Config::new(Version::V5));
    offline.refuses(&MESSAGE);
    offline.session.publish(offline.now, &of(&MESSAGE), NO_TOKEN).expect("it waits");
    offline.refuses(&MESSAGE);

    let mut client = Client::new(Config::new(Version::V5));
    let (long, payload) = ("t".repeat(8192), vec![0; 4096]);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let message = PlainMessage { qos, ..MESSAGE };
        for topic in ["", "a/+", "#", "a\0"] {
            client.refuses(&PlainMessage { topic, ..message });
        }
        client.refuses(&PlainMessage { payload: &payload, ..message });
        client.refuses(&PlainMessage { topic: &long, ..message });
    }

    let mut config = Config::new(Version::V5);
    config.max_in_flight = 2;
    let mut client = Client::new(config);
    for _ in 0..2 {
        client.session.publish_plain(&MESSAGE, NO_TOKEN).expect("within the window");
    }
    client.take();
    client.refuses(&MESSAGE);
    client.session.publish(client.now, &of(&MESSAGE), NO_TOKEN).expect("it waits");
    client.refuses(&PlainMessage { qos: QoS::ExactlyOnce, ..MESSAGE });
    let now = PlainMessage { qos: QoS::AtMostOnce, ..MESSAGE };
    assert!(client.session.publish_plain(&now, NO_TOKEN).is_some(), "QoS 0 waits for no window");

    let mut config = Config::new(Version::V5);
    config.outbox.messages = 1;
    let mut client = Client::new(config);
    client.session.publish_plain(&MESSAGE, NO_TOKEN).expect("there is room for one");
    client.take();
    client.refuses(&MESSAGE);

    let mut config = Config::new(Version::V5);
    config.outbox.bytes = 30;
    let mut client = Client::new(config);
    client.session.publish_plain(&MESSAGE, NO_TOKEN).expect("there is room for one");
    client.take();
    client.refuses(&MESSAGE);

    let mut config = Config::new(Version::V5);
    config.write_buffer_limit = 10;
    let mut client = Client::new(config);
    client.session.publish_plain(&MESSAGE, NO_TOKEN).expect("nothing is to be written");
    assert_eq!(client.session.publish_plain(&MESSAGE, NO_TOKEN), None, "the socket takes nothing");

    let mut config = Config::new(Version::V5);
    config.journal = true;
    let mut client = Client::new(config);
    client.refuses(&MESSAGE);
    assert!(client.session.publish_plain(&now, NO_TOKEN).is_some(), "no store has QoS 0");
}

#[test]
fn what_connack_forbids_takes_the_longer_way() {
    for (property, message) in [
        (Property::MaximumPacketSize(16), PlainMessage { payload: b"12345", ..MESSAGE }),
        (Property::MaximumQoS(1), PlainMessage { qos: QoS::ExactlyOnce, ..MESSAGE }),
        (Property::RetainAvailable(0), PlainMessage { retain: true, ..MESSAGE }),
    ] {
        let mut limits = Properties::new();
        limits.push(property).expect("a property");
        let mut client = Client::with(Config::new(Version::V5), limits.as_ref());
        client.refuses(&message);
        let other = PlainMessage { topic: "t", payload: b"", ..MESSAGE };
        assert!(client.session.publish_plain(&other, NO_TOKEN).is_some());
    }
}

#[test]
fn acknowledgements_in_any_order_end_what_they_name() {
    for version in [Version::V311, Version::V5] {
        let mut client = Client::new(Config::new(version));
        for token in 1..=6 {
            let waits = if token == 5 { NO_TOKEN } else { token };
            client.session.publish_plain(&MESSAGE, waits).expect("sent");
        }
        client.take();
        client.acknowledge(&[1, 3, 2, 6, 77]);
        assert_eq!(client.completed(), [1, 3, 2, 6]);
        assert_eq!(client.session.outbox().in_flight, 2);
        client.acknowledge(&[4, 5, 5]);
        assert_eq!(client.completed(), [4], "nobody waits for the fifth");
        let outbox = client.session.outbox();
        assert_eq!((outbox.messages, outbox.bytes, outbox.in_flight), (0, 0, 0));
        assert!(client.session.is_flushed() && client.session.poll_event().is_none());
        // Ids and window are free again.
        for token in 1..=3 {
            client.session.publish_plain(&MESSAGE, token).expect("sent");
        }
        client.take();
        client.acknowledge(&[7, 8, 9]);
        assert_eq!(client.completed(), [1, 2, 3]);
    }
}

#[test]
fn a_puback_for_qos_2_is_an_error_of_the_server() {
    let mut client = Client::new(Config::new(Version::V5));
    let twice = PlainMessage { qos: QoS::ExactlyOnce, ..MESSAGE };
    client.session.publish_plain(&twice, 1).expect("sent");
    client.take();
    client.acknowledge(&[1]);
    let closing = client.session.poll_event();
    assert!(matches!(closing, Some(Event::Closing(CloseCause::Protocol(_)))), "{closing:?}");
    assert_eq!((client.completed().len(), client.session.unacknowledged()), (0, 1));
}

#[test]
fn part_of_a_puback_is_left_for_the_rest() {
    let mut client = Client::new(Config::new(Version::V5));
    for token in 1..=2 {
        client.session.publish_plain(&MESSAGE, token).expect("sent");
    }
    client.take();
    let acks = b"\x40\x02\0\x01\x40\x02\0";
    let consumed = client.session.handle_input(client.now, acks, &mut Vec::new());
    assert_eq!((consumed, client.completed()), (4, vec![1]));
    client.input(b"\x40\x02\0\x02");
    assert_eq!(client.completed(), [2]);
}

#[test]
fn a_puback_in_the_last_moments_of_a_connection_is_not_taken() {
    let mut client = Client::new(Config::new(Version::V5));
    client.session.publish_plain(&MESSAGE, 1).expect("sent");
    client.session.disconnect(ReasonCode::NORMAL_DISCONNECTION, PropertiesRef::EMPTY);
    client.take();
    client.acknowledge(&[1]);
    assert_eq!((client.completed().len(), client.session.unacknowledged()), (0, 1));
}

#[test]
fn a_store_learns_of_the_end_of_each_message() {
    let mut config = Config::new(Version::V5);
    config.journal = true;
    let mut client = Client::new(config);
    let mut records = RecordBatch::new();
    let mut store = |client: &mut Client| {
        records.clear();
        let last = client.session.poll_store(&mut records);
        client.session.handle_stored(client.now, last, last);
        records.len()
    };
    client.session.publish(client.now, &of(&MESSAGE), 1).expect("accepted");
    store(&mut client);
    assert!(!client.take().is_empty());
    assert_eq!(store(&mut client), 0);
    client.acknowledge(&[1]);
    assert_eq!((client.completed(), store(&mut client)), (vec![1], 1));
}

#[test]
fn a_message_for_which_there_is_no_packet_id_waits_for_one() {
    let mut config = Config::new(Version::V5);
    config.outbox.messages = 70_000;
    config.write_buffer_limit = 1 << 24;
    let mut client = Client::new(config);
    let options = SubscribeOptions::new(QoS::AtMostOnce);
    let wanted = [Subscription { filter: "t", options, identifier: None }];
    client.session.subscribe(&wanted, PropertiesRef::EMPTY, NO_TOKEN).expect("a filter");
    for _ in 1..u16::MAX {
        client.session.publish_plain(&MESSAGE, NO_TOKEN).expect("there is one");
    }
    client.take();
    client.refuses(&MESSAGE);
    // With an origin it would be encoded at once.
    let next = Outgoing { origin: Origin::new(1), ..of(&MESSAGE) };
    client.session.publish(client.now, &next, NO_TOKEN).expect("it waits");
    assert_eq!(client.session.awaiting_window(), 1);
    client.acknowledge(&[2]);
    assert_eq!(client.session.awaiting_window(), 0);
    assert_eq!(client.take()[10..13], [b'7', 0, 2], "with the id that is free again");
}

#[test]
fn a_server_that_only_acknowledges_is_not_silent() {
    let mut config = Config::new(Version::V5);
    config.keep_alive = KeepAlive::from_secs(10);
    let mut client = Client::new(config);
    client.session.publish_plain(&MESSAGE, NO_TOKEN).expect("sent");
    client.now += Duration::from_secs(6);
    client.take();
    client.acknowledge(&[1]);
    assert_eq!(client.session.poll_timeout(), Some(client.now + Duration::from_secs(10)));
}

#[test]
fn a_puback_for_what_waits_to_be_sent_again_ends_it_as_well() {
    let mut config = Config::new(Version::V5);
    config.clean_start = false;
    config.write_buffer_limit = 1;
    let mut client = Client::new(config);
    client.session.publish_plain(&MESSAGE, 1).expect("sent");
    client.take();
    client.session.handle_disconnected();
    client.session.handle_connected(client.now, 0);
    // The socket has taken nothing of CONNECT yet.
    client.session.poll_transmit(&mut Transmit::new());
    client.input(b"\x20\x03\x01\0\0");
    assert_eq!(client.session.outbox().in_flight, 1);
    assert!(!client.session.has_transmit(), "there is no room");
    client.acknowledge(&[1]);
    let outbox = client.session.outbox();
    assert_eq!((client.completed(), outbox.messages, outbox.in_flight), (vec![1], 0, 0));
}
