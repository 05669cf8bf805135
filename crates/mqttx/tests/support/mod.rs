//! A broker small enough to read: subscriptions, routing and acknowledgements up to QoS 1, no state
//! beyond a connection. It can withhold acknowledgements and cut its connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use mqttx::proto::packet::{Ack, ConnAck, Publish, SubAck};
use mqttx::proto::{FrameStatus, Packet, PacketType, decode, frame};
use mqttx::{KeepAlive, PacketId, PropertiesRef, QoS, ReasonCode, Version, matches};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;

pub(crate) struct Broker {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    version: Version,
    cuts: watch::Sender<u64>,
    clients: Mutex<Vec<Client>>,
    withhold: AtomicBool,
    published: Mutex<Vec<String>>,
    connections: watch::Sender<usize>,
}

struct Client {
    id: String,
    filters: Vec<(String, QoS)>,
    out: UnboundedSender<Vec<u8>>,
    next_id: u16,
}

impl Broker {
    /// For clients of MQTT 5.
    pub(crate) async fn start() -> Self {
        Self::start_for(Version::V5).await
    }

    pub(crate) async fn start_for(version: Version) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            version,
            cuts: watch::Sender::new(0),
            clients: Mutex::default(),
            withhold: AtomicBool::new(false),
            published: Mutex::default(),
            connections: watch::Sender::new(0),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let mut cuts = shared.cuts.subscribe();
                    let id = Mutex::new(None);
                    tokio::select! {
                        () = serve(stream, &shared, &id) => {}
                        _ = cuts.changed() => {}
                    }
                    let id = id.into_inner().unwrap();
                    shared.clients.lock().unwrap().retain(|c| Some(&c.id) != id.as_ref());
                    shared.count();
                });
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// Ends every connection, without a word.
    pub(crate) fn cut(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// From now on PUBLISH is not acknowledged.
    pub(crate) fn withhold_acks(&self) {
        self.state.withhold.store(true, Ordering::SeqCst);
    }

    /// The filters of one client, in order.
    pub(crate) fn filters(&self, id: &str) -> Vec<String> {
        let clients = self.state.clients.lock().unwrap();
        let client = clients.iter().find(|c| c.id == id);
        let mut filters: Vec<String> =
            client.into_iter().flat_map(|c| &c.filters).map(|(f, _)| f.clone()).collect();
        filters.sort();
        filters
    }

    /// How many messages of a topic came in.
    pub(crate) fn published(&self, topic: &str) -> usize {
        self.state.published.lock().unwrap().iter().filter(|t| *t == topic).count()
    }

    /// Waits until the connections and their subscriptions are as `ok` wants them.
    pub(crate) async fn until(&self, ok: impl Fn(&Self) -> bool) {
        let mut changes = self.state.connections.subscribe();
        while !ok(self) {
            changes.changed().await.unwrap();
        }
    }

    pub(crate) fn clients(&self) -> usize {
        self.state.clients.lock().unwrap().len()
    }
}

impl State {
    fn count(&self) {
        let count = self.clients.lock().unwrap().len();
        self.connections.send_replace(count);
    }
}

