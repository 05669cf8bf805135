//! One session for a command: made from the connection flags, watched until it ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqttx::proto::{PropertiesRef, ReasonCode, SessionExpiry, Version};
use mqttx::{
    Backoff, DropReason, Error, ErrorKind, EventKind, EventStream, Outbox, Session, SessionBuilder,
    SessionManager, SessionOptions, SessionStatus, Will,
};
use tokio::time::Instant;

use crate::exit::{Failure, warn};
use crate::flags::{Connection, WillMessage, failure_of};
use crate::stores::SharedStore;
use crate::wire_log::StderrLog;

/// How long DISCONNECT may take before the command ends without it.
const GOODBYE: Duration = Duration::from_secs(2);

/// A certificate that ends within this time is worth a line.
const SOON: Duration = Duration::from_secs(7 * 86_400);

/// How long a store may take to open before that is said.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// The session of a command with one session.
#[derive(Debug)]
pub(crate) struct Client {
    /// Owns the session.
    manager: SessionManager,
    session: Session,
    store: Option<SharedStore>,
    events: EventStream,
    disconnect: mqttx::proto::Properties,
    /// When it is said that the store is being waited for.
    store_is_late: Option<Instant>,
}

/// What a command has to react to.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The session cannot go on.
    Ended(Failure),
    /// The server accepted a connection.
    Connected,
    /// Every filter is granted or refused.
    Ready,
    /// The server refused this filter, or its CONNACK rules it out.
    FilterRefused { filter: String, reason: ReasonCode, text: Option<String> },
    /// The server refused a message for which nobody waits.
    MessageRefused { topic: String, reason: ReasonCode, text: Option<String> },
    /// Messages were given up: how many, why, and the topic of the last one.
    MessagesDropped { count: u64, reason: DropReason, topic: Option<String> },
}

