//! What the handles, the routes and the driver of one session share: one short lock around the core.
//!
//! Rules: nobody holds the lock over an `.await`, while waking anybody, or while calling code of
//! another module that could call back. Whoever changes the core asks [`State::driver_to_wake`]
//! and wakes after unlocking.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::task::Waker;
use std::time::Instant;

use mqttx_proto::{AckTicket, Session as Core};
use mqttx_proto::{Properties, ReasonCode};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::acked::Acked;
use super::ahead::Ahead;
use super::alarms::{Alarms, Sleeper};
use super::brake::Brake;
use super::delivery::{Waiters, Wake};
use super::gate::ConnectGate;
use super::interest::Interests;
use super::lock::Brief;
use super::probe::Probe;
use super::renewal::Renewal;
use super::room::{Needs, Room};
use super::sinks::{SinkId, Sinks};
use super::status::SessionStatus;
use super::storage::{Condition, Storage};
use crate::error::Error;
use crate::event::{EventBus, EventKind};
use crate::metrics::ManagerCounters;
use crate::options::{Asked, Kinds};
use crate::router::{HandlerJobs, MessageSource, Origin, Router};
use crate::transport::Endpoint;

/// What may be on its way through other sessions, in bytes, before more is read. A read's worth stays in the processor's caches,
/// and the task that writes it runs on the same thread once the one that reads pauses.
pub(crate) const PASSING: usize = 192 * 1024;

/// What a session needs from its manager.
pub(crate) struct Services {
    pub(crate) events: Arc<EventBus>,
    pub(crate) gate: ConnectGate,
    pub(crate) alarms: Alarms<Shared>,
    /// Routes whose handlers may block.
    pub(crate) jobs: Arc<HandlerJobs>,
    pub(crate) runtime: Handle,
    pub(crate) kinds: Kinds,
    pub(crate) counters: Arc<ManagerCounters>,
}

/// One session, without its connection.
pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    pub(crate) origin: Arc<Origin>,
    pub(crate) services: Arc<Services>,
    pub(crate) router: Router,
    state: Brief<State>,
    /// Somebody who waits for a status or for the outbox to drain looks again.
    pub(crate) changed: Notify,
    /// Messages that were acknowledged since the driver looked.
    pub(crate) acked: Acked,
    /// Its store keeps what is accepted beyond the process.
    pub(crate) is_durable: bool,
    /// `inbound_buffer` of the options.
    pub(crate) inbound_buffer: AtomicUsize,
    /// Received messages beyond the capacity of their routes, or without a route: from `inbound_buffer` on, the driver does not
    /// read, or not connect.
    pub(crate) parked: Brake,
    /// Received messages on their way through the sockets of other sessions: from [`PASSING`] on, the driver does not read.
    pub(crate) passing: Brake,
    /// Received messages with QoS > 0 that no route has, for `shut_down`.
    pub(crate) unhandled: AtomicUsize,
    /// From now on received messages stay where they are, unacknowledged.
    pub(crate) receiving_stopped: AtomicBool,
    /// The number of the driver's alarm, which is odd; even: none is set, or it rang. Changed under the lock.
    pub(crate) alarm: AtomicU32,
}

