//! The list of events: one row gives the variant, its data and its name.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use mqttx_proto::ReasonCode;

use crate::error::Error;
use crate::metrics::DropReason;
use crate::session::SessionStatus;

macro_rules! event_kinds {
    ($(
        $(#[$doc:meta])*
        $variant:ident = $name:literal $({ $( $(#[$field_doc:meta])* $field:ident: $ty:ty, )* })?
    )*) => {
        /// What happened, with its data.
        #[derive(Debug)]
        #[non_exhaustive]
        pub enum EventKind {
            $( $(#[$doc])* $variant $({ $( $(#[$field_doc])* $field: $ty, )* })?, )*
        }

        /// The names of the [`EventKind`]s, without their data.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[non_exhaustive]
        pub enum EventName {
            $( $(#[$doc])* $variant, )*
        }

        impl EventKind {
            /// The name of the kind.
            #[must_use]
            pub const fn name(&self) -> EventName {
                match self { $( Self::$variant { .. } => EventName::$variant, )* }
            }
        }

        impl EventName {
            /// Every name.
            pub const ALL: &[Self] = &[ $( Self::$variant, )* ];

            /// The name as text, for example `session_ready`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $name, )* }
            }
        }
    };
}

event_kinds! {
    /// An attempt to connect starts.
    SessionConnecting = "session_connecting" {
        /// The broker's address, without credentials.
        broker: String,
        /// Counts from 1 since the last connection that proved stable.
        attempt: u32,
    }
    /// The server accepted the connection.
    SessionConnected = "session_connected" {
        /// The broker's address, without credentials.
        broker: String,
        /// The server kept the session of an earlier connection.
        session_present: bool,
        /// The client id in use, assigned by the server or ours.
        client_id: String,
    }
    /// Connected, and every desired subscription is granted or refused.
    SessionReady = "session_ready" {
        /// How many filters are subscribed.
        subscriptions: usize,
    }
    /// The session authenticated again on its connection.
    SessionReauthenticated = "session_reauthenticated"
    /// The session could not authenticate again.
    SessionReauthenticationFailed = "session_reauthentication_failed" {
        /// Why. Unless the credentials could not be had, the connection is closed, which is told next.
        error: Error,
    }
    /// The connection ended.
    SessionDisconnected = "session_disconnected" {
        /// Why; `None` when it was asked for.
        error: Option<Error>,
        /// The reason code, when the server sent one.
        reason: Option<ReasonCode>,
    }
    /// The next attempt to connect is scheduled.
    SessionReconnecting = "session_reconnecting" {
        /// The number of the attempt to come.
        attempt: u32,
        /// How long until it starts.
        delay: Duration,
    }
    /// The session was added to the manager.
    SessionAdded = "session_added"
    /// The session was removed from the manager.
    SessionRemoved = "session_removed" {
        /// Accepted publishes that were not finished.
        unacknowledged: usize,
    }
    /// The status of the session changed.
    SessionStateChanged = "session_state_changed" {
        /// Before.
        old: SessionStatus,
        /// Now.
        new: SessionStatus,
    }
    /// The server has no session of ours any more although there was one.
    SessionLost = "session_lost" {
        /// Publishes that go out again as new messages.
        requeued: usize,
    }
    /// The server sent the session to another address.
    SessionRedirected = "session_redirected" {
        /// The addresses that it named, separated by spaces.
        server_reference: String,
        /// For good (0x9D): the session tries that address first from now on.
        permanent: bool,
    }
    /// The server refused a subscription.
    SubscriptionRefused = "subscription_refused" {
        /// The filter as subscribed.
        filter: String,
        /// Why.
        reason: ReasonCode,
        /// The server's explanation.
        reason_string: Option<String>,
    }
    /// Messages were given up. Many drops of one cause within a second make one event.
    MessageDropped = "message_dropped" {
        /// Why.
        reason: DropReason,
        /// How many since the last event of this cause.
        count: u64,
        /// The topic of the last one, when it is known.
        topic: Option<String>,
        /// The filter of the route that dropped them.
        route: Option<String>,
    }
    /// A message matched no route until `unrouted_hold` was over; it was acknowledged.
    MessageUnrouted = "message_unrouted" {
        /// Its topic.
        topic: String,
        /// How many since the last event.
        count: u64,
    }
    /// A handler panicked at every attempt; the message counts as handled.
    HandlerFailed = "handler_failed" {
        /// The filter of the route.
        route: String,
        /// The topic of the message.
        topic: String,
        /// The message itself, so that it can be kept elsewhere.
        payload: Bytes,
        /// What the handler panicked with, if it was text.
        panic: String,
        /// How often it was handed over.
        attempts: u32,
    }
    /// A route was added.
    RouteAdded = "route_added" {
        /// Its filter.
        filter: Arc<str>,
    }
    /// A route was stopped.
    RouteStopped = "route_stopped" {
        /// Its filter.
        filter: Arc<str>,
    }
    /// A forwarder started.
    ForwarderStarted = "forwarder_started" {
        /// Its name.
        forwarder: Arc<str>,
    }
    /// A forwarder stopped.
    ForwarderStopped = "forwarder_stopped" {
        /// Its name.
        forwarder: Arc<str>,
        /// Messages that were not acknowledged by their target; the source sends them again.
        unacknowledged: usize,
    }
    /// A forwarder gave messages up. Many drops of one cause within a second make one event.
    ForwarderMessageDropped = "forwarder_message_dropped" {
        /// Its name.
        forwarder: Arc<str>,
        /// Why, as in the metrics label.
        reason: &'static str,
        /// How many since the last event of this cause.
        count: u64,
        /// The source topic of the last one; empty for what was not told of when the forwarder stopped.
        topic: String,
    }
    /// A forwarder sends nothing: the session of a target was removed. It goes on when a session of that name is added, or with
    /// other rules.
    ForwarderBlocked = "forwarder_blocked" {
        /// The forwarder's name.
        forwarder: Arc<str>,
        /// The session that is missing.
        target: Arc<str>,
    }
    /// A target of a forwarder changed its session: away from one that was down, or back.
    ForwarderTargetChanged = "forwarder_target_changed" {
        /// The forwarder's name.
        forwarder: Arc<str>,
        /// The session that gives way.
        from: Arc<str>,
        /// The session that takes its place.
        to: Arc<str>,
        /// Messages that are sent again.
        again: usize,
    }
    /// A target of a forwarder was connected and did not acknowledge within `ack_timeout`: its session connects anew and
    /// sends again what is not acknowledged.
    ForwarderAckTimeout = "forwarder_ack_timeout" {
        /// The forwarder's name.
        forwarder: Arc<str>,
        /// The session that publishes.
        target: Arc<str>,
        /// How long it was waited for.
        after: Duration,
    }
    /// A message that a target had stored durably, which counts as forwarded, was not taken by its server.
    ForwarderDeliveryFailed = "forwarder_delivery_failed" {
        /// The forwarder's name.
        forwarder: Arc<str>,
        /// The session that had it.
        target: Arc<str>,
        /// The label of the reason, as in `mqtt_forwarder_failed_later_total`.
        reason: &'static str,
        /// Why, in words.
        error: String,
        /// The topic that it was published with.
        topic: String,
        /// What becomes of it: `dead-letter`; `lost`; or `kept`, by the store of the target's session, which sends it again
        /// once the process begins anew.
        outcome: &'static str,
    }
    /// The server refused a message for whose acknowledgement nobody waits.
    MessageRefused = "message_refused" {
        /// Its topic.
        topic: String,
        /// Why.
        reason: ReasonCode,
        /// The server's explanation.
        reason_string: Option<String>,
    }
    /// The store of the session failed: nothing further is kept, so nothing further is sent.
    StoreError = "store_error" {
        /// What failed.
        error: Error,
    }
    /// Somebody else opened the stored state of the session and owns it now; the session has stopped.
    SessionFenced = "session_fenced"
    /// Something that a person has to know about the store: damage that was found, and what it cost.
    StoreNotice = "store_notice" {
        /// What was found where, and what became of it.
        text: String,
        /// Records that are lost, as far as they can be counted.
        lost_records: u64,
    }
    /// The store has no room for messages, or has room again.
    StoreFull = "store_full" {
        /// Whether it is full now.
        full: bool,
    }
    /// The store cannot be reached; the session waits for it and sends nothing that is not stored.
    StoreUnavailable = "store_unavailable" {
        /// What failed.
        error: Error,
    }
    /// The store can be reached again.
    StoreAvailable = "store_available"
    /// Changed certificates and keys were taken: connections that begin from now on use them.
    TlsReloaded = "tls_reloaded" {
        /// The files that were read.
        files: Vec<PathBuf>,
    }
    /// Changed certificates or keys cannot be used: those of before stay, and the next change is tried again.
    TlsReloadFailed = "tls_reload_failed" {
        /// What is wrong with them.
        error: Error,
    }
    /// The connection is encrypted, but not checked: anybody could be the server. The options ask for that.
    TlsUnverified = "tls_unverified" {
        /// The broker's address, without credentials.
        broker: String,
    }
    /// A certificate, ours or a server's, will end soon, or has ended.
    CertificateExpires = "certificate_expires" {
        /// Whose it is.
        certificate: String,
        /// Its last moment.
        not_after: SystemTime,
        /// The time until then; 0 when it is over.
        remaining: Duration,
    }
    /// This subscriber was too slow and lost its oldest events.
    EventsLagged = "events_lagged" {
        /// How many.
        missed: u64,
    }
}

impl EventName {
    pub(super) const fn bit(self) -> u64 {
        1 << self as u32
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseEventNameError(String);

impl fmt::Display for ParseEventNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown event '{}': allowed are", self.0)?;
        for (i, name) in EventName::ALL.iter().enumerate() {
            write!(f, "{} {name}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl std::error::Error for ParseEventNameError {}

impl FromStr for EventName {
    type Err = ParseEventNameError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.iter().find(|name| name.as_str() == s);
        known.copied().ok_or_else(|| ParseEventNameError(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_fit_the_bit_set() {
        assert!(EventName::ALL.len() <= 64);
        for name in EventName::ALL {
            assert_eq!(name.as_str().parse(), Ok(*name));
        }
        let bits = EventName::ALL.iter().fold(0, |bits, name| bits | name.bit());
        assert_eq!(bits.count_ones() as usize, EventName::ALL.len());
    }

    #[test]
    fn unknown_name_lists_the_allowed_ones() {
        let error = "session_raedy".parse::<EventName>().unwrap_err().to_string();
        assert!(error.contains("'session_raedy'") && error.contains(" session_ready,"), "{error}");
    }
}
