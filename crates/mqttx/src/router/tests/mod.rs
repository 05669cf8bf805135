//! The router with a scripted session in front of it.

mod acks;
mod batches;
mod consumers;
mod dispatch;
mod lots;
mod overflow;
mod random;
mod reads;
mod rows;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use mqttx_proto::packet::Publish;
use mqttx_proto::{
    AckTicket, Config, PacketId, Properties, PropertiesRef, Property, QoS, Session as Core, Version,
};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::*;
use crate::event::{EventFilter, EventStream};
use crate::metrics::{DropReason, SessionMetrics};

/// A session without a connection: counts what the router tells it.
pub(super) struct Source {
    origin: Arc<Origin>,
    acked: Mutex<Vec<AckTicket>>,
    changed: Notify,
    parked: AtomicUsize,
}

impl MessageSource for Source {
    fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    fn ack(&self, ticket: AckTicket) {
        self.acked.lock().unwrap().push(ticket);
        self.changed.notify_waiters();
    }

    fn park(&self, bytes: usize) {
        self.parked.fetch_add(bytes, Ordering::SeqCst);
    }

    fn unpark(&self, bytes: usize) {
        let before = self.parked.fetch_sub(bytes, Ordering::SeqCst);
        assert!(before >= bytes, "more unparked than parked");
    }
}

/// The place of routes: one router, one event bus.
pub(super) struct Host {
    name: Arc<str>,
    router: Router,
    events: Arc<EventBus>,
    subscription: u32,
    /// For routes that share threads.
    jobs: Option<Arc<HandlerJobs>>,
}

impl Host {
    fn new(jobs: Option<Arc<HandlerJobs>>) -> Self {
        let (name, router) = ("plant".into(), Router::new());
        Self { name, router, events: EventBus::new(64), subscription: 0, jobs }
    }
}

impl RouteHost for Host {
    fn attach(&self, target: &Arc<Target>) -> Result<(), Error> {
        self.router.add(target, self.subscription);
        Ok(())
    }

    fn detach(&self, target: &Target) {
        self.router.remove(target);
    }

    fn session_name(&self) -> Option<&Arc<str>> {
        Some(&self.name)
    }

    fn events(&self) -> &Arc<EventBus> {
        &self.events
    }

    fn jobs(&self) -> Result<Arc<HandlerJobs>, Error> {
        Ok(self.jobs.clone().unwrap_or_else(|| HandlerJobs::new(Handle::current())))
    }
}

/// A driver's view: publishes arrive, and are dispatched.
pub(super) struct Bench {
    host: Arc<Host>,
    source: Arc<Source>,
    as_source: Arc<dyn MessageSource>,
    scratch: Scratch,
    core: Core,
    next: u16,
    /// When the read came.
    read_at: Instant,
    /// Set for MQTT 5.
    flow_controlled: bool,
    shed: bool,
    properties: Properties,
}

impl Bench {
    fn new() -> Self {
        let name: Arc<str> = "plant".into();
        let source = Arc::new(Source {
            origin: Arc::new(Origin::new(name, Instant::now())),
            acked: Mutex::default(),
            changed: Notify::new(),
            parked: AtomicUsize::new(0),
        });
        Self {
            host: Arc::new(Host::new(None)),
            as_source: Arc::clone(&source) as Arc<dyn MessageSource>,
            source,
            scratch: Scratch::default(),
            core: core(),
            next: 0,
            read_at: Instant::now(),
            flow_controlled: true,
            shed: false,
            properties: Properties::new(),
        }
    }

    fn v311() -> Self {
        Self { flow_controlled: false, ..Self::new() }
    }

    fn route(&self, filter: &str) -> RouteBuilder {
        RouteBuilder::new(Arc::clone(&self.host) as Arc<dyn RouteHost>, filter)
    }

    /// A route whose filter has a subscription identifier.
    fn identified(&self, filter: &str, subscription: u32) -> MessageStream {
        let stream = self.route(filter).listen().unwrap();
        let target = stream.route().target();
        assert!(self.host.router.remove(target));
        self.host.router.add(target, subscription);
        stream
    }

    fn events(&self) -> EventStream {
        self.host.events.subscribe(EventFilter::all())
    }

