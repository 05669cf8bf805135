//! The only I/O loop: one task per session, one future, written by hand.
//!
//! A turn is: take what the core has to say (one lock) → tell those who wait → write and read what the
//! socket gives → dispatch what arrived, outside the lock. Turns follow each other until nothing
//! moves; then the task sleeps until the socket, its alarm or a waker has something. Reading and
//! writing are parts of the same turn, so the driver never flushes without reading.
//!
//! ```text
//!           connect()                  time, gate              transport up
//!  Resting ───────────▶ Waiting ─────────────────▶ Connecting ──────────────▶ Open
//!     ▲                    ▲                            │                       │
//!     │   refused, asked   └────────── failed ──────────┴──────── lost ─────────┤
//!     └─────────────────────────────────────────────────────────────────────────┘
//! ```

mod access;
mod attempt;
mod auth;
mod desk;
mod held;
mod life;
mod link;
mod plan;
mod receive;
mod store;
mod tally;
mod timer;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use mqttx_proto::{Event, FailedMessage, PropertiesRef, ReasonCode};

use super::Session;
use super::delivery::Wake;
use super::interest::Interests;
use super::shared::{PASSING, Shared, Wish, now};
use super::status::SessionStatus;
use crate::event::EventKind;
use crate::options::Asked;
use crate::router::MessageSource;
use crate::store::{Log, Opening};
use attempt::Attempt;
use desk::Desk;
use held::Held;
use link::Link;
use plan::Plan;
use tally::Tally;
use timer::Timer;

/// How often a store that is being opened is asked what it waits for.
const OPENING_LOOK: Duration = Duration::from_millis(250);

/// Turns after which other tasks get their chance.
pub(super) const TURNS: u32 = 64;
/// Turns after which a driver that always has something to do wakes a publisher that pauses.
pub(super) const TURNS_OF_A_PAUSE: u32 = 8;

/// The task of one session. Dropping it, for whatever reason, closes the session.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    /// What was asked for when the last attempt to connect began.
    options: Arc<Asked>,
    /// The same, as routes know it.
    source: Arc<dyn MessageSource>,
    phase: Phase,
    plan: Plan,
    timer: Timer,
    held: Held,
    /// The store is being opened: nothing is begun before.
    opening: Option<Box<Opening>>,
    /// It was told why that takes so long.
    told_waiting: bool,
    /// Where records go; `None` without a store.
    log: Option<Box<dyn Log>>,
    /// The store failed, which the state knows; the session fails once its connection is closed.
    store_failed: bool,
    tally: Tally,
    /// The core's count, for the difference.
    duplicates: u32,
    /// The inbound buffer is over its limit, until it is half empty.
    over: bool,
    /// What was read last is still on its way through other sessions.
    far: bool,
}

struct Wait {
    until: Instant,
    /// The process-wide gate gave that time.
    admitted: bool,
}

