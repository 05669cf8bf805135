//! Everything that is valid for ONE network connection; dropped with it, so that nothing stale survives.

use std::time::Instant;

use crate::write_queue::WriteQueue;
use crate::{KeepAlive, QoS, ReasonCode, SessionExpiry};

use super::alias::InboundAliases;
use super::auth::Exchange;
use super::config::Config;
use super::event::Token;
use super::handshake;
use super::record::Lsn;
use super::timer::Timer;
use super::unwritten::Unwritten;

/// What the server allows on this connection, from CONNACK; the defaults of the specification where it says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Unfinished QoS 1 and 2 messages that the server accepts at once.
    pub receive_maximum: u16,
    /// The highest level that may be published.
    pub maximum_qos: QoS,
    /// Whether messages may be published with retain.
    pub retain_available: bool,
    /// The largest packet that the server accepts, in bytes.
    pub maximum_packet_size: u32,
    /// The highest topic alias that may be sent; 0: none.
    pub topic_alias_maximum: u16,
    /// Whether filters may contain wildcards.
    pub wildcard_subscriptions: bool,
    /// Whether SUBSCRIBE may carry a subscription identifier; never in 3.1.1.
    pub subscription_identifiers: bool,
    /// Whether `$share` filters are served. True in 3.1.1, which cannot say.
    pub shared_subscriptions: bool,
    /// In effect: the server's, when it set one.
    pub keep_alive: KeepAlive,
    /// In effect: the server's, when it set one.
    pub session_expiry: SessionExpiry,
    /// One word in the many connections on which the server says nothing of it.
    pub(super) texts: Option<Box<Texts>>,
}

/// What a CONNACK seldom says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Texts {
    assigned_client_id: Option<Box<str>>,
    response_information: Option<Box<str>>,
    server_reference: Option<Box<str>>,
}

impl Limits {
    /// The client id that the server chose.
    #[must_use]
    pub fn assigned_client_id(&self) -> Option<&str> {
        self.texts.as_ref()?.assigned_client_id.as_deref()
    }

    /// Basis for response topics.
    #[must_use]
    pub fn response_information(&self) -> Option<&str> {
        self.texts.as_ref()?.response_information.as_deref()
    }

    /// Another server to use.
    #[must_use]
    pub fn server_reference(&self) -> Option<&str> {
        self.texts.as_ref()?.server_reference.as_deref()
    }

    pub(crate) fn set_assigned_client_id(&mut self, id: &str) {
        self.texts.get_or_insert_default().assigned_client_id = Some(id.into());
    }

    pub(crate) fn set_response_information(&mut self, information: &str) {
        self.texts.get_or_insert_default().response_information = Some(information.into());
    }

    pub(crate) fn set_server_reference(&mut self, server: &str) {
        self.texts.get_or_insert_default().server_reference = Some(server.into());
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            receive_maximum: u16::MAX,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            maximum_packet_size: u32::MAX,
            topic_alias_maximum: 0,
            wildcard_subscriptions: true,
            subscription_identifiers: true,
            shared_subscriptions: true,
            keep_alive: KeepAlive::OFF,
            session_expiry: SessionExpiry::ZERO,
            texts: None,
        }
    }
}

/// How far the connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// CONNECT is sent.
    Handshake,
    /// CONNACK accepted.
    Online,
    /// CONNACK accepted, and its proof of the server is being judged.
    Verifying,
    /// Only what is encoded already may still be written.
    Closing,
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) stage: Stage,
    /// The broker address, as the driver numbers them.
    pub(crate) broker: u64,
    /// Every desired filter was granted or refused on this connection.
    pub(crate) ready: bool,
    /// The server kept our session, or seems to: on record only once it has all filters.
    pub(crate) resuming: bool,
    pub(crate) limits: Limits,
    pub(crate) timer: Timer,
    pub(crate) aliases: InboundAliases,
    /// Our own topic alias maximum.
    pub(crate) alias_maximum: u16,
    pub(crate) writes: WriteQueue,
    /// Enhanced authentication, where CONNECT asked for it.
    pub(crate) exchange: Option<Box<Exchange>>,
    /// The server answered CONNECT, and the answer counts.
    pub(crate) answered: bool,
    /// Nothing leaves before this record is durable.
    pub(crate) hold_until: Lsn,
    /// Packets carry reason codes and properties, so that a fault of the server is answered with DISCONNECT and a code.
    pub(crate) has_reasons: bool,
    /// Our own maximum packet size, in bytes.
    pub(crate) accepts_packets_up_to: u32,
    /// Our own Receive Maximum; `None`: not announced or not enforced, so never exceeded.
    pub(crate) receive_maximum: Option<u16>,
    /// QoS 1 and 2 messages of the server that are not finished on this connection.
    pub(crate) unfinished_inbound: usize,
    /// Bytes handed to the driver so far.
    taken: u64,
    /// Bytes that the socket took so far.
    written: u64,
    write_limit: u64,
    /// QoS 0 messages that the socket has not taken completely.
    unwritten: Unwritten,
}

