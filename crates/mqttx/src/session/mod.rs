//! One session: its handle, its state, and the driver that owns its connection.
//!
//! The handle ([`Session`]) and the routes change the core under one short lock ([`shared`]); one
//! task ([`driver`]) moves bytes. Publishing is in [`publish`], subscriptions and routes in
//! [`subscribe`], futures in [`delivery`].

mod acked;
mod ahead;
mod alarms;
mod backoff;
mod brake;
mod delivery;
mod driver;
mod gate;
mod give_back;
mod handover;
mod interest;
mod lock;
mod observe;
mod offer;
mod pause;
mod probe;
mod publish;
mod pulse;
mod reconfigure;
mod refusal;
mod renewal;
mod request;
mod room;
mod shared;
mod sinks;
mod status;
mod storage;
mod subscribe;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_ahead;
#[cfg(test)]
mod tests_auth;
#[cfg(test)]
mod tests_busy;
#[cfg(test)]
mod tests_held;
#[cfg(test)]
mod tests_submit;
#[cfg(test)]
mod tests_wakers;
#[cfg(test)]
mod tests_wish;
mod wait;

pub use delivery::{Delivery, Published};
pub use publish::Accepting;
pub use request::Requester;
pub use status::SessionStatus;

pub(crate) use alarms::Alarms;
pub(crate) use delivery::{Waiting, published};
pub(crate) use gate::ConnectGate;
pub(crate) use handover::Handover;
pub(crate) use offer::Draft;
pub(crate) use shared::Services;
pub(crate) use sinks::{CompletionSink, FailureSink, Finish, Finished, SinkId};

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mqttx_proto::{AckTicket, Limits, Phase, Properties, ReasonCode, Sequence};

use crate::error::Error;
use crate::options::{Asked, SessionOptions};
use crate::router::{MessageSource, RouteHost, Target};
use crate::store::{Opened, Opening};
use shared::{Shared, State, Wish};
pub(crate) use shared::{now, unix_ms};

/// A handle of one session; clones share it.
///
/// The manager owns the session: dropping handles does not end it, and a handle outlives the session,
/// as a closed one.
///
/// ```no_run
/// # async fn example(manager: mqttx::SessionManager) -> Result<(), mqttx::Error> {
/// use mqttx::{QoS, SessionOptions};
///
/// let options = SessionOptions::quick_connect("plant", "mqtt://127.0.0.1:1883").build()?;
/// let session = manager.add_session(options)?;
/// let published = session.publish("line/1/state", "on", QoS::AtLeastOnce, false).await?;
/// println!("{}", published.reason);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

impl Session {
    /// Starts a session: its driver runs until [`close`](Self::close).
    ///
    /// # Errors
    /// The options cannot be used.
    pub(crate) fn start(options: SessionOptions, services: &Arc<Services>) -> Result<Self, Error> {
        options.check().map_err(|errors| Error::from(errors).with_session(&options.name))?;
        let name: Arc<str> = options.name.as_str().into();
        let (options, client_id) = services.kinds.keep(options)?;
        let mut opening = options.store.as_ref().map(|store| store.open(&name));
        let opened = opening.as_mut().and_then(at_once).transpose()?;
        let services = Arc::clone(services);
        let shared = Arc::new(Shared::new(name, &client_id, options, services, opening.is_some()));
        let mut driver = driver::Driver::new(Arc::clone(&shared), opening);
        if let Some(opened) = opened {
            driver.on_opened(opened);
        }
        shared.subscribe_configured()?;
        shared.services.runtime.spawn(driver);
        Ok(Self { shared })
    }