enum Phase {
    /// Until somebody calls.
    Resting,
    /// Until the time.
    Waiting(Box<Wait>),
    Connecting(Box<Attempt>),
    Open(Box<Link>),
    Finished,
}

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>, opening: Option<Opening>) -> Self {
        let source: Arc<dyn MessageSource> = Arc::clone(&shared) as _;
        let options = Arc::clone(&shared.lock().options);
        Self {
            shared,
            options,
            source,
            phase: Phase::Resting,
            plan: Plan::default(),
            timer: Timer::default(),
            held: Held::default(),
            opening: opening.map(Box::new),
            told_waiting: false,
            log: None,
            store_failed: false,
            tally: Tally::default(),
            duplicates: 0,
            over: false,
            far: false,
        }
    }

    fn drive(&mut self, cx: &mut Context<'_>, desk: &mut Desk) -> Poll<()> {
        for turn in 1..=TURNS {
            let now = now();
            self.drive_core(now, desk);
            let asked = self.drive_outputs(now, desk);
            let stored = self.drive_store(cx, now, desk);
            let moved = match self.phase {
                Phase::Finished => {
                    self.settle(desk);
                    return Poll::Ready(());
                }
                Phase::Resting => false,
                Phase::Waiting(_) => self.drive_waiting(now),
                Phase::Connecting(_) => self.drive_connecting(cx, now),
                Phase::Open(_) => self.drive_auth(cx, now, desk) | self.drive_link(cx, now, desk),
            };
            let busy = moved || asked || stored || !desk.done.is_empty();
            if !busy && self.sleep(cx, now) {
                return Poll::Pending;
            }
            if turn.is_multiple_of(TURNS_OF_A_PAUSE) {
                self.end_pause();
            }
            // Where little may wait, nothing is to be parked because tasks had no turn.
            if desk.router.leads(self.options.inbound_buffer / 8) {
                break;
            }
        }
        // The desk stays with this thread, the next turn may run on another.
        self.settle(desk);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tells the core which messages are done with, before others have their chance.
    fn settle(&self, desk: &mut Desk) {
        let mut state = self.shared.lock();
        desk.done.drain(..).for_each(|ticket| state.core.ack(ticket));
        drop(state);
        self.end_pause();
    }

    /// Wakes the publisher whose turn it is.
    fn end_pause(&self) {
        let publisher = self.shared.lock().end_pause();
        publisher.into_iter().for_each(Waker::wake);
    }

    /// Everything that needs the lock: what happened since goes in, what is to be done comes out.
    fn drive_core(&mut self, now: Instant, desk: &mut Desk) {
        let mut state = self.shared.lock();
        state.awake(now);
        self.shared.acked.take(&mut desk.done);
        if let Phase::Open(link) = &mut self.phase
            && link.traffic.written > 0
        {
            state.core.handle_written(now, std::mem::take(&mut link.traffic.written));
        }
        for ticket in desk.done.drain(..) {
            state.core.ack(ticket);
        }
        if state.core.poll_timeout().is_some_and(|at| at <= now) {
            state.core.handle_timeout(now);
            // A timer of the core means a quiet session: the memory of the last burst is given back.
            state.waiters.shrink();
            state.ahead.shrink();
            self.shared.acked.shrink();
            desk.quiet = true;
            if let Phase::Open(link) = &mut self.phase {
                link.traffic.transmit.shrink();
            }
        }
        if std::mem::take(&mut state.wish_changed) {
            desk.wish = Some(state.wish.clone());
        }
        desk.renewal = std::mem::take(&mut state.renewal_wanted);
        desk.routes_added = std::mem::take(&mut state.routes_added);
        state.holding = !self.held.is_empty();
        state.pulse = false;
        state.turns = state.turns.wrapping_add(1);
        self.over = self.shared.parked.holds(self.over, self.options.inbound_buffer);
        self.far = self.shared.passing.holds(self.far, PASSING);
        if let Phase::Open(link) = &mut self.phase
            && link.traffic.refused > 0
            && !self.over
            && state.core.delivering() <= link.traffic.refused
        {
            // There is room again, and all that was taken is acknowledged: the server sends the rest, and
            // only the rest, on the next connection.
            state.core.disconnect(ReasonCode::NORMAL_DISCONNECTION, PropertiesRef::EMPTY);
        }
        if let Phase::Open(link) = &mut self.phase
            && link.traffic.transmit.is_empty()
        {
            state.core.poll_transmit(&mut link.traffic.transmit);
        }
        if self.log.is_some() {
            state.core.poll_store(&mut desk.records);
            desk.fetch = state.core.poll_fetch();
            desk.wanted = state.storage.take_wanted();
        }
        while let Some(event) = state.core.poll_event() {
            desk.events.push(event);
        }
        state.collect_completions(&mut desk.wakes);
        state.offer_room(&mut desk.wakes);
        desk.totals = state.core.send_totals();
        desk.duplicates = state.core.received_duplicates();
        desk.watched = state.drain_watchers > 0;
        if let Phase::Open(link) = &mut self.phase {
            let core = &state.core;
            let waits = self.over || self.far;
            // What those wait for that have the bytes may be acknowledged, or taken, by our server.
            let outstanding =
                waits && (core.awaits_server() || core.outbox().messages > 0 || link.is_stalled());
            link.shedding = self.over && outstanding;
            link.pause(now, waits && !outstanding || core.is_verifying());
        }
    }

    /// Tells everybody, without the lock; `true` if the core was asked for something meanwhile.
    fn drive_outputs(&mut self, now: Instant, desk: &mut Desk) -> bool {
        self.log_transmit(desk);
        self.shared.fire(&mut desk.wakes);
        self.count(desk);
        if desk.watched {
            self.shared.changed.notify_waiters();
        }
        let mut events = std::mem::take(&mut desk.events);
        for event in events.drain(..) {
            self.on_event(now, event);
        }
        desk.events = events;
        if std::mem::take(&mut desk.quiet) {
            self.shared.router.on_quiet();
            desk.router.shrink();
        }
        let wish = desk.wish.take();
        if let Some(wish) = &wish {
            self.on_wish(now, wish);
        }
        if desk.renewal {
            self.want_authentication();
        }
        if desk.routes_added {
            self.redispatch(now, desk);
        }
        if self.held.is_due(now) {
            self.give_up_held(now, desk);
        }
        self.tally.tell(now, &self.shared);
        wish.is_some()
    }

    fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Connected(connected) => self.on_connected(now, &connected),
            Event::Challenged { data } => self.on_challenged(data),
            Event::Authenticated { data } => self.on_authenticated(data),
            Event::Ready => {
                let subscriptions = {
                    let mut state = self.shared.lock();
                    state.ready = true;
                    state.core.subscriptions()
                };
                self.shared.emit(EventKind::SessionReady { subscriptions });
                self.shared.changed.notify_waiters();
            }
            // Somebody may wait until what was asked for since the session was ready is answered.
            Event::Subscribed { .. } | Event::Unsubscribed { .. } => {
                self.shared.changed.notify_waiters();
            }
            Event::SubscriptionRefused { filter, reason, reason_string } => {
                self.shared.origin.counters.record_error();
                let kind = EventKind::SubscriptionRefused { filter, reason, reason_string };
                self.shared.emit(kind);
                self.shared.changed.notify_waiters();
            }
            Event::Closing(cause) => {
                if let Phase::Open(link) = &mut self.phase {
                    link.close(now, cause);
                }
            }
            Event::MessageDropped { reason, count } => {
                self.tally.add(&self.shared, tally::reason_of(reason), count as u64, None);
            }
            Event::MessageRefused { topic, reason, reason_string } => {
                self.shared.origin.counters.record_error();
                self.shared.emit(EventKind::MessageRefused { topic, reason, reason_string });
            }
            Event::MessageFailed(failed) => self.on_failed(now, *failed),
            Event::SessionLost { requeued } => {
                if !self.options.resume_subscriptions {
                    self.shared.lock().interests = Interests::default();
                }
                // After a clean start it is no news, unless messages go out again.
                if requeued > 0 || !self.options.starts_clean() {
                    self.shared.emit(EventKind::SessionLost { requeued });
                }
            }
            _ => {}
        }
    }

    /// What the store had fails: whoever asked for it takes care of it, or will once it is there.
    fn on_failed(&mut self, now: Instant, failed: FailedMessage) {
        let session = Session::of(Arc::clone(&self.shared));
        let sink = self.shared.lock().sinks.of_origin(failed.origin);
        match (sink, failed.sequence) {
            (Some(sink), _) => sink.failed(&session, failed),
            (None, Some(_)) if self.held.holds(now) => self.held.push_failed(failed),
            // Nobody does so any more; the events of the session have said what became of it.
            (None, Some(sequence)) => session.forget(sequence),
            (None, None) => {}
        }
    }

    /// Tells the counters what the core counted.
    fn count(&mut self, desk: &Desk) {
        let counters = &self.shared.origin.counters;
        counters.record_sent(desk.totals.messages, desk.totals.bytes);
        counters.record_resends(desk.totals.resent);
        let duplicates = desk.duplicates as u32;
        counters.record_duplicates(duplicates.wrapping_sub(self.duplicates).into());
        self.duplicates = duplicates;
    }

    fn log_transmit(&self, desk: &mut Desk) {
        let (Some(log), Phase::Open(link)) = (&self.options.wire_log, &self.phase) else {
            return;
        };
        if log.is_enabled() && link.fresh() {
            link.copy_transmit(&mut desk.bytes);
            log.sent(&self.shared.name, &desk.bytes);
        }
    }

    /// Sleeps until something happens; `false` when something did already.
    fn sleep(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut alarm = [self.held.deadline(), self.tally.deadline()].into_iter().flatten().min();
        let mut socket_full = false;
        if self.opening.is_some() && !self.told_waiting {
            // Perhaps the store knows by then what it waits for.
            alarm = alarm.into_iter().chain([now + OPENING_LOOK]).min();
        }
        match &self.phase {
            // What comes after the delay waits for the store, too, which wakes the driver.
            Phase::Waiting(_) if self.opening.is_some() => {}
            Phase::Waiting(wait) => {
                alarm = alarm.into_iter().chain([wait.until]).min();
            }
            Phase::Connecting(attempt) => {
                alarm = alarm.into_iter().chain(attempt.until()).min();
            }
            Phase::Open(link) => {
                alarm = alarm.into_iter().chain(link.deadline(&self.options)).min();
                socket_full = !link.traffic.transmit.is_empty();
            }
            Phase::Resting | Phase::Finished => {}
        }
        let mut state = self.shared.lock();
        let core = state.core.poll_timeout();
        let alarm = alarm.into_iter().chain(core).min();
        let set = |at, number| self.shared.services.alarms.set(at, &self.shared, number);
        if self.timer.poll(now, alarm, &self.shared.alarm, set) {
            return false;
        }
        let shared = &self.shared;
        if self.over && !shared.parked.still_holds() || self.far && !shared.passing.still_holds() {
            return false;
        }
        let asleep = state.fall_asleep(cx.waker(), alarm, socket_full, &self.shared.acked);
        // Last of all: this thread runs it next. Woken before another turn, it would be run by another thread meanwhile.
        let publisher = if asleep { state.end_pause() } else { None };
        drop(state);
        publisher.into_iter().for_each(Waker::wake);
        asleep
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let mut desk = Desk::borrow();
        let outcome = this.drive(cx, &mut desk);
        desk.give_back();
        outcome
    }
}

