//! Everything that an application may do, from inside a handler, with every queue at its smallest.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqttx::{
    Delivery, ErrorKind, Message, MessageRef, Publish, QoS, Route, Session, SessionManager, Version,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::broker::{Broker, Conduct};
use crate::{LONG, VERSIONS, on_both_runtimes, options, tight};

const LEVELS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// What a handler works on: its own session, manager and route.
#[derive(Clone)]
struct World {
    manager: SessionManager,
    session: Session,
    own: Arc<Mutex<Option<Route>>>,
    /// One call of the handler does it all; those before and after it return at once.
    begun: Arc<AtomicBool>,
    done: UnboundedSender<()>,
}

impl World {
    async fn on_message(self) {
        if self.begun.swap(true, SeqCst) {
            return;
        }
        self.publish().await;
        self.subscribe().await;
        self.routes();
        self.connection().await;
        let own = self.own.lock().unwrap().take();
        own.expect("the handler runs once").stop();
        self.publish().await;
        self.manager.remove_session("s").await.unwrap();
        let late = self.session.publish("out", "late", QoS::AtLeastOnce, false).await;
        assert_eq!(late.unwrap_err().error().kind(), ErrorKind::Closed);
        self.done.send(()).unwrap();
    }

    /// Elsewhere, and to the very route whose handler this is.
    async fn publish(&self) {
        for qos in LEVELS {
            for topic in ["out", "in"] {
                self.session.publish(topic, "x", qos, false).await.unwrap();
                let message = Publish::new(topic, "x").qos(qos);
                self.session.enqueue(message.clone()).await.unwrap().await.unwrap();
                if let Some(delivery) = self.attempt(message) {
                    delivery.await.unwrap();
                }
            }
        }
    }

    /// Accepted, or handed back because the outbox is full.
    fn attempt(&self, message: Publish) -> Option<Delivery> {
        match self.session.try_publish(message.clone()) {
            Ok(delivery) => Some(delivery),
            Err(refused) => {
                assert_eq!(refused.error().kind(), ErrorKind::Full);
                assert_eq!(refused.into_message(), message);
                None
            }
        }
    }

    async fn subscribe(&self) {
        for filter in ["more/+", "in/#"] {
            self.session.subscribe(filter, QoS::ExactlyOnce).await.unwrap();
            self.session.unsubscribe(filter).await.unwrap();
        }
    }

    /// Adds and stops routes of every kind, also on the filter whose handler this is.
    fn routes(&self) {
        for filter in ["in", "+", "other"] {
            let sync = self.session.handle(filter, |_| {}).unwrap();
            let asynchronous = self.session.handle_async(filter, |_| async {}).unwrap();
            let inline = self.session.route(filter).inline(|_| {}).unwrap();
            let stream = self.session.route(filter).capacity(1).listen().unwrap();
            let global = self.manager.handle(filter, |_| {}).unwrap();
            sync.stop();
            drop((asynchronous, inline, stream));
            global.stop();
        }
        self.session.handle("kept", |_| {}).unwrap().detach();
        assert_eq!(self.manager.metrics().sessions, 2);
    }

    async fn connection(&self) {
        self.session.disconnect().await;
        assert!(!self.session.is_connected());
        self.session.connect();
        self.session.wait_connected(LONG).await.unwrap();
        self.session.reconnect();
        self.session.publish("out", "x", QoS::AtLeastOnce, false).await.unwrap();
        self.session.wait_ready(LONG).await.unwrap();
    }