/// Serves one connection until it ends; `id` is the client's if it got as far as CONNECT.
async fn serve(stream: TcpStream, state: &Arc<State>, id: &Mutex<Option<String>>) {
    stream.set_nodelay(true).unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let (out, mut outgoing) = unbounded_channel::<Vec<u8>>();
    tokio::spawn(async move {
        while let Some(bytes) = outgoing.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut input = Vec::new();
    loop {
        while let Ok(FrameStatus::Complete(found)) = frame(&input, state.version, u32::MAX) {
            let body = &input[found.header_len..found.total_len];
            let packet = decode(state.version, found.first_byte, body).expect("well-formed");
            if !answer(&packet, state, &mut id.lock().unwrap(), &out) {
                return;
            }
            input.drain(..found.total_len);
        }
        let mut chunk = [0; 4096];
        match reader.read(&mut chunk).await {
            Ok(n) if n > 0 => input.extend_from_slice(&chunk[..n]),
            _ => return,
        }
    }
}

fn answer(
    packet: &Packet<'_>,
    state: &State,
    id: &mut Option<String>,
    out: &UnboundedSender<Vec<u8>>,
) -> bool {
    let mut reply = Vec::new();
    match packet {
        Packet::Connect(connect) => {
            assert_ne!(connect.keep_alive, KeepAlive::OFF);
            *id = Some(connect.client_id.to_owned());
            let connack = ConnAck {
                session_present: false,
                reason: ReasonCode::SUCCESS,
                properties: PropertiesRef::EMPTY,
            };
            connack.encode(state.version, &mut reply).unwrap();
            state.clients.lock().unwrap().push(Client {
                id: connect.client_id.to_owned(),
                filters: Vec::new(),
                out: out.clone(),
                next_id: 0,
            });
        }
        Packet::Subscribe(subscribe) => {
            let filters: Vec<_> =
                subscribe.filters.iter().map(|f| (f.filter.to_owned(), f.options.qos)).collect();
            let codes: Vec<u8> = filters.iter().map(|(_, qos)| *qos as u8).collect();
            state.with_client(id, |client| {
                client.filters.retain(|(known, _)| filters.iter().all(|(f, _)| f != known));
                client.filters.extend(filters);
            });
            let suback = SubAck {
                packet_id: subscribe.packet_id,
                properties: PropertiesRef::EMPTY,
                codes: &codes,
            };
            suback.encode(PacketType::SubAck, state.version, &mut reply).unwrap();
        }
        Packet::Unsubscribe(unsubscribe) => {
            let filters: Vec<_> = unsubscribe.filters.iter().map(str::to_owned).collect();
            state.with_client(id, |c| c.filters.retain(|(f, _)| !filters.contains(f)));
            let unsuback = SubAck {
                packet_id: unsubscribe.packet_id,
                properties: PropertiesRef::EMPTY,
                codes: &vec![0; filters.len()],
            };
            unsuback.encode(PacketType::UnsubAck, state.version, &mut reply).unwrap();
        }
        Packet::Publish(publish) => {
            state.published.lock().unwrap().push(publish.topic.to_owned());
            state.deliver(publish);
            let withhold = state.withhold.load(Ordering::SeqCst);
            if let Some(packet_id) = publish.packet_id.filter(|_| !withhold) {
                let ack = Ack {
                    packet_id,
                    reason: ReasonCode::SUCCESS,
                    properties: PropertiesRef::EMPTY,
                };
                ack.encode(PacketType::PubAck, state.version, &mut reply).unwrap();
            }
        }
        Packet::PingReq => reply.extend_from_slice(&[0xd0, 0x00]),
        Packet::Disconnect(_) => return false,
        _ => {}
    }
    let _ = out.send(reply);
    state.count();
    true
}

impl State {
    fn with_client(&self, id: &Option<String>, change: impl FnOnce(&mut Client)) {
        let mut clients = self.clients.lock().unwrap();
        if let Some(client) = clients.iter_mut().find(|c| Some(&c.id) == id.as_ref()) {
            change(client);
        }
    }

    fn deliver(&self, publish: &Publish<'_>) {
        for client in self.clients.lock().unwrap().iter_mut() {
            let granted =
                client.filters.iter().filter(|(f, _)| matches(f, publish.topic)).map(|(_, q)| *q);
            let Some(granted) = granted.max() else { continue };
            let qos = granted.min(publish.qos).min(QoS::AtLeastOnce);
            let packet_id = (qos > QoS::AtMostOnce).then(|| {
                client.next_id = client.next_id % u16::MAX + 1;
                PacketId::new(client.next_id).unwrap()
            });
            let copy = Publish { dup: false, qos, packet_id, ..*publish };
            let mut bytes = Vec::new();
            copy.encode(self.version, &mut bytes).unwrap();
            let _ = client.out.send(bytes);
        }
    }
}