/// The end, also by a panic or the runtime's: nobody waits for ever.
impl Drop for Driver {
    fn drop(&mut self) {
        let mut wakes = Vec::new();
        let sinks = {
            let mut state = self.shared.lock();
            state.closed = true;
            state.wish = Wish::Removed;
            // What handlers finished since the last turn is not handed out again by the next process.
            self.shared.acked.take_into(&mut state.core);
            // Gone before anybody is told of the end: a store comes to rest when no log is open.
            if let Some(mut log) = self.log.take() {
                // What was accepted since the last turn is the store's to keep.
                let mut records = mqttx_proto::RecordBatch::new();
                state.core.poll_store(&mut records);
                log.submit(&mut records);
            }
            state.core.handle_closed();
            state.collect_completions(&mut wakes);
            state.waiters.close(&mut wakes);
            let state = &mut *state;
            state.storage.close(&state.sinks, &mut wakes);
            state.room.close(|waker| wakes.push(Wake::Task(waker)));
            wakes.extend(std::iter::from_fn(|| state.ahead.next()).map(Wake::Task));
            state.sinks.all()
        };
        self.shared.fire(&mut wakes);
        sinks.into_iter().for_each(|(sink, tag)| sink.left(tag));
        self.shared.router.close();
        self.shared.set_status(SessionStatus::Stopped);
    }
}

#[cfg(test)]
#[test]
fn a_driver_with_its_task_takes_256_bytes() {
    // The runtime adds 104 bytes and rounds up to 128.
    assert!(size_of::<Driver>() <= 152, "{} bytes", size_of::<Driver>());
}
