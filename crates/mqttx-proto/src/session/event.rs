//! What the core tells its driver, and the errors of its commands.

use std::fmt;
use std::num::NonZeroU64;

use crate::{
    DecodeError, EncodeError, Hidden, PacketId, Properties, PropertyError, Publish, QoS,
    ReasonCode, TopicError,
};

use super::link::Limits;
use super::outgoing::FailedMessage;
use super::record::Lsn;

/// A value of the caller that comes back with the completion; [`NO_TOKEN`] when nobody waits. Messages that are to be told of
/// together may have the same one.
pub type Token = u64;

/// Nobody waits: no completion is produced.
pub const NO_TOKEN: Token = 0;

/// Something that happened to the session.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// CONNACK accepted the connection.
    Connected(Box<Connected>),
    /// The server asks for authentication data: the answer is [`Session::authenticate`](crate::Session::authenticate).
    Challenged {
        /// What it said.
        data: Option<Hidden>,
    },
    /// The server says that the authentication is over, before CONNACK counts or at the end of one that the session began.
    /// The answer is [`Session::confirm_authentication`](crate::Session::confirm_authentication) if this proves the server, or
    /// [`Session::fail_authentication`](crate::Session::fail_authentication).
    Authenticated {
        /// What it said.
        data: Option<Hidden>,
    },
    /// Every filter that was asked for has its SUBACK on this connection; nothing was left to ask for, maybe.
    Ready,
    /// The server granted a filter.
    Subscribed {
        /// The filter as asked for.
        filter: String,
        /// The granted level.
        granted: ReasonCode,
    },
    /// The server answered an unsubscribe.
    Unsubscribed {
        /// The filter as asked for.
        filter: String,
        /// An error, or [`ReasonCode::NO_SUBSCRIPTION_EXISTED`], or success.
        reason: ReasonCode,
    },
    /// The server refused a filter, or its CONNACK rules it out (then it was not sent).
    SubscriptionRefused {
        /// The filter as asked for.
        filter: String,
        /// Why.
        reason: ReasonCode,
        /// The server's own words.
        reason_string: Option<String>,
    },
    /// The connection has to be closed: flush what [`Session::poll_transmit`](crate::Session::poll_transmit) still gives,
    /// close the transport, call [`Session::handle_disconnected`](crate::Session::handle_disconnected).
    Closing(CloseCause),
    /// Messages that were accepted will not be sent.
    MessageDropped {
        /// Why.
        reason: DropReason,
        /// How many.
        count: usize,
    },
    /// The server refused a message for whose end nobody waits.
    MessageRefused {
        /// Where it was to go.
        topic: String,
        /// Why.
        reason: ReasonCode,
        /// The server's own words.
        reason_string: Option<String>,
    },
    /// A message with an [`Origin`](crate::Origin), for whose end nobody waits, was refused by the server or given up here.
    MessageFailed(Box<FailedMessage>),
    /// The server does not know the session that we had: unfinished messages go out as new ones.
    SessionLost {
        /// How many messages were in flight and are queued again.
        requeued: usize,
    },
}

/// The data of [`Event::Connected`].
#[derive(Debug, Clone)]
pub struct Connected {
    /// Whether the server resumed a session `[MQTT-3.2.2-2]`.
    pub session_present: bool,
    /// What this connection allows.
    pub limits: Limits,
    /// The properties of CONNACK.
    pub properties: Properties,
}

/// Why the core ends a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseCause {
    /// CONNACK with an error.
    Refused(Refusal),
    /// The server sent DISCONNECT.
    ServerDisconnect(Refusal),
    /// The server broke the protocol; in v5 a DISCONNECT with this reason is on its way.
    Protocol(DecodeError),
    /// No CONNACK in time.
    HandshakeTimeout,
    /// An authentication failed on our side: the application could not go on with it, or the server could not prove itself.
    Authentication(String),
    /// An authentication during the connection was not over in time.
    AuthenticationTimeout,
    /// No PINGRESP in time.
    KeepAliveTimeout,
    /// [`Session::disconnect`](crate::Session::disconnect).
    Requested,
    /// The configuration cannot be said in a CONNECT.
    InvalidConnect(String),
}

/// A server's "no".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code; 3.1.1 return codes are mapped to those of v5.
    pub reason: ReasonCode,
    /// The server's own words.
    pub reason_string: Option<String>,
    /// Where to connect instead.
    pub server_reference: Option<String>,
}