impl Link {
    pub(crate) fn new(config: &Config, now: Instant, broker: u64) -> Self {
        let limits_of_ours = handshake::announced(config);
        Self {
            stage: Stage::Handshake,
            broker,
            ready: false,
            resuming: false,
            limits: Limits::default(),
            timer: Timer::new(now, config.handshake_timeout),
            aliases: InboundAliases::default(),
            alias_maximum: limits_of_ours.topic_alias_maximum,
            writes: WriteQueue::default(),
            exchange: handshake::exchange(config),
            answered: false,
            hold_until: 0,
            has_reasons: limits_of_ours.has_reasons,
            accepts_packets_up_to: limits_of_ours.maximum_packet_size,
            receive_maximum: limits_of_ours.receive_maximum,
            unfinished_inbound: 0,
            taken: 0,
            written: 0,
            write_limit: config.write_buffer_limit as u64,
            unwritten: Unwritten::default(),
        }
    }

    /// Whether the next packet may be taken.
    pub(crate) fn takes_input(&self) -> bool {
        matches!(self.stage, Stage::Handshake | Stage::Online)
    }

    #[inline(always)]
    pub(crate) fn is_online(&self) -> bool {
        self.stage == Stage::Online
    }

    /// The position in the stream behind everything encoded so far.
    #[inline(always)]
    pub(crate) fn position(&self) -> u64 {
        self.taken + self.writes.len() as u64
    }

    /// Whether the socket keeps up, so that another PUBLISH may be encoded.
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.position() - self.written < self.write_limit
    }

    pub(crate) fn everything_written(&self) -> bool {
        self.position() == self.written
    }

    /// A QoS 0 message of `len` bytes was encoded last.
    #[inline(always)]
    pub(crate) fn on_qos0_encoded(&mut self, len: u32, token: Token) {
        self.unwritten.push(self.position(), len, token);
    }

    pub(crate) fn on_taken(&mut self, bytes: usize) {
        self.taken += bytes as u64;
    }

    pub(crate) fn on_written(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    /// Who waits for the next QoS 0 messages that the socket took completely, and how many those are.
    pub(crate) fn next_written(&mut self) -> Option<(Token, u64)> {
        self.unwritten.pop(self.written)
    }

    /// How many QoS 0 messages the socket did not take completely, and who waits for how many of them.
    pub(crate) fn take_unwritten(&mut self) -> (u64, impl Iterator<Item = (Token, u64)> + use<>) {
        let unwritten = std::mem::take(&mut self.unwritten);
        (unwritten.count(self.written), unwritten.into_tokens(self.written))
    }

    pub(crate) fn has_unwritten_messages(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Gives memory that bursts needed back.
    pub(crate) fn shrink(&mut self) {
        if self.unwritten.is_empty() {
            self.unwritten = Unwritten::default();
        }
        if self.writes.is_empty() {
            self.writes = WriteQueue::default();
        }
    }

    /// The reason codes of CONNACK that rule a filter out, before it is sent.
    pub(crate) fn refuses_filter(&self, filter: &str, has_identifier: bool) -> Option<ReasonCode> {
        let limits = &self.limits;
        if !limits.wildcard_subscriptions && crate::has_wildcard(filter) {
            Some(ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED)
        } else if !limits.shared_subscriptions && filter.starts_with("$share/") {
            Some(ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED)
        } else if !limits.subscription_identifiers && has_identifier {
            Some(ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED)
        } else {
            None
        }
    }
}
