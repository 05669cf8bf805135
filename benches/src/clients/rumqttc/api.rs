//! What differs between the four clients of the family: names, and how options are set.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

/// Requests and packets that the successor takes in one turn.
const BATCH: usize = 64;
/// Larger than every packet of the workloads; the default is 10 KiB.
const PACKET: usize = 1 << 20;
const KEEP_ALIVE: u16 = 60;

/// One client of the family.
pub(super) trait Api: 'static {
    type Client: Clone + Send + Sync + 'static;
    type Loop: Send + 'static;
    type Message: Send;

    /// As many requests may wait for the event loop as messages may be in flight: both cost memory at once.
    fn connect(
        peer: SocketAddr,
        number: usize,
        window: u16,
        nodelay: bool,
    ) -> (Self::Client, Self::Loop);
    fn poll(
        events: &mut Self::Loop,
    ) -> impl Future<Output = Result<Heard<Self::Message>, String>> + Send;
    fn publish(
        client: &Self::Client,
        topic: &str,
        payload: &Bytes,
        qos: u8,
    ) -> impl Future<Output = Result<(), String>> + Send;
    fn subscribe(
        client: &Self::Client,
        filter: &str,
        qos: u8,
    ) -> impl Future<Output = Result<(), String>> + Send;
    fn topic(message: &Self::Message) -> &[u8];
    fn payload(message: &Self::Message) -> &Bytes;
}

/// What an event loop reported.
pub(super) enum Heard<M> {
    Connected,
    Message(M),
    /// The last acknowledgement of a message.
    Acknowledged,
    Other,
}

macro_rules! client {
    (
        $name:ident: $client:ty, $events:ty, $message:ty, $event:ty, $packet:ty, $qos:ty;
        $connect:expr, $publish:expr, $message_:ident => $topic:expr
    ) => {
        pub(super) struct $name;

        #[allow(clippy::redundant_closure_call, reason = "the macro is given closures")]
        impl Api for $name {
            type Client = $client;
            type Loop = $events;
            type Message = $message;

            fn connect(
                peer: SocketAddr,
                number: usize,
                window: u16,
                nodelay: bool,
            ) -> ($client, $events) {
                $connect(format!("r{number}"), peer, window, nodelay)
            }

            async fn poll(events: &mut $events) -> Result<Heard<$message>, String> {
                type Event = $event;
                type Packet = $packet;
                Ok(match events.poll().await.map_err(|error| error.to_string())? {
                    Event::Incoming(Packet::Publish(message)) => Heard::Message(message),
                    Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => Heard::Acknowledged,
                    Event::Incoming(Packet::ConnAck(_)) => Heard::Connected,
                    _ => Heard::Other,
                })
            }

            async fn publish(
                client: &$client,
                topic: &str,
                payload: &Bytes,
                qos: u8,
            ) -> Result<(), String> {
                type QoS = $qos;
                let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(qos)];
                $publish(client, topic, payload.clone(), qos)
                    .await
                    .map_err(|error| error.to_string())
            }

            async fn subscribe(client: &$client, filter: &str, qos: u8) -> Result<(), String> {
                type QoS = $qos;
                let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(qos)];
                client.subscribe(filter, qos).await.map_err(|error| error.to_string())
            }

            fn topic($message_: &$message) -> &[u8] {
                $topic
            }

            fn payload(message: &$message) -> &Bytes {
                &message.payload
            }
        }
    };
}

client! {
    V4: rumqttc::AsyncClient, rumqttc::EventLoop, rumqttc::Publish, rumqttc::Event, rumqttc::Packet,
        rumqttc::QoS;
    |id, peer: SocketAddr, window: u16, nodelay| {
        let mut options = rumqttc::MqttOptions::new(id, peer.ip().to_string(), peer.port());
        options
            .set_keep_alive(Duration::from_secs(KEEP_ALIVE.into()))
            .set_inflight(window)
            .set_max_packet_size(PACKET, PACKET);
        let (client, mut events) = rumqttc::AsyncClient::new(options, usize::from(window));
        let mut network = rumqttc::NetworkOptions::new();
        network.set_tcp_nodelay(nodelay);
        events.set_network_options(network);
        (client, events)
    },
    async |client: &rumqttc::AsyncClient, topic: &str, payload, qos| {
        client.publish_bytes(topic, qos, false, payload).await
    },
    message => message.topic.as_bytes()
}

client! {
    V5: rumqttc::v5::AsyncClient, rumqttc::v5::EventLoop, rumqttc::v5::mqttbytes::v5::Publish,
        rumqttc::v5::Event, rumqttc::v5::mqttbytes::v5::Packet, rumqttc::v5::mqttbytes::QoS;
    |id, peer: SocketAddr, window: u16, nodelay| {
        let mut options = rumqttc::v5::MqttOptions::new(id, peer.ip().to_string(), peer.port());
        options
            .set_keep_alive(Duration::from_secs(KEEP_ALIVE.into()))
            .set_outgoing_inflight_upper_limit(window)
            .set_max_packet_size(Some(PACKET as u32));
        let mut network = rumqttc::NetworkOptions::new();
        network.set_tcp_nodelay(nodelay);
        options.set_network_options(network);
        rumqttc::v5::AsyncClient::new(options, usize::from(window))
    },
    async |client: &rumqttc::v5::AsyncClient, topic: &str, payload, qos| {
        client.publish_bytes(topic, qos, false, payload).await
    },
    message => &message.topic[..]
}

client! {
    NextV4: next_v4::AsyncClient, next_v4::EventLoop, next_v4::Publish,
        next_v4::Event, next_v4::Packet, next_v4::QoS;
    |id: String, peer: SocketAddr, window: u16, nodelay| {
        use next_v4::{AsyncClient, Broker, MqttOptions, NetworkOptions};
        let mut options = MqttOptions::new(id, Broker::tcp(peer.ip().to_string(), peer.port()));
        options
            .set_keep_alive(KEEP_ALIVE)
            .set_inflight(window)
            .set_max_packet_size(PACKET, PACKET)
            .set_max_request_batch(BATCH)
            .set_read_batch_size(BATCH);
        let (client, mut events) = AsyncClient::builder(options).capacity(usize::from(window)).build();
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(nodelay);
        events.set_network_options(network);
        (client, events)
    },
    async |client: &next_v4::AsyncClient, topic: &str, payload: Bytes, qos| {
        client.publish(topic, payload, next_v4::PublishOptions::new(qos)).await
    },
    message => &message.topic[..]
}

client! {
    NextV5: next_v5::AsyncClient, next_v5::EventLoop, next_v5::Publish,
        next_v5::Event, next_v5::Packet, next_v5::QoS;
    |id: String, peer: SocketAddr, window: u16, nodelay| {
        use next_v5::{AsyncClient, Broker, MqttOptions, NetworkOptions};
        let mut options = MqttOptions::new(id, Broker::tcp(peer.ip().to_string(), peer.port()));
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(nodelay);
        options
            .set_keep_alive(KEEP_ALIVE)
            .set_outgoing_inflight_upper_limit(window)
            .set_unlimited_incoming_packet_size()
            .set_max_request_batch(BATCH)
            .set_read_batch_size(BATCH)
            .set_network_options(network);
        AsyncClient::builder(options).capacity(usize::from(window)).build()
    },
    async |client: &next_v5::AsyncClient, topic: &str, payload: Bytes, qos| {
        client.publish(topic, payload, next_v5::PublishOptions::new(qos)).await
    },
    message => &message.topic[..]
}