impl Refusal {
    pub(super) fn new(reason: ReasonCode, text: Option<&str>, reference: Option<&str>) -> Self {
        Self {
            reason,
            reason_string: text.map(str::to_owned),
            server_reference: reference.map(str::to_owned),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        if let Some(text) = &self.reason_string {
            write!(f, ": {text}")?;
        }
        if let Some(server) = &self.server_reference {
            write!(f, " (use server {server})")?;
        }
        Ok(())
    }
}

impl fmt::Display for CloseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "the server refused the connection: {refusal}"),
            Self::ServerDisconnect(refusal) => write!(f, "the server disconnected: {refusal}"),
            Self::Protocol(error) => write!(f, "the server broke the protocol: {error}"),
            Self::HandshakeTimeout => f.write_str("the server sent no CONNACK in time"),
            Self::Authentication(why) => write!(f, "the authentication failed: {why}"),
            Self::AuthenticationTimeout => {
                f.write_str("the server did not finish the authentication in time")
            }
            Self::KeepAliveTimeout => f.write_str("the server did not answer a ping in time"),
            Self::Requested => f.write_str("disconnected on request"),
            Self::InvalidConnect(why) => write!(f, "CONNECT cannot be encoded: {why}"),
        }
    }
}

/// The end of a publish, subscribe or unsubscribe that somebody waits for.
#[derive(Debug)]
pub struct Completion {
    /// The value given with the command.
    pub token: Token,
    /// How many commands it tells of: one, unless several messages with QoS 0 got the same token.
    pub count: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// PUBACK or PUBCOMP without an error.
    Acknowledged {
        /// [`ReasonCode::SUCCESS`] or [`ReasonCode::NO_MATCHING_SUBSCRIBERS`].
        reason: ReasonCode,
        /// The id that the message had.
        packet_id: PacketId,
    },
    /// QoS 0: the socket took it.
    Written,
    /// The server refused the message; it is not sent again.
    Refused {
        /// Why.
        reason: ReasonCode,
        /// The server's own words.
        reason_string: Option<String>,
        /// The id that the message had.
        packet_id: PacketId,
    },
    /// The message was given up here.
    Dropped(DropReason),
    /// The codes of SUBACK, in the order of the filters.
    Subscribed(Vec<ReasonCode>),
    /// The codes of UNSUBACK, in the order of the filters.
    Unsubscribed(Vec<ReasonCode>),
    /// QoS 0: the connection ended before the socket took it.
    ConnectionLost,
    /// The session was closed for good.
    Closed,
    /// The store failed before the command was finished: it may be known there, or not.
    StoreFailed,
}

/// Why an accepted message is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// Its time to live or message expiry ran out before it was sent.
    Expired,
    /// It made room for a newer one.
    Evicted,
    /// The store has it no more: it is damaged.
    Damaged,
    /// Larger than the server accepts.
    TooLarge {
        /// The packet's size in bytes.
        size: usize,
        /// The server's maximum.
        limit: u32,
    },
    /// The server's maximum QoS is lower.
    QoSNotSupported {
        /// The server's maximum.
        maximum: QoS,
    },
    /// The server retains nothing.
    RetainNotAvailable,
    /// The topic alias is above the server's maximum.
    TopicAlias {
        /// The alias asked for.
        alias: u16,
        /// The server's maximum.
        maximum: u16,
    },
    /// QoS 0: the connection ended before the socket took it.
    ConnectionLost,
}

impl DropReason {
    /// A short name for labels and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Evicted => "evicted",
            Self::Damaged => "damaged",
            Self::TooLarge { .. } => "too_large",
            Self::QoSNotSupported { .. } => "qos_not_supported",
            Self::RetainNotAvailable => "retain_not_available",
            Self::TopicAlias { .. } => "topic_alias_invalid",
            Self::ConnectionLost => "connection_lost",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("it expired before it could be sent"),
            Self::Damaged => f.write_str("its record in the store is damaged"),
            Self::Evicted => f.write_str("it made room for a newer message in a full outbox"),
            Self::TooLarge { size, limit } => {
                write!(
                    f,
                    "the packet of {size} bytes is larger than the server's maximum of {limit}"
                )
            }
            Self::QoSNotSupported { maximum } => {
                write!(f, "the server's maximum QoS is {maximum}")
            }
            Self::RetainNotAvailable => f.write_str("the server does not retain messages"),
            Self::TopicAlias { alias, maximum } => {
                write!(f, "topic alias {alias} is above the server's maximum of {maximum}")
            }
            Self::ConnectionLost => f.write_str("the connection ended before it was written"),
        }
    }
}

/// A publish that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The record that has to be durable before the application may be told "accepted"; zero: at once.
    pub lsn: Lsn,
    /// The size of the whole packet in bytes.
    pub packet_len: usize,
}