impl Client {
    /// A session that waits for [`connect`](Session::connect), so that routes can be added before.
    ///
    /// # Errors
    /// Options that the flags let pass and the library does not.
    pub(crate) fn new(connection: &Connection) -> Result<Self, Failure> {
        let manager = SessionManager::new();
        let events = manager.events();
        let options = builder(connection, session_name(connection)).manual_connect(true);
        let options = finished(options, connection)?;
        let session = manager.add_session(options).map_err(|error| failure(&error))?;
        Ok(Self {
            manager,
            session,
            store: connection.store.clone(),
            events,
            disconnect: connection.properties.disconnect.clone(),
            store_is_late: connection.store.is_some().then(|| Instant::now() + STORE_PATIENCE),
        })
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// The next thing that the command has to react to; what is only worth a line is written to
    /// stderr on the way. Cancel safe.
    pub(crate) async fn notice(&mut self) -> Notice {
        loop {
            let late = self.store_is_late;
            let next = tokio::select! {
                biased;
                event = self.events.next() => event,
                () = until(late) => {
                    self.store_is_late = None;
                    warn("warning: the store is not there yet; waiting for it");
                    continue;
                }
            };
            let Some(event) = next else {
                return Notice::Ended(Failure::runtime("the session was removed"));
            };
            if matches!(event.kind, EventKind::SessionConnecting { .. }) {
                self.store_is_late = None;
            }
            if let Some(notice) = self.judge(&event.kind) {
                return notice;
            }
        }
    }

    /// What was refused or dropped, and nobody has reacted to yet.
    pub(crate) fn refusals(&mut self) -> Vec<Notice> {
        let mut refusals = Vec::new();
        while let Some(event) = self.events.try_next() {
            if matches!(
                event.kind,
                EventKind::SubscriptionRefused { .. }
                    | EventKind::MessageRefused { .. }
                    | EventKind::MessageDropped { .. }
            ) {
                refusals.extend(self.judge(&event.kind));
            }
        }
        refusals
    }

    /// What the command has to react to; the rest is said, if it is worth a line.
    fn judge(&self, event: &EventKind) -> Option<Notice> {
        match event {
            EventKind::SessionStateChanged { new: SessionStatus::Failed, .. } => {
                return Some(Notice::Ended(self.end_of_session()));
            }
            EventKind::EventsLagged { .. } if self.session.status() == SessionStatus::Failed => {
                return Some(Notice::Ended(self.end_of_session()));
            }
            EventKind::SessionConnected { .. } => return Some(Notice::Connected),
            EventKind::SessionReady { .. } => return Some(Notice::Ready),
            EventKind::SubscriptionRefused { filter, reason, reason_string } => {
                return Some(Notice::FilterRefused {
                    filter: filter.clone(),
                    reason: *reason,
                    text: reason_string.clone(),
                });
            }
            EventKind::SessionReconnecting { delay, .. } => self.say_reconnecting(*delay),
            EventKind::SessionRedirected { server_reference, .. } => {
                warn(format_args!("warning: the server sends us to {server_reference}"));
            }
            EventKind::TlsUnverified { broker } => {
                warn(format_args!("warning: {broker}: the server's certificate is not checked"));
            }
            // A command ends soon: what ends in a month is the daemon's business.
            EventKind::CertificateExpires { certificate, remaining, .. } if *remaining <= SOON => {
                match remaining.as_secs() / 86_400 {
                    _ if remaining.is_zero() => {
                        warn(format_args!("warning: {certificate} has expired"))
                    }
                    days => warn(format_args!("warning: {certificate} ends in {days} days")),
                }
            }
            EventKind::MessageDropped { reason, count, topic, .. } => {
                return Some(Notice::MessagesDropped {
                    count: *count,
                    reason: *reason,
                    topic: topic.clone(),
                });
            }
            EventKind::MessageRefused { topic, reason, reason_string } => {
                return Some(Notice::MessageRefused {
                    topic: topic.clone(),
                    reason: *reason,
                    text: reason_string.clone(),
                });
            }
            store => say_about_store(store),
        }
        None
    }

    fn end_of_session(&self) -> Failure {
        self.session
            .last_error()
            .map_or_else(|| Failure::runtime("the connection ended"), |error| failure(&error))
    }

    fn say_reconnecting(&self, delay: Duration) {
        if let Some(error) = self.session.last_error() {
            let delay = delay.as_millis();
            let broker = error.context().find(|(key, _)| *key == "broker");
            let broker =
                broker.map_or_else(String::new, |(_, broker)| format!(", broker {broker}"));
            let message = error.message();
            warn(format_args!("warning: {message}{broker}; connecting again in {delay} ms"));
        }
    }

    /// DISCONNECT, with the properties of `-D disconnect`, and the end of the session: what it did is on
    /// record then. A stalled connection or store delays it only for a moment.
    pub(crate) async fn disconnect(&self) {
        if !self.session.status().is_at_rest() {
            let properties = self.disconnect.clone();
            let goodbye =
                self.session.disconnect_with(ReasonCode::NORMAL_DISCONNECTION, properties);
            let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        }
        if let Some(store) = &self.store {
            let closing = async {
                // It may have ended by itself.
                let _ = self.manager.remove_session(self.session.name()).await;
                store.close().await;
            };
            let _ = tokio::time::timeout(GOODBYE, closing).await;
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// What a person has to know about the store.
fn say_about_store(event: &EventKind) {
    match event {
        EventKind::StoreNotice { text, .. } => warn(format_args!("warning: store: {text}")),
        EventKind::StoreUnavailable { error } => {
            warn(format_args!("warning: {}; waiting for the store", error.message()));
        }
        EventKind::StoreAvailable => warn("the store is there again"),
        _ => {}
    }
}

/// Says that messages were given up.
pub(crate) fn say_dropped(count: u64, reason: DropReason, topic: Option<&str>) {
    let topic = topic.map_or_else(String::new, |topic| format!(", topic {topic}"));
    warn(format_args!("warning: {count} messages dropped: {reason}{topic}"));
}

/// An error of the library as the end of a command: what the server refused ends with its code.
pub(crate) fn failure(error: &Error) -> Failure {
    match error.reason_code() {
        Some(reason) if error.kind() != ErrorKind::Protocol => Failure::refused(reason, error),
        _ => Failure::runtime(error),
    }
}

/// The options of a session, with the store of the command.
///
/// # Errors
/// Options that the flags let pass and the library does not.
pub(crate) fn finished(
    builder: SessionBuilder,
    connection: &Connection,
) -> Result<SessionOptions, Failure> {
    let mut options = builder.build().map_err(|errors| failure_of(&errors))?;
    options.store = connection.store.as_ref().map(SharedStore::shared);
    Ok(options)
}

/// The session of this name that the flags describe. Nothing goes into a packet that was not asked
/// for.
pub(crate) fn builder(connection: &Connection, name: impl Into<String>) -> SessionBuilder {
    let mut builder = SessionOptions::new(name)
        .brokers(connection.brokers.clone())
        .proxy(connection.proxy.clone())
        .client_id(connection.client_id.clone())
        .protocol(connection.version)
        .keep_alive(Duration::from_secs(connection.keep_alive.into()))
        .clean_start(connection.clean_start)
        .receive_maximum(connection.receive_maximum.filter(|_| connection.version == Version::V5))
        .subscription_identifiers(false)
        // What an earlier command wanted is not this one's business.
        .restore_subscriptions(false)
        .auto_reconnect(connection.reconnect.is_some())
        .outbox(outbox(connection));
    if let Some(reconnect) = connection.reconnect {
        builder = builder.reconnect(Backoff::new(reconnect.initial, reconnect.max));
    }
    if let Some(timeout) = connection.timeout {
        builder = builder.connect_timeout(timeout);
    }
    if let Some(tls) = &connection.tls {
        builder = builder.tls(tls.clone());
    }
    builder = connection.identity.apply(builder);
    if let Some(will) = &connection.will {
        builder = builder.will(will_of(will, connection.properties.will.as_ref()));
    }
    if connection.debug {
        builder = builder.wire_log(Arc::new(StderrLog(connection.version)));
    }
    with_limits(builder, connection)
}

/// Without a store, memory is the limit; with one, the store.
fn outbox(connection: &Connection) -> Outbox {
    let bytes = connection.store.is_none().then_some(1 << 30);
    Outbox { bytes, ..Outbox::default() }
}

fn with_limits(mut builder: SessionBuilder, connection: &Connection) -> SessionBuilder {
    match connection.session_expiry {
        Some(SessionExpiry::NEVER) => builder = builder.session_never_expires(),
        Some(expiry) => {
            builder = builder.session_expiry(Duration::from_secs(expiry.as_secs().into()));
        }
        None => {}
    }
    if let Some(maximum) =
        connection.topic_alias_maximum.filter(|_| connection.version == Version::V5)
    {
        builder = builder.topic_alias_maximum(maximum);
    }
    if let Some(maximum) = connection.maximum_packet_size {
        builder = builder.maximum_packet_size(maximum);
    }
    if let Some(maximum) = connection.max_in_flight {
        builder = builder.max_in_flight(maximum);
    }
    for property in connection.properties.connect.as_ref().iter() {
        builder = builder.connect_property(property);
    }
    builder
}

fn will_of(will: &WillMessage, properties: PropertiesRef<'_>) -> Will {
    let mut made = Will::new(will.topic.clone(), Bytes::from(will.payload.clone()))
        .qos(will.qos)
        .retain(will.retain);
    made.properties = properties.to_owned();
    made
}

/// What `--json`, `-d` and the store call the session.
fn session_name(connection: &Connection) -> String {
    if connection.client_id.is_empty() { "mqttx".to_owned() } else { connection.client_id.clone() }
}
