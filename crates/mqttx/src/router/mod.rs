//! From an arrived PUBLISH to the routes that want it.
//!
//! The router knows nothing of sessions: what it needs from the one a message came from is the
//! trait [`MessageSource`], and what a route needs from its session or manager is [`RouteHost`].
//!
//! # The dispatch contract
//!
//! The driver calls [`Router::dispatch`] for each PUBLISH, outside its own locks. Each matching
//! route gets the message: an inline handler runs at once, any other route gets an owned copy in
//! its bounded queue. Then:
//!
//! - [`Dispatched::DoneNow`]: every route is done; the driver acknowledges the ticket itself (it
//!   can do so in one batch with others). `MessageSource::ack` is not called.
//! - [`Dispatched::Pending`]: `MessageSource::ack` will be called exactly once, from any thread,
//!   possibly before `dispatch` returned. (Or never, if a manual handler never acknowledges.) A route that takes its messages
//!   by the lot acknowledges them to the session itself.
//! - [`Dispatched::Unrouted`]: nothing matched; the driver decides (hold, then acknowledge). A
//!   message held is an owned [`Message`]: `router.dispatch(&held.as_packet(), ..)` again.
//! - [`Dispatched::Outrun`]: nobody got the message: there are new routes, and messages are held that come first.
//!
//! A message that a full route may not drop is *parked*: it stays in that route's queue beyond
//! its capacity, in order, and its bytes are reported with `MessageSource::park` until room
//! appears (`unpark`). So no route delays another, and the driver never retries: it only looks at
//! its own sum of parked bytes before it reads more, and sets [`InboundMeta::shed`] when QoS 0
//! messages must be dropped instead of parked.

mod batch;
mod consumer;
mod done;
mod jobs;
mod lot;
mod memo;
mod options;
mod route;
mod row;
mod rules;
mod scratch;
mod stream;
mod subscription;
mod target;
mod work;

pub use options::{Overflow, RouteBuilder, RouteOptions};
pub use route::{Route, RouteStats};
pub use stream::MessageStream;

pub(crate) use done::{Acker, Due};
pub(crate) use lot::{LOT, Lot, LotHandler, LotItem, Read};
pub(crate) use memo::Run;
pub(crate) use options::Prepared;
pub(crate) use row::Row;
pub(crate) use scratch::Scratch;
pub(crate) use target::Target;

/// Routes whose handlers may block, and have messages.
pub(crate) type HandlerJobs = jobs::Jobs<Arc<Target>>;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use mqttx_proto::packet::Publish;
use mqttx_proto::{AckTicket, FilterTree, Likeness, SubscribeOptions};

use crate::error::Error;
use crate::event::EventBus;
use crate::message::{Message, MessageRef};
use crate::metrics::SessionCounters;

use done::{Countdown, Owed};
use scratch::Outbox;

/// The session that a message came from, as far as routes need it.
pub(crate) trait MessageSource: Send + Sync {
    /// Its name and counters.
    fn origin(&self) -> &Arc<Origin>;
    /// Every route is done with the message. Called outside all locks of the router.
    fn ack(&self, ticket: AckTicket);
    /// `bytes` more wait beyond the capacity of a route. Called under a route's lock: an atomic
    /// addition, nothing else.
    fn park(&self, bytes: usize);
    /// `bytes` that were parked moved into a queue or left it. Called outside all locks.
    fn unpark(&self, bytes: usize);
}

/// What outlives a session: messages keep it, and nothing else of the session they came from.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) name: Arc<str>,
    pub(crate) counters: SessionCounters,
}

impl Origin {
    pub(crate) fn new(name: Arc<str>, now: Instant) -> Self {
        Self { name, counters: SessionCounters::new(now) }
    }
}

/// Where a route lives: a session, or a manager for routes over all its sessions.
pub(crate) trait RouteHost: Send + Sync {
    /// Puts the target into the router(s), then, unless `subscribe` is off, adds its filter to
    /// the desired set on behalf of the owner `target.id()`.
    ///
    /// # Errors
    /// The host is closed, or the filter is ruled out. Nothing stays behind then.
    fn attach(&self, target: &Arc<Target>) -> Result<(), Error>;
    /// Undoes `attach`: the last owner of a filter unsubscribes it.
    fn detach(&self, target: &Target);
    /// The session's name; `None` for a manager.
    fn session_name(&self) -> Option<&Arc<str>>;
    fn events(&self) -> &Arc<EventBus>;
    /// Runs the handlers.
    fn jobs(&self) -> Result<Arc<HandlerJobs>, Error>;
}

/// What the driver knows of an arrived PUBLISH besides the packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InboundMeta {
    /// `None` for QoS 0.
    pub(crate) ticket: Option<AckTicket>,
    /// The time of the driver's turn.
    pub(crate) received_at: Instant,
    /// Receive Maximum bounds what the server sends (MQTT 5): messages of QoS > 0 are then never
    /// dropped by a route, whatever its policy.
    pub(crate) flow_controlled: bool,
    /// The inbound buffer is full: QoS 0 messages that would be parked are dropped instead.
    pub(crate) shed: bool,
}