/// Everything under the lock.
pub(crate) struct State {
    /// What is asked for now; the driver has it from its next attempt to connect on.
    pub(crate) options: Arc<Asked>,
    /// Another client id, for the next attempt to connect.
    #[expect(clippy::box_collection, reason = "one word while there is none")]
    pub(crate) new_client_id: Option<Box<String>>,
    pub(crate) core: Core,
    pub(crate) waiters: Waiters,
    pub(crate) sinks: Sinks,
    pub(crate) room: Room,
    pub(crate) storage: Storage,
    pub(crate) interests: Interests,
    pub(crate) status: SessionStatus,
    /// Every desired filter is granted or refused on this connection.
    pub(crate) ready: bool,
    pub(crate) last_error: Option<Error>,
    /// Which of the brokers the last attempt to connect went to.
    pub(crate) broker: u16,
    /// Where a server sent the session instead.
    pub(crate) redirect: Option<Box<Endpoint>>,
    pub(crate) probe: Probe,
    pub(crate) wish: Wish,
    /// The driver looks at `wish` at its next turn.
    pub(crate) wish_changed: bool,
    /// Somebody asked for another authentication since the driver looked.
    pub(crate) renewal_wanted: bool,
    pub(crate) renewal: Option<Box<Renewal>>,
    /// Routes, or forwarders that ask for what fails, were added since the driver looked.
    pub(crate) routes_added: bool,
    /// The driver holds messages for which there was no route, or no forwarder, when it looked.
    pub(crate) holding: bool,
    /// The driver is to take a turn, for whoever asks whether it does or waits for one.
    pub(crate) pulse: bool,
    /// How many turns it has begun. It wraps around.
    pub(crate) turns: u32,
    /// Somebody waits in `flush`.
    pub(crate) drain_watchers: usize,
    /// The session was removed: nothing is accepted any more.
    pub(crate) closed: bool,
    /// The process ends: subscriptions of persistent sessions stay.
    pub(crate) winding_down: bool,
    /// The driver waits for a waker; `None` while it runs.
    asleep: Option<Waker>,
    /// The driver sleeps on a full socket: more bytes do not help.
    socket_full: bool,
    /// The deadline that the sleeping driver knows of.
    alarm: Option<Instant>,
    /// When the driver's last turn began.
    turn: Instant,
    /// A message was accepted that may expire.
    times: bool,
    /// How far publishers are ahead of the driver and the server.
    pub(super) ahead: Ahead,
}

/// What the application wants of the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// To wait for `connect`, as from the start.
    Idle,
    /// A connection.
    Connected,
    /// A new connection, even if there is one.
    Reconnected,
    /// No connection; DISCONNECT says why.
    Disconnected(Box<(ReasonCode, Properties)>),
    /// The end.
    Removed,
}

impl Shared {
    /// `opening`: its store is not open yet.
    pub(crate) fn new(
        name: Arc<str>,
        client_id: &str,
        options: Arc<Asked>,
        services: Arc<Services>,
        opening: bool,
    ) -> Self {
        let core = Core::new(options.config()).with_client_id(client_id);
        let is_durable = options.store.as_ref().is_some_and(|store| store.is_durable());
        let inbound_buffer = AtomicUsize::new(options.inbound_buffer);
        let wish =
            if options.enabled && !options.manual_connect { Wish::Connected } else { Wish::Idle };
        let condition = if opening { Condition::Opening } else { Condition::Open };
        let storage = Storage::new(condition);
        let state = State {
            options,
            new_client_id: None,
            core,
            waiters: Waiters::default(),
            sinks: Sinks::default(),
            room: Room::default(),
            storage,
            interests: Interests::default(),
            status: SessionStatus::Stopped,
            ready: false,
            last_error: None,
            broker: 0,
            redirect: None,
            probe: Probe::default(),
            wish,
            wish_changed: true,
            renewal_wanted: false,
            renewal: None,
            routes_added: false,
            holding: false,
            pulse: false,
            turns: 0,
            drain_watchers: 0,
            closed: false,
            winding_down: false,
            asleep: None,
            socket_full: false,
            alarm: None,
            turn: now(),
            times: false,
            ahead: Ahead::default(),
        };
        Self {
            origin: Arc::new(Origin::new(Arc::clone(&name), now())),
            name,
            is_durable,
            inbound_buffer,
            services,
            router: Router::new(),
            state: Brief::new(state),
            changed: Notify::new(),
            acked: Acked::default(),
            parked: Brake::default(),
            passing: Brake::default(),
            unhandled: AtomicUsize::new(0),
            receiving_stopped: AtomicBool::new(false),
            alarm: AtomicU32::new(0),
        }
    }

    /// The state. A panic of somebody else while they held it does not concern us: the core has no
    /// invariant that a panic could break halfway, since it calls no foreign code.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// What is asked for now. Not for those who hold the lock.
    pub(crate) fn options(&self) -> Arc<Asked> {
        Arc::clone(&self.lock().options)
    }