    /// Its name in the manager.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The same, as events carry it.
    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.shared.name
    }

    /// The client id in use: the one that the server assigned, if it did.
    #[must_use]
    pub fn client_id(&self) -> String {
        self.shared.lock().core.client_id().to_owned()
    }

    /// What was asked of it: a copy.
    #[must_use]
    pub fn options(&self) -> SessionOptions {
        let state = self.shared.lock();
        state.options.to_options(self.name(), state.client_id())
    }

    /// What was asked of it, besides what is its own: name, client id, credentials, will, filters.
    pub(super) fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The message that waits longest for the server on this connection, and whether its PUBREC arrived.
    pub(crate) fn oldest_sent(&self) -> Option<(Sequence, bool)> {
        self.shared.lock().core.oldest_sent()
    }

    pub(crate) fn common_options(&self) -> Arc<Asked> {
        self.shared.options()
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> SessionStatus {
        self.shared.lock().status
    }

    /// Whether the server accepted the connection, and it is up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.status() == SessionStatus::Connected
    }

    /// Whether it is connected and every desired filter is granted or refused.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = self.shared.lock();
        state.ready && state.core.is_settled()
    }

    /// The desired filters that the server refused, in the order of their names. They stay desired: it is asked again when it
    /// lost the session, and by another subscribe.
    #[must_use]
    pub fn refused_filters(&self) -> Vec<String> {
        self.shared.lock().core.refused_filters().map(str::to_owned).collect()
    }

    /// What the server allows on this connection; `None` while there is none.
    #[must_use]
    pub fn limits(&self) -> Option<Limits> {
        self.shared.lock().core.limits().cloned()
    }

    /// Why the last connection ended or could not be made.
    #[must_use]
    pub fn last_error(&self) -> Option<Error> {
        self.shared.lock().last_error.clone()
    }

    /// Messages with QoS > 0 that were accepted and are not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.shared.lock().core.unacknowledged()
    }

    /// Asks for a connection, also after a failure; returns at once.
    pub fn connect(&self) {
        self.shared.wish(Wish::Connected);
    }

    /// Drops the connection, if there is one, and makes a new one without delay; returns at once.
    pub fn reconnect(&self) {
        self.shared.wish(Wish::Reconnected);
    }

    /// Sends DISCONNECT and stays away until [`connect`](Self::connect). What was accepted stays
    /// queued.
    pub async fn disconnect(&self) {
        self.disconnect_with(ReasonCode::NORMAL_DISCONNECTION, Properties::new()).await;
    }

    /// [`disconnect`](Self::disconnect) with a reason code and properties (MQTT 5).
    pub async fn disconnect_with(&self, reason: ReasonCode, properties: Properties) {
        self.shared.wish(Wish::Disconnected(Box::new((reason, properties))));
        self.until(|state| {
            let done = state.status == SessionStatus::Disconnected && !state.wish_changed;
            let overruled = !matches!(state.wish, Wish::Disconnected(_));
            (state.closed || done || overruled).then_some(())
        })
        .await;
    }

    /// Waits until nothing of ours is unfinished: every message is acknowledged (QoS 0: written).
    ///
    /// # Errors
    /// `timeout` is over, or the session was removed before that.
    pub async fn flush(&self, timeout: Duration) -> Result<(), Error> {
        self.drain(timeout, |state| state.core.is_drained()).await
    }

    /// [`flush`](Self::flush), and what was received is finished, too: routes are done with it, its
    /// acknowledgements are written, and no QoS 2 message waits for the server's PUBREL.
    ///
    /// # Errors
    /// As for [`flush`](Self::flush).
    pub async fn settle(&self, timeout: Duration) -> Result<(), Error> {
        self.drain(timeout, |state| {
            let core = &state.core;
            core.is_drained() && core.undelivered() == 0 && !core.awaits_release()
        })
        .await
    }

    /// Waits until the QoS 2 messages that routes acknowledged are finished: the server's PUBREL
    /// came. Messages that no route acknowledged yet are left alone, as are requests.
    ///
    /// # Errors
    /// As for [`flush`](Self::flush).
    pub async fn wait_released(&self, timeout: Duration) -> Result<(), Error> {
        self.drain(timeout, |state| !state.core.awaits_release()).await
    }

    async fn drain(
        &self,
        timeout: Duration,
        finished: impl Fn(&State) -> bool,
    ) -> Result<(), Error> {
        let _watch = DrainWatch::new(&self.shared);
        let done = self.until(|state| {
            if finished(state) {
                return Some(Ok(()));
            }
            state.closed.then(|| Err(Error::closed()))
        });
        let outcome = tokio::time::timeout(timeout, done).await.unwrap_or_else(|_| {
            let left = self.shared.lock().core.outbox().messages;
            let after = timeout.as_millis();
            Err(Error::timeout(format!("{left} messages are unfinished after {after} ms")))
        });
        outcome.map_err(|error| error.with_session(self.name()))
    }

    /// From now on received messages are neither delivered nor acknowledged, and subscriptions of
    /// routes that stop stay at the server: the process is about to end.
    pub(crate) fn stop_receiving(&self) {
        self.shared.receiving_stopped.store(true, Ordering::Release);
        self.shared.lock().winding_down = true;
    }

    /// So many messages stay with the server, and nobody finishes them: a stop does not wait for them.
    pub(crate) fn leave_unhandled(&self, messages: usize) {
        self.shared.unhandled.fetch_add(messages, Ordering::AcqRel);
        self.shared.changed.notify_waiters();
    }

    /// Whether both are the same session.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// What the session got from its manager.
    pub(crate) fn services(&self) -> &Services {
        &self.shared.services
    }

    /// Whether the server accepted a connection that is not about to end.
    pub(crate) fn has_connection(&self) -> bool {
        self.shared.lock().core.limits().is_some()
    }

    /// With so many parked bytes the driver does not read.
    pub(crate) fn inbound_buffer(&self) -> usize {
        self.shared.inbound_buffer.load(Ordering::Relaxed)
    }

    /// `bytes` of received messages wait outside the routes, as in [`MessageSource::park`].
    pub(crate) fn park(&self, bytes: usize) {
        MessageSource::park(&*self.shared, bytes);
    }

    /// `bytes` of received messages are on their way through the sockets of other sessions.
    pub(crate) fn pass(&self, bytes: usize) {
        self.shared.passing.add(bytes);
    }

    /// They are not any more.
    pub(crate) fn passed(&self, bytes: usize) {
        self.shared.passed(bytes);
    }

    /// Routes are done with these messages, as in [`MessageSource::ack`].
    pub(crate) fn acknowledge(&self, tickets: impl Iterator<Item = AckTicket>) {
        self.shared.acknowledge(tickets);
    }

    /// They do not wait any more.
    pub(crate) fn unpark(&self, bytes: usize) {
        MessageSource::unpark(&*self.shared, bytes);
    }

    /// Waits until what was accepted and what handlers have is finished; `false` if it is not at
    /// `until`. Only after [`stop_receiving`](Self::stop_receiving).
    pub(crate) async fn wind_down(&self, until: tokio::time::Instant) -> bool {
        let _watch = DrainWatch::new(&self.shared);
        let done = self.until(|state| {
            let idle = self.shared.unhandled.load(Ordering::Acquire);
            let handled = state.core.delivering() <= idle;
            // Nobody needs subscriptions any more.
            let sent = match state.core.phase() {
                Phase::Online => state.core.is_flushed(),
                _ => state.core.outbox().messages == 0,
            };
            if state.storage.failure().is_some() {
                // Nothing of what is left can be sent.
                return Some(state.core.outbox().messages == 0);
            }
            (state.closed || (handled && sent)).then_some(true)
        });
        tokio::time::timeout_at(until, done).await.unwrap_or(false)
    }

    /// Lets the server finish, until `until`, the QoS 2 messages that were acknowledged to it; without a
    /// connection it finishes them on the next one.
    pub(crate) async fn finish_release(&self, until: tokio::time::Instant) {
        let _watch = DrainWatch::new(&self.shared);
        let done = self.until(|state| {
            let core = &state.core;
            (state.closed || core.phase() != Phase::Online || !core.awaits_release()).then_some(())
        });
        let _ = tokio::time::timeout_at(until, done).await;
    }

    /// Waits until the session is removed.
    pub(crate) async fn closed(&self) {
        self.until(|state| state.closed.then_some(())).await;
    }

    /// Disconnects and ends the session: every delivery that is left resolves as closed.
    pub(crate) async fn close(&self) {
        self.shared.wish(Wish::Removed);
        self.until(|state| state.closed.then_some(())).await;
    }

    /// Puts a route of the manager into this session.
    ///
    /// # Errors
    /// The session was removed, or the filter is ruled out.
    pub(crate) fn attach(&self, target: &Arc<Target>) -> Result<(), Error> {
        self.shared.attach(target)
    }

    /// Undoes [`attach`](Self::attach).
    pub(crate) fn detach(&self, target: &Target) {
        self.shared.detach(target);
    }

    /// The routes and global routes of this session.
    pub(crate) fn route_count(&self) -> usize {
        self.shared.router.targets().len()
    }

    /// Waits until `look` finds what it looks for; it is asked again whenever something changed.
    async fn until<T>(&self, look: impl Fn(&State) -> Option<T>) -> T {
        loop {
            let changed = self.shared.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // From here on no change is missed, also those before the first poll.
            changed.as_mut().enable();
            let found = {
                let mut state = self.shared.lock();
                // What handlers acknowledged is the driver's to take, and counts already.
                self.shared.acked.take_into(&mut state.core);
                let found = look(&state);
                self.shared.unlock_and_wake(state);
                found
            };
            if let Some(found) = found {
                return found;
            }
            changed.await;
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("name", &self.shared.name)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// What a store that has nothing to wait for, such as one in memory, has already.
fn at_once(opening: &mut Opening) -> Option<Result<Opened, Error>> {
    match opening.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(opened) => Some(opened),
        Poll::Pending => None,
    }
}

/// While somebody waits in `flush`, the driver tells of a drained outbox.
struct DrainWatch<'a>(&'a Shared);

impl<'a> DrainWatch<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.lock().drain_watchers += 1;
        Self(shared)
    }
}

impl Drop for DrainWatch<'_> {
    fn drop(&mut self) {
        self.0.lock().drain_watchers -= 1;
    }
}