    /// A PUBLISH arrives alone; its ticket unless QoS 0.
    fn arrives(&mut self, topic: &str, payload: &str, qos: QoS) -> (Dispatched, Option<AckTicket>) {
        let outcome = self.arrives_with_others(topic, payload, qos);
        self.read_ends();
        outcome
    }

    fn read_ends(&mut self) {
        self.scratch.finish(&self.as_source);
        self.read_at = Instant::now();
    }

    /// A PUBLISH arrives in the middle of a read; its ticket unless QoS 0.
    fn arrives_with_others(
        &mut self,
        topic: &str,
        payload: &str,
        qos: QoS,
    ) -> (Dispatched, Option<AckTicket>) {
        self.next += 1;
        let packet_id = PacketId::new(self.next).filter(|_| qos > QoS::AtMostOnce);
        let publish = Publish {
            dup: false,
            qos,
            retain: false,
            topic,
            packet_id,
            properties: self.properties.as_ref(),
            payload: payload.as_bytes(),
        };
        let ticket = ticket(&mut self.core, &publish);
        let inbound = InboundMeta {
            ticket,
            received_at: self.read_at,
            flow_controlled: self.flow_controlled,
            shed: self.shed,
        };
        let (router, run) = (&self.host.router, &mut Run::default());
        let outcome = router.dispatch(&publish, &inbound, &self.as_source, &mut self.scratch, run);
        (outcome, ticket)
    }

    fn qos0(&mut self, topic: &str, payload: &str) -> Dispatched {
        self.arrives(topic, payload, QoS::AtMostOnce).0
    }

    fn qos1(&mut self, topic: &str, payload: &str) -> (Dispatched, AckTicket) {
        let (dispatched, ticket) = self.arrives(topic, payload, QoS::AtLeastOnce);
        (dispatched, ticket.unwrap())
    }

    fn acked(&self) -> Vec<AckTicket> {
        self.source.acked.lock().unwrap().clone()
    }

    /// Waits until `count` messages were acknowledged.
    async fn acks(&self, count: usize) -> Vec<AckTicket> {
        loop {
            let changed = self.source.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if self.acked().len() >= count {
                return self.acked();
            }
            changed.await;
        }
    }

    fn parked(&self) -> usize {
        self.source.parked.load(Ordering::SeqCst)
    }

    fn metrics(&self) -> SessionMetrics {
        self.source.origin.counters.snapshot(Instant::now())
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.metrics().dropped.of(reason)
    }
}

/// What waits in a stream now, without waiting for more.
pub(super) fn waiting(stream: &mut MessageStream) -> Vec<String> {
    waiting_messages(stream, |message| message.payload_str().unwrap().to_owned())
}

pub(super) fn waiting_messages<T>(
    stream: &mut MessageStream,
    seen: impl Fn(&Message) -> T,
) -> Vec<T> {
    /// Woken: the stream only paused.
    #[derive(Default)]
    struct Paused(AtomicBool);
    impl std::task::Wake for Paused {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let paused = Arc::<Paused>::default();
    let waker = Arc::clone(&paused).into();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut out = Vec::new();
    loop {
        match futures_core::Stream::poll_next(std::pin::Pin::new(&mut *stream), &mut cx) {
            std::task::Poll::Ready(Some(message)) => out.push(seen(&message)),
            std::task::Poll::Pending if paused.0.swap(false, Ordering::SeqCst) => {}
            _ => return out,
        }
    }
}

/// A connected core: only it makes tickets.
fn core() -> Core {
    let mut core = Core::new(Config::new(Version::V5));
    core.handle_connected(Instant::now(), 1);
    let connack = [0x20, 0x03, 0x00, 0x00, 0x00];
    assert_eq!(core.handle_input(Instant::now(), &connack, &mut Vec::new()), connack.len());
    core
}

/// The ticket that the core gives for an arriving message.
fn ticket(core: &mut Core, publish: &Publish<'_>) -> Option<AckTicket> {
    let (mut packet, mut inbound) = (Vec::new(), Vec::new());
    publish.encode(Version::V5, &mut packet).unwrap();
    core.handle_input(Instant::now(), &packet, &mut inbound);
    inbound.pop().expect("delivered").ticket
}
