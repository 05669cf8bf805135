//! What a route may be told: capacity, overflow, acknowledgement, and how its filter is
//! subscribed.

use std::future::Future;
use std::sync::Arc;

use mqttx_proto::{FilterTree, QoS, RetainHandling};

use super::consumer::{self, Consumer};
use super::{LotHandler, MessageStream, Route, RouteHost, Target};
use crate::error::Error;
use crate::event::EventKind;
use crate::message::{Message, MessageRef};

/// What happens to a message for a route whose queue is full.
///
/// In MQTT 5 it concerns QoS 0 only: the server's Receive Maximum bounds the rest, so messages
/// of QoS > 0 wait. In 3.1.1, where nothing bounds the server, it concerns every message; one
/// that is dropped counts as done and is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Overflow {
    /// It waits in the session's inbound buffer; when that is full too, the session stops
    /// reading, drops QoS 0 or reconnects. Other routes are not delayed.
    #[default]
    Block,
    /// The oldest message in the queue is dropped, counted and evented.
    DropOldest,
    /// The new message is dropped, counted and evented.
    DropNewest,
}

/// The options of a route.
///
/// ```
/// use mqttx::{Overflow, QoS, RouteOptions};
///
/// let options = RouteOptions::new().qos(QoS::AtMostOnce).capacity(100).overflow(Overflow::DropOldest);
/// assert_eq!(options.capacity, 100);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteOptions {
    /// The highest level asked for; the message's own may be lower. Default 1.
    pub qos: QoS,
    /// Messages that wait for the handler before `overflow` applies; at least 1, default 1000.
    pub capacity: usize,
    /// What happens beyond `capacity`; default [`Overflow::Block`].
    pub overflow: Overflow,
    /// Messages of QoS > 0 are acknowledged by [`Message::ack`] instead of the handler's return.
    /// Default off.
    pub manual_ack: bool,
    /// MQTT 5: messages published by the same session are not sent back `[MQTT-3.8.3-3]`.
    /// Default off; not allowed with `$share` `[MQTT-3.8.3-4]`.
    pub no_local: bool,
    /// MQTT 5: the retain flag arrives as the publisher set it. Default off.
    pub retain_as_published: bool,
    /// MQTT 5: whether retained messages come at subscription. Default: they do.
    pub retain_handling: RetainHandling,
    /// Off: the route takes what other subscriptions bring and subscribes nothing. Default on.
    pub subscribe: bool,
    /// How often a message is handed over again after its handler panicked; default 3, with
    /// 100 ms, 200 ms, 400 ms .. in between (at once for an inline handler). After the last one
    /// it counts as done, as [`HandlerFailed`](crate::EventKind::HandlerFailed).
    pub retries: u32,
}

impl Default for RouteOptions {
    fn default() -> Self {
        Self {
            qos: QoS::AtLeastOnce,
            capacity: 1000,
            overflow: Overflow::Block,
            manual_ack: false,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAtSubscribe,
            subscribe: true,
            retries: 3,
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $ty:ty,)*) => {
        impl RouteOptions {
            $($(#[$doc])* #[must_use] pub fn $name(mut self, $name: $ty) -> Self {
                self.$name = $name;
                self
            })*
        }

        impl RouteBuilder {
            $($(#[$doc])* pub fn $name(mut self, $name: $ty) -> Self {
                self.options.$name = $name;
                self
            })*
        }
    };
}

setters! {
    /// Sets [`RouteOptions::qos`].
    qos: QoS,
    /// Sets [`RouteOptions::capacity`].
    capacity: usize,
    /// Sets [`RouteOptions::overflow`].
    overflow: Overflow,
    /// Sets [`RouteOptions::manual_ack`].
    manual_ack: bool,
    /// Sets [`RouteOptions::no_local`].
    no_local: bool,
    /// Sets [`RouteOptions::retain_as_published`].
    retain_as_published: bool,
    /// Sets [`RouteOptions::retain_handling`].
    retain_handling: RetainHandling,
    /// Sets [`RouteOptions::subscribe`].
    subscribe: bool,
    /// Sets [`RouteOptions::retries`].
    retries: u32,
}

impl RouteOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// A route in the making; one of its last four methods starts it.
#[must_use = "a route starts with `handle`, `handle_async`, `inline` or `listen`"]
pub struct RouteBuilder {
    host: Arc<dyn RouteHost>,
    filter: Arc<str>,
    options: RouteOptions,
}