/// A publish that was not accepted; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// The outbox is at its bound.
    OutboxFull,
    /// The topic name is not valid.
    Topic(TopicError),
    /// A property is not allowed in PUBLISH, or a second time.
    Property(PropertyError),
    /// The packet cannot be encoded.
    Encode(EncodeError),
    /// This connection does not allow it.
    NotAllowed(DropReason),
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutboxFull => f.write_str("the outbox is full"),
            Self::Topic(e) => e.fmt(f),
            Self::Property(e) => e.fmt(f),
            Self::Encode(e) => e.fmt(f),
            Self::NotAllowed(reason) => reason.fmt(f),
        }
    }
}

impl std::error::Error for PublishError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::OutboxFull | Self::NotAllowed(_) => None,
            Self::Topic(e) => Some(e),
            Self::Property(e) => Some(e),
            Self::Encode(e) => Some(e),
        }
    }
}

/// A subscribe or unsubscribe that was not accepted; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeError {
    /// SUBSCRIBE and UNSUBSCRIBE need at least one filter `[MQTT-3.8.3-2]`.
    Empty,
    /// A filter is not valid.
    Filter {
        /// Which one.
        filter: String,
        /// Why.
        error: TopicError,
    },
    /// No-local with a shared subscription `[MQTT-3.8.3-4]`.
    NoLocalShared {
        /// Which filter.
        filter: String,
    },
    /// A property is not allowed here.
    Property(PropertyError),
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no filter given"),
            Self::Filter { filter, error } => write!(f, "filter '{filter}': {error}"),
            Self::NoLocalShared { filter } => {
                write!(f, "filter '{filter}': no-local is forbidden for a shared subscription")
            }
            Self::Property(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for SubscribeError {}

/// Names one received QoS 1 or 2 message towards [`Session::ack`](crate::Session::ack).
///
/// Packet id, whether it is one of QoS 2, and which delivery, in one word: it travels with every message, and a word stays in a
/// register, with or without a ticket in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AckTicket(NonZeroU64);

/// Deliveries that tickets tell apart.
const DELIVERIES: u64 = u64::MAX >> 17;

impl AckTicket {
    #[inline]
    pub(super) fn new(delivery: u64, id: PacketId, qos: QoS) -> Self {
        let twice = u64::from(qos == QoS::ExactlyOnce);
        Self(id.non_zero() | twice << 16 | delivery << 17)
    }

    pub(super) fn id(self) -> Option<PacketId> {
        PacketId::new(self.0.get() as u16)
    }

    #[inline]
    pub(super) fn is_exactly_once(self) -> bool {
        self.0.get() >> 16 & 1 == 1
    }

    #[inline]
    pub(super) fn is_of(self, delivery: u64) -> bool {
        self.0.get() >> 17 == delivery & DELIVERIES
    }

    /// How many deliveries after that one; of one before it, very many.
    #[inline]
    pub(super) fn after(self, delivery: u64) -> usize {
        let after = (self.0.get() >> 17).wrapping_sub(delivery) & DELIVERIES;
        usize::try_from(after).unwrap_or(usize::MAX)
    }
}

/// One PUBLISH to deliver; borrows from the input that carried it.
#[derive(Debug)]
pub struct Inbound<'a> {
    /// What [`Session::ack`](crate::Session::ack) wants once everybody is done; `None` for QoS 0.
    pub ticket: Option<AckTicket>,
    /// The size of the whole packet in bytes.
    pub packet_len: usize,
    pub(super) publish: Publish<'a>,
    pub(super) topic: Option<std::sync::Arc<str>>,
}

impl Inbound<'_> {
    /// The message, its topic alias resolved.
    #[must_use]
    #[inline]
    pub fn publish(&self) -> Publish<'_> {
        match &self.topic {
            Some(topic) => Publish { topic, ..self.publish },
            None => self.publish,
        }
    }
}

#[cfg(test)]
#[test]
fn a_ticket_names_its_delivery_also_when_they_begin_again() {
    let id = PacketId::new(u16::MAX).unwrap();
    for delivery in [0, 7, DELIVERIES - 1, DELIVERIES, DELIVERIES + 1] {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let ticket = AckTicket::new(delivery, id, qos);
            assert_eq!(
                (ticket.id(), ticket.is_exactly_once()),
                (Some(id), qos == QoS::ExactlyOnce)
            );
            assert!(ticket.is_of(delivery) && !ticket.is_of(delivery + 1));
            assert_eq!(ticket.after(delivery), 0);
            assert!(ticket.after(delivery + 1) > 1 << 31, "it is before");
            let third = AckTicket::new(delivery + 3, id, qos);
            assert_eq!(third.after(delivery), 3);
        }
    }
}