/// What became of a message; see the module's contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dispatched {
    DoneNow,
    Pending,
    Unrouted,
    Outrun,
}

/// The routes of one session, by filter and by subscription identifier.
#[derive(Default)]
pub(crate) struct Router {
    /// From the first route on.
    table: RwLock<Option<Box<Table>>>,
    /// Changes of the table.
    changes: AtomicU64,
    traffic: AtomicU8,
}

/// Nothing came since the routes gave their memory back.
const NONE: u8 = 0;
/// Messages came.
const LATELY: u8 = 1;
/// Messages came, but none between the last two looks.
const BEFORE: u8 = 2;

#[derive(Clone)]
struct Entry {
    target: Arc<Target>,
    /// The subscription identifier of its filter; 0 without one `[MQTT-3.8.2.1.2]`.
    subscription: u32,
}

#[derive(Default)]
struct Table {
    filters: FilterTree<Entry>,
    by_id: HashMap<u32, Vec<Entry>>,
    /// Entries without an identifier: while there are any, identifiers alone do not find all.
    unbound: usize,
}

impl Router {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a route; `subscription` is the identifier under which its filter is, or will be,
    /// subscribed, or 0. A server that sends no identifiers needs no change here.
    pub(crate) fn add(&self, target: &Arc<Target>, subscription: u32) {
        let mut table = self.write();
        table.get_or_insert_default().add(Entry { target: Arc::clone(target), subscription });
        // Under the lock, so that whoever finds the route knows of the change.
        self.changed();
    }

    /// `false` if the route is not here.
    pub(crate) fn remove(&self, target: &Target) -> bool {
        let removed = self.write().as_mut().is_some_and(|table| table.remove(target).is_some());
        self.changed();
        removed
    }

    /// Puts routes with their identifiers in the place of others: a message finds either these or those.
    pub(crate) fn replace(&self, new: &[(Arc<Target>, u32)], old: &[&Target]) {
        let mut guard = self.write();
        let table = guard.get_or_insert_default();
        // What is taken out is dropped without the lock.
        let _removed: Vec<_> = old.iter().filter_map(|target| table.remove(target)).collect();
        for (target, subscription) in new {
            table.add(Entry { target: Arc::clone(target), subscription: *subscription });
        }
        self.changed();
        drop(guard);
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Hands a message to every route that wants it; see the module's contract. Queues may get theirs only with
    /// [`Scratch::finish`].
    pub(crate) fn dispatch<'a>(
        &self,
        publish: &Publish<'a>,
        inbound: &InboundMeta,
        source: &Arc<dyn MessageSource>,
        scratch: &mut Scratch,
        run: &mut Run<'a>,
    ) -> Dispatched {
        let Scratch { entries, memo, outbox } = scratch;
        let arrival = Arrival { publish, inbound, source, whole: OnceCell::new() };
        let stamp = self.stamp();
        if run.is_outrun(stamp.1) {
            return Dispatched::Outrun;
        }
        let place = memo.place(stamp, publish, run);
        if let Some(place) = &place
            && let Some((known, alike)) = memo.get(place, publish.topic)
        {
            run.was_at(place, publish, known, alike);
            return arrival.deliver(known, outbox);
        }
        run.breaks();
        self.traffic.store(LATELY, Ordering::Relaxed);
        let alike = self.find(publish, entries);
        if run.is_outrun(self.stamp().1) {
            entries.clear();
            return Dispatched::Outrun;
        }
        let outcome = arrival.deliver(entries, outbox);
        if let Some(place) = place.filter(|_| !entries.is_empty()) {
            run.was_at(&place, publish, entries, alike);
            memo.put(&place, publish.topic, entries, alike);
        }
        // The table lock is not held here: this may drop the last handle of a stopped route.
        entries.clear();
        outcome
    }

    /// Which router it is, and how often that changed.
    fn stamp(&self) -> (usize, u64) {
        (std::ptr::from_ref(self).addr(), self.changes.load(Ordering::Acquire))
    }

    /// The connection is gone: QoS 1 acknowledgements of it have no meaning any more, and the
    /// server sends those messages again. Forgets the ones that manual handlers still hold.
    pub(crate) fn link_lost(&self, source: &Arc<dyn MessageSource>) {
        for target in self.targets() {
            target.forget_unacked(source);
        }
    }

    /// The session is removed: its own routes end (streams after their last message); routes
    /// over all sessions only lose this one.
    pub(crate) fn close(&self) {
        let targets = self.targets();
        *self.write() = None;
        self.changed();
        for target in targets {
            if target.session().is_some() {
                target.end();
            }
        }
    }

    /// Every route once.
    pub(crate) fn targets(&self) -> Vec<Arc<Target>> {
        let mut targets = Vec::new();
        if let Some(table) = self.read().as_deref() {
            table.filters.for_each(|entry| targets.push(Arc::clone(&entry.target)));
        }
        targets
    }