    /// What needs no waiting: all that an inline handler may do.
    fn on_message_inline(&self, message: &MessageRef<'_>) {
        if self.begun.swap(true, SeqCst) {
            return;
        }
        for qos in LEVELS {
            for topic in ["out", "in"] {
                drop(self.attempt(Publish::new(topic, message.payload().to_vec()).qos(qos)));
            }
        }
        self.routes();
        assert!(self.session.metrics().connected);
        let own = self.own.lock().unwrap().take();
        own.expect("the handler runs once").stop();
        self.session.reconnect();
        let world = self.clone();
        Handle::current().spawn(async move {
            world.publish().await;
            world.manager.remove_session("s").await.unwrap();
            world.done.send(()).unwrap();
        });
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Blocking,
    Async,
    Inline,
    Stream,
}

#[test]
fn a_handler_may_do_everything_with_queues_of_one() {
    on_both_runtimes("a busy handler", async || {
        for version in VERSIONS {
            for kind in [Kind::Blocking, Kind::Async, Kind::Inline, Kind::Stream] {
                everything(version, kind).await;
            }
        }
    });
}

async fn everything(version: Version, kind: Kind) {
    let broker = Broker::start(Conduct { window: 1, backlog: None });
    let manager = SessionManager::new();
    let session = manager.add_session(tight("s", &broker, version).build().unwrap()).unwrap();
    let source = manager.add_session(options("source", &broker, version).build().unwrap()).unwrap();
    let (done, mut finished) = unbounded_channel();
    let own = Arc::default();
    let begun = Arc::default();
    let world = World { manager: manager.clone(), session, own, begun, done };
    let (own, route) = (Arc::clone(&world.own), world.session.route("in").qos(QoS::ExactlyOnce));
    let (route, mine) = (route.capacity(1), world.clone());
    let handle = |message: Message, world: World| async move {
        drop(message);
        world.on_message().await;
    };
    *own.lock().unwrap() = match kind {
        Kind::Blocking => {
            let runtime = Handle::current();
            let handler = move |m: &Message| runtime.block_on(handle(m.clone(), mine.clone()));
            Some(route.handle(handler).unwrap())
        }
        Kind::Async => Some(route.handle_async(move |m| handle(m, mine.clone())).unwrap()),
        Kind::Inline => Some(route.inline(move |m| mine.on_message_inline(m)).unwrap()),
        Kind::Stream => {
            let mut stream = route.listen().unwrap();
            tokio::spawn(async move {
                while let Some(message) = stream.next().await {
                    handle(message, mine.clone()).await;
                }
            });
            // A stream's consumer cannot stop its own route but by dropping the stream.
            Some(world.session.handle("unused", |_| {}).unwrap())
        }
    };
    drop(world);
    manager.wait_for_all_sessions(LONG).await.unwrap();
    // All queues on the way stay full: the window, the route, the inbound buffer.
    let feeding = tokio::spawn(async move {
        for i in 0..300 {
            let message = Publish::new("in", vec![b'x'; 1024]).qos(LEVELS[i % 3]);
            drop(source.enqueue(message).await.unwrap());
        }
    });
    finished.recv().await.unwrap();
    feeding.await.unwrap();
    assert_eq!(manager.sessions(), ["source"], "{version} {kind:?}");
    assert!(manager.shutdown(LONG).await.clean, "{version} {kind:?}");
}

/// Many tasks on one session whose outbox holds one message: each gets its turn.
#[test]
fn publishers_that_share_an_outbox_of_one_all_finish() {
    on_both_runtimes("many publishers", async || {
        for version in VERSIONS {
            let broker = Broker::start(Conduct { window: 1, backlog: None });
            let manager = SessionManager::new();
            let session = tight("s", &broker, version).build().unwrap();
            let session = manager.add_session(session).unwrap();
            let mut publishers = tokio::task::JoinSet::new();
            for i in 0..100 {
                let session = session.clone();
                publishers.spawn(async move {
                    for qos in LEVELS {
                        // Some give up while they wait for room; their places go to others.
                        let soon = Duration::from_micros(i * 37);
                        let message = || Publish::new("given up", "x").qos(qos);
                        let _ = tokio::time::timeout(soon, session.enqueue(message())).await;
                        session.publish("out", "x", qos, false).await.unwrap();
                    }
                });
            }
            publishers.join_all().await;
            assert_eq!(broker.published("out"), 300);
            assert!(manager.shutdown(LONG).await.clean);
        }
    });
}