    /// Unlocks, then wakes the driver if the change needs it.
    #[inline]
    pub(crate) fn unlock_and_wake(&self, mut state: MutexGuard<'_, State>) {
        let driver = state.driver_to_wake();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// [`unlock_and_wake`](Self::unlock_and_wake) after something that may have its end at once, without a byte for the server, or
    /// that may end something else: the driver tells of it.
    pub(crate) fn unlock_and_tell(&self, mut state: MutexGuard<'_, State>) {
        state.pulse |= state.core.has_news();
        self.unlock_and_wake(state);
    }

    /// Wakes the driver if it sleeps, whatever there is to do.
    fn wake_driver(&self) {
        let driver = self.lock().driver();
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// `bytes` that were on their way through other sessions are not any more.
    pub(crate) fn passed(&self, bytes: usize) {
        if self.passing.remove(bytes, PASSING) {
            self.wake_driver();
        }
    }

    /// [`MessageSource::ack`] for many messages, with one wake-up.
    pub(crate) fn acknowledge(&self, tickets: impl Iterator<Item = AckTicket>) {
        if self.acked.extend(tickets) {
            self.wake_driver();
        }
    }

    /// Tells the driver what is wanted.
    pub(crate) fn wish(&self, wish: Wish) {
        self.wish_with(self.lock(), wish);
    }

    /// The same, with the lock that the caller has: nobody else's wish comes between what was seen under it and this one.
    pub(crate) fn wish_with(&self, mut state: MutexGuard<'_, State>, wish: Wish) {
        if state.closed || state.wish == Wish::Removed {
            return;
        }
        let begins = matches!(wish, Wish::Connected | Wish::Reconnected);
        state.wish = wish;
        state.wish_changed = true;
        let old = state.status;
        let at_rest = begins && old.is_at_rest();
        if at_rest {
            // At once, so that whoever waits from now on does not see the failure of before; and
            // before the driver wakes, which may get further.
            state.status = SessionStatus::Connecting;
        }
        self.unlock_and_wake(state);
        if at_rest {
            let new = SessionStatus::Connecting;
            self.emit(EventKind::SessionStateChanged { old, new });
            self.changed.notify_waiters();
        }
    }

    /// Sets the status under the lock; the event and the waiters come after it.
    pub(crate) fn set_status(&self, new: SessionStatus) {
        let mut state = self.lock();
        let old = std::mem::replace(&mut state.status, new);
        if new != SessionStatus::Connected {
            state.ready = false;
        }
        drop(state);
        if old != new {
            self.emit(EventKind::SessionStateChanged { old, new });
        }
        self.changed.notify_waiters();
    }

    pub(crate) fn emit(&self, kind: EventKind) {
        self.services.events.emit(Some(&self.name), kind);
    }

    #[inline]
    pub(crate) fn fire(&self, wakes: &mut Vec<Wake>) {
        // Nearly always there is none, and a drain costs as much as a message.
        if !wakes.is_empty() {
            Wake::fire_all(wakes, &self.name);
        }
    }
}

impl State {
    /// The waker of a driver that sleeps although there is something to do.
    #[inline]
    pub(crate) fn driver_to_wake(&mut self) -> Option<Waker> {
        if self.asleep.is_some() { self.sleeper_to_wake() } else { None }
    }

    fn sleeper_to_wake(&mut self) -> Option<Waker> {
        let needed = self.wish_changed
            || (self.routes_added && self.holding)
            || self.renewal_wanted
            || self.pulse
            || (self.core.has_transmit() && !self.socket_full)
            || ((self.core.has_records() || self.storage.hurries())
                && matches!(self.storage.condition, Condition::Open))
            || self.core.poll_timeout().is_some_and(|at| self.alarm.is_none_or(|alarm| at < alarm));
        if needed { self.asleep.take() } else { None }
    }

    /// The waker of a sleeping driver, whatever there is to do.
    pub(crate) fn driver(&mut self) -> Option<Waker> {
        self.asleep.take()
    }

    /// The driver is about to sleep until `alarm`; `false` when there is something to do.
    pub(crate) fn fall_asleep(
        &mut self,
        waker: &Waker,
        alarm: Option<Instant>,
        socket_full: bool,
        acked: &Acked,
    ) -> bool {
        self.alarm = alarm;
        self.socket_full = socket_full;
        self.asleep = Some(waker.clone());
        // Whoever acknowledges after this look finds a driver that sleeps.
        acked.is_empty() && self.driver_to_wake().is_none()
    }

    /// The driver runs, in a turn that began at `now`: nobody needs to wake it.
    pub(crate) fn awake(&mut self, now: Instant) {
        self.asleep = None;
        self.turn = now;
        self.ahead.on_turn(self.core.awaiting_window());
    }

    /// The client id that is asked for.
    pub(crate) fn client_id(&self) -> &str {
        self.new_client_id.as_ref().map_or_else(|| self.core.own_client_id(), |id| id.as_str())
    }

    /// Whether it stays down until somebody calls.
    pub(crate) fn has_failed(&self) -> bool {
        self.status == SessionStatus::Failed
    }

    /// The time, for a message that is accepted; reading the clock costs as much as encoding one. Without
    /// any message that may expire (`expires`: this one may) the time of the last turn does as well.
    pub(crate) fn time_for(&mut self, expires: bool) -> Instant {
        self.times |= expires;
        if self.times { now() } else { self.turn }
    }

    /// Moves finished commands into `wakes`, and publishers that may try again.
    pub(crate) fn collect_completions(&mut self, wakes: &mut Vec<Wake>) {
        let mut finished = false;
        while let Some(completion) = self.core.poll_completion() {
            finished = true;
            self.probe.finished(completion.token, &completion.outcome);
            if SinkId::of(completion.token).is_some() {
                self.sinks.tell(completion.token, completion.count, completion.outcome, wakes);
            } else {
                wakes.extend(self.waiters.complete(completion.token, completion.outcome));
            }
        }
        if finished {
            self.offer_room(wakes);
        }
    }

    /// Wakes publishers that wait, as far as there is room for them.
    pub(crate) fn offer_room(&mut self, wakes: &mut Vec<Wake>) {
        if self.room.is_empty() {
            return;
        }
        let needs = match (self.has_room(), self.outbox_has_room()) {
            (true, _) => Needs::Store,
            (false, true) => Needs::Outbox,
            (false, false) => return,
        };
        let places = self.core.config().outbox.messages - self.core.outbox().messages;
        self.room.appeared(places, needs, |waker| wakes.push(Wake::Task(waker)));
    }

    /// The publisher that pauses longest, to be woken before the driver sleeps or lets others run: if no message waits for the
    /// server's window, and no other publisher goes on meanwhile.
    pub(crate) fn end_pause(&mut self) -> Option<Waker> {
        let is_free = self.core.awaiting_window() == 0 && !self.ahead.goes_on();
        if is_free { self.ahead.next() } else { None }
    }
}

impl MessageSource for Shared {
    fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    fn ack(&self, ticket: AckTicket) {
        if self.acked.push(ticket) {
            self.wake_driver();
        }
    }

    fn park(&self, bytes: usize) {
        self.parked.add(bytes);
    }

    fn unpark(&self, bytes: usize) {
        if self.parked.remove(bytes, self.inbound_buffer.load(Ordering::Relaxed)) {
            self.wake_driver();
        }
    }
}

impl Sleeper for Shared {
    fn ring(&self, number: u32) {
        let mut state = self.lock();
        if !self.awaits(number) {
            // An earlier one took its place.
            return;
        }
        self.alarm.store(number.wrapping_add(1), Ordering::Relaxed);
        let driver = state.driver();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    fn awaits(&self, number: u32) -> bool {
        self.alarm.load(Ordering::Relaxed) == number
    }
}

/// The time of day, in milliseconds of Unix time.
pub(crate) fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// The time of the runtime, so that tests can stop it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