    /// A look from time to time: if nothing came since the last one, routes give back what they keep for the next messages.
    /// That walks all routes, and so happens once after each burst. Not under the session's lock.
    pub(crate) fn on_quiet(&self) {
        match self.traffic.load(Ordering::Relaxed) {
            LATELY => self.traffic.store(BEFORE, Ordering::Relaxed),
            BEFORE => {
                self.traffic.store(NONE, Ordering::Relaxed);
                if let Some(table) = self.read().as_deref() {
                    table.filters.for_each(|entry| entry.target.shrink());
                }
            }
            _ => {}
        }
    }

    /// Finds the entries of a message, and which other topics have the same, if the subscription identifier is the same.
    fn find(&self, publish: &Publish<'_>, out: &mut Vec<Entry>) -> Likeness {
        let table = self.read();
        let Some(table) = table.as_deref() else { return Likeness::whole(publish.topic) };
        if publish.properties.is_empty() {
            return table.filters.matches(publish.topic, out);
        }
        let mut ids = publish.properties.subscription_identifiers().peekable();
        if ids.peek().is_none() {
            return table.filters.matches(publish.topic, out);
        }
        // An identifier of an earlier process may mean another filter today: only filters that
        // match the topic count.
        if table.unbound == 0 {
            // Whether all entries with the identifier are under one filter, on which alone it depends then who matches.
            let mut one = true;
            for id in ids {
                let Some(entries) = table.by_id.get(&id) else { continue };
                // Who uses an identifier for several filters gets it for each of them (section 3.3.2.3.8).
                if out.iter().any(|entry| entry.subscription == id) {
                    continue;
                }
                for entry in entries {
                    let filter = entry.target.filter();
                    one &= out.first().is_none_or(|first: &Entry| first.target.filter() == filter);
                    if mqttx_proto::matches(filter, publish.topic) {
                        out.push(entry.clone());
                    } else {
                        one = false;
                    }
                }
            }
            if let Some(first) = out.first() {
                return match one {
                    true => Likeness::through(first.target.filter(), publish.topic),
                    false => Likeness::whole(publish.topic),
                };
            }
        }
        let alike = table.filters.matches(publish.topic, out);
        let bound = out.iter().any(|e| carries(publish, e.subscription));
        out.retain(|e| e.subscription == 0 || !bound || carries(publish, e.subscription));
        alike
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Box<Table>>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<Box<Table>>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn add(&mut self, entry: Entry) {
        if entry.subscription == 0 {
            self.unbound += 1;
        } else {
            self.by_id.entry(entry.subscription).or_default().push(entry.clone());
        }
        let target = Arc::clone(&entry.target);
        self.filters.insert(target.filter(), entry);
    }

    fn remove(&mut self, target: &Target) -> Option<Entry> {
        let entry = self.filters.remove(target.filter(), |e| e.target.id() == target.id())?;
        if entry.subscription == 0 {
            self.unbound -= 1;
        } else if let Some(entries) = self.by_id.get_mut(&entry.subscription) {
            entries.retain(|e| e.target.id() != target.id());
            if entries.is_empty() {
                self.by_id.remove(&entry.subscription);
            }
        }
        Some(entry)
    }
}

fn carries(publish: &Publish<'_>, subscription: u32) -> bool {
    publish.properties.subscription_identifiers().any(|id| id == subscription)
}

/// A message on its way to the routes.
struct Arrival<'a> {
    publish: &'a Publish<'a>,
    inbound: &'a InboundMeta,
    source: &'a Arc<dyn MessageSource>,
    /// A copy that routes share, if one was needed.
    whole: OnceCell<Message>,
}

impl Arrival<'_> {
    fn whole(&self) -> &Message {
        self.whole.get_or_init(|| self.to_message())
    }

    fn to_message(&self) -> Message {
        Message::new(self.publish, self.inbound, self.source.origin())
    }

    fn borrow<'a>(&'a self, acker: Option<&'a Acker>) -> MessageRef<'a> {
        MessageRef::new(self.publish, self.inbound, self.source.origin(), acker)
    }

    fn deliver(&self, entries: &[Entry], outbox: &mut Outbox) -> Dispatched {
        match entries {
            [] => Dispatched::Unrouted,
            [only] => {
                let owed = self.inbound.ticket.map_or(Owed::Nothing, Owed::One);
                Dispatched::of(only.target.deliver(self, owed, outbox))
            }
            many => self.deliver_to_many(many, outbox),
        }
    }

    fn deliver_to_many(&self, entries: &[Entry], outbox: &mut Outbox) -> Dispatched {
        let countdown = self.inbound.ticket.map(|ticket| Countdown::new(self.source, ticket));
        let owed = countdown.as_ref().map_or(Owed::Nothing, Owed::Shared);
        for entry in entries {
            entry.target.deliver(self, owed, outbox);
        }
        Dispatched::of(countdown.is_none_or(|countdown| countdown.release()))
    }
}

impl Dispatched {
    fn of(done: bool) -> Self {
        if done { Self::DoneNow } else { Self::Pending }
    }
}

/// What a subscription of a route asks the server for.
pub(crate) fn subscribe_options(options: &RouteOptions) -> SubscribeOptions {
    SubscribeOptions {
        qos: options.qos,
        no_local: options.no_local,
        retain_as_published: options.retain_as_published,
        retain_handling: options.retain_handling,
    }
}

#[cfg(test)]
mod tests;