impl RouteBuilder {
    pub(crate) fn new(host: Arc<dyn RouteHost>, filter: &str) -> Self {
        Self { host, filter: filter.into(), options: RouteOptions::default() }
    }

    /// Replaces all options.
    pub fn options(mut self, options: RouteOptions) -> Self {
        self.options = options;
        self
    }

    /// Calls `handler` with each message, one at a time and in order, on Tokio's blocking pool:
    /// it may block, sleep or wait for as long as it wants. While many handlers block at once,
    /// they share the threads of that pool (512 by default).
    ///
    /// # Errors
    /// The filter is invalid, the session is closed, or no Tokio runtime is running.
    pub fn handle<F>(self, handler: F) -> Result<Route, Error>
    where
        F: Fn(&Message) + Send + Sync + 'static,
    {
        let jobs = self.host.jobs()?;
        self.start(Consumer::Blocking { handler: Arc::new(handler), jobs })
    }

    /// Calls `handler` with each message and awaits its future, one at a time and in order, in a
    /// task of the route.
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    pub fn handle_async<F, Fut>(self, handler: F) -> Result<Route, Error>
    where
        F: Fn(Message) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let jobs = self.host.jobs()?;
        let route = self.start(Consumer::Polled)?;
        jobs.runtime().spawn(consumer::run_async(Arc::clone(route.target()), handler));
        Ok(route)
    }

    /// Calls `handler` on the session's own driver, with the message still in the read buffer:
    /// the fastest way, without a queue. The handler **must not block**: while it runs, the
    /// session neither reads, writes nor pings. Capacity and overflow do not apply.
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    pub fn inline<F>(self, handler: F) -> Result<Route, Error>
    where
        F: Fn(&MessageRef<'_>) + Send + Sync + 'static,
    {
        self.start(Consumer::Inline(Box::new(handler)))
    }

    /// A route that gets the messages of a read together, on the session's own driver, with the messages still in the read
    /// buffer. It takes nothing yet: the session puts it in the place of others.
    pub(crate) fn prepare_by_lot(
        self,
        handler: impl LotHandler + 'static,
    ) -> Result<Prepared, Error> {
        self.prepare(Consumer::Lot(Box::new(handler)))
    }

    #[cfg(test)]
    pub(crate) fn by_lot(self, handler: impl LotHandler + 'static) -> Result<Route, Error> {
        self.start(Consumer::Lot(Box::new(handler)))
    }

    /// Hands out the messages as a stream. A message is done when the next one is asked for.
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    pub fn listen(self) -> Result<MessageStream, Error> {
        self.start(Consumer::Polled).map(MessageStream::new)
    }

    fn start(self, consumer: Consumer) -> Result<Route, Error> {
        let prepared = self.prepare(consumer)?;
        prepared.host.attach(&prepared.target)?;
        Ok(prepared.attached())
    }

    /// A route that is checked and takes nothing yet.
    fn prepare(self, consumer: Consumer) -> Result<Prepared, Error> {
        self.check()?;
        let session = self.host.session_name().cloned();
        let target = Target::new(
            self.filter,
            self.options,
            consumer,
            session,
            Arc::clone(self.host.events()),
        );
        Ok(Prepared { target, host: self.host })
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |message: String| {
            Err(Error::subscribe(message).with_context("filter", self.filter.to_string()))
        };
        if let Err(problem) = mqttx_proto::validate_filter(&self.filter) {
            return refuse(format!("invalid filter '{}': {problem}", self.filter));
        }
        if self.filter.split('/').count() > FilterTree::<()>::MAX_LEVELS {
            return refuse(format!("a filter may have {} levels", FilterTree::<()>::MAX_LEVELS));
        }
        if self.options.no_local && mqttx_proto::split_shared(&self.filter).is_some() {
            return refuse(
                "no_local is not allowed with a shared filter [MQTT-3.8.3-4]".to_owned(),
            );
        }
        Ok(())
    }
}

/// A route that is not in its session yet.
pub(crate) struct Prepared {
    pub(crate) target: Arc<Target>,
    host: Arc<dyn RouteHost>,
}

impl Prepared {
    /// It is in its session now.
    pub(crate) fn attached(self) -> Route {
        self.host.events().emit(
            self.host.session_name(),
            EventKind::RouteAdded { filter: Arc::clone(self.target.shared_filter()) },
        );
        Route::new(self.target, self.host)
    }
}

impl std::fmt::Debug for RouteBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouteBuilder")
            .field("filter", &self.filter)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
