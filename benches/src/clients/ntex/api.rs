//! What differs between ntex-mqtt's two versions.

use std::future::Future;
use std::net::SocketAddr;

use ntex::service::cfg::SharedCfg;
use ntex::service::{Pipeline, fn_service};
use ntex::time::Seconds;
use ntex::util::{ByteString, Bytes};
use ntex_mqtt::{MqttServiceConfig, QoS, v3, v5};

const KEEP_ALIVE: Seconds = Seconds(60);

/// A version of the client.
pub(super) trait Api: 'static {
    type Client: 'static;
    type Sink: Clone + 'static;

    fn connect(
        peer: SocketAddr,
        number: usize,
        window: u16,
    ) -> impl Future<Output = Result<Self::Client, String>>;
    fn sink(client: &Self::Client) -> Self::Sink;
    /// Runs the client; it acknowledges when `handler` returns.
    fn start(
        client: Self::Client,
        handler: impl AsyncFn(Heard) + 'static,
    ) -> impl Future<Output = ()>;
    fn subscribe(
        sink: &Self::Sink,
        filter: &'static str,
        qos: u8,
    ) -> impl Future<Output = Result<(), String>>;
    fn on_ack(sink: &Self::Sink, callback: impl Fn() + 'static);
    fn ready(sink: &Self::Sink) -> impl Future<Output = ()>;
    fn at_least_once_no_block(sink: &Self::Sink, topic: ByteString, payload: Bytes);
    fn at_most_once(
        sink: &Self::Sink,
        topic: ByteString,
        payload: Bytes,
    ) -> impl Future<Output = ()>;
    fn at_least_once(
        sink: &Self::Sink,
        topic: ByteString,
        payload: Bytes,
    ) -> impl Future<Output = ()>;
    fn exactly_once(
        sink: &Self::Sink,
        topic: ByteString,
        payload: Bytes,
    ) -> impl Future<Output = ()>;
}

/// A received message.
pub(super) struct Heard {
    pub(super) topic: ByteString,
    pub(super) payload: Bytes,
}

/// The limits of the workload instead of the defaults of 16 messages.
fn config(window: u16) -> SharedCfg {
    SharedCfg::new("bench")
        .add(
            MqttServiceConfig::new()
                .set_max_qos(QoS::ExactlyOnce)
                .set_max_send(window)
                .set_max_receive(window)
                .set_max_receive_size(0)
                .set_max_queue(window.into()),
        )
        .into()
}

fn qos(qos: u8) -> QoS {
    [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(qos)]
}

macro_rules! sends {
    ($module:ident) => {
        type Client = $module::client::Client;
        type Sink = $module::MqttSink;

        fn sink(client: &Self::Client) -> Self::Sink {
            client.sink()
        }

        fn on_ack(sink: &Self::Sink, callback: impl Fn() + 'static) {
            sink.publish_ack_cb(move |_, _| callback());
        }

        async fn ready(sink: &Self::Sink) {
            // Of many tasks that are woken, one takes the room.
            while !sink.is_ready() {
                assert!(sink.ready().await, "a connection");
            }
        }

        fn at_least_once_no_block(sink: &Self::Sink, topic: ByteString, payload: Bytes) {
            sink.publish(topic).send_at_least_once_no_block(payload).expect("a connection");
        }

        async fn at_most_once(sink: &Self::Sink, topic: ByteString, payload: Bytes) {
            sink.publish(topic).send_at_most_once(payload).await.expect("a connection");
        }

        async fn at_least_once(sink: &Self::Sink, topic: ByteString, payload: Bytes) {
            sink.publish(topic).send_at_least_once(payload).await.expect("a connection");
        }

        async fn exactly_once(sink: &Self::Sink, topic: ByteString, payload: Bytes) {
            let received = sink.publish(topic).send_exactly_once(payload).await;
            received.expect("a connection").release().await.expect("a connection");
        }
    };
}

/// MQTT 3.1.1.
pub(super) struct V3;

impl Api for V3 {
    sends!(v3);

    async fn connect(peer: SocketAddr, number: usize, window: u16) -> Result<Self::Client, String> {
        let connect = v3::client::Connect::new(peer.to_string())
            .client_id(format!("n{number}"))
            .clean_session()
            .keep_alive(KEEP_ALIVE);
        let connector = v3::client::MqttConnector::new();
        let client = Pipeline::new(config(window), connector).call(connect).await;
        client.map_err(|error| format!("{error:?}"))
    }

    async fn start(client: Self::Client, handler: impl AsyncFn(Heard) + 'static) {
        use v3::client::ProtocolMessage;
        let service = fn_service(async move |message: ProtocolMessage| {
            if let ProtocolMessage::Publish(publish) = &message {
                let payload = publish.read_all().await.expect("a payload");
                handler(Heard { topic: publish.packet().topic.clone(), payload }).await;
            }
            Ok::<_, ()>(message.ack())
        });
        let _ = client.start(service).await;
    }

    async fn subscribe(sink: &Self::Sink, filter: &'static str, level: u8) -> Result<(), String> {
        let subscribe = sink.subscribe().topic_filter(filter.into(), qos(level));
        subscribe.send().await.map(drop).map_err(|error| format!("{error:?}"))
    }
}

/// MQTT 5.
pub(super) struct V5;

impl Api for V5 {
    sends!(v5);

    async fn connect(peer: SocketAddr, number: usize, window: u16) -> Result<Self::Client, String> {
        let connect = v5::client::Connect::new(peer.to_string())
            .client_id(format!("n{number}"))
            .clean_start()
            .max_receive(window)
            .keep_alive(KEEP_ALIVE);
        let connector = v5::client::MqttConnector::new();
        let client = Pipeline::new(config(window), connector).call(connect).await;
        client.map_err(|error| format!("{error:?}"))
    }

    async fn start(client: Self::Client, handler: impl AsyncFn(Heard) + 'static) {
        use v5::client::ProtocolMessage;
        let service = fn_service(async move |message: ProtocolMessage| {
            Ok::<_, ()>(match message {
                ProtocolMessage::Publish(publish) => {
                    let payload = publish.read_all().await.expect("a payload");
                    handler(Heard { topic: publish.packet().topic.clone(), payload }).await;
                    publish.ack(v5::codec::PublishAckReason::Success)
                }
                other => other.ack(),
            })
        });
        let _ = client.start(service).await;
    }

    async fn subscribe(sink: &Self::Sink, filter: &'static str, level: u8) -> Result<(), String> {
        let options = v5::codec::SubscriptionOptions { qos: qos(level), ..Default::default() };
        let subscribe = sink.subscribe(None).topic_filter(filter.into(), options);
        subscribe.send().await.map(drop).map_err(|error| format!("{error:?}"))
    }
}
