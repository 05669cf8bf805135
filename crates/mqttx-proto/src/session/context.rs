//! What the components of a session share: the connection, ids, records, and what is to be told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::{DecodeError, Disconnect, PacketType, PropertiesRef, ReasonCode};

use super::config::Config;
use super::event::{CloseCause, Completion, Event, NO_TOKEN, Outcome, Token};
use super::lazy::SeldomQueue;
use super::link::{Link, Stage};
use super::packet_ids::PacketIds;
use super::record::{Journal, Record};

/// What every component may need: the connection, ids, records, and what is to be told.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) config: Arc<Config>,
    /// `Some` between `handle_connected` and `handle_disconnected`.
    pub(super) link: Option<Box<Link>>,
    pub(super) ids: PacketIds,
    pub(super) journal: Journal,
    pub(super) events: SeldomQueue<Event>,
    pub(super) completions: VecDeque<Completion>,
}

impl Context {
    /// The instant of a Unix time in milliseconds.
    pub(super) fn clock_instant(&self, unix_ms: u64) -> Option<Instant> {
        self.config.clock?.instant(unix_ms)
    }

    /// The server was asked for all filters and answered: said once on each connection.
    pub(super) fn subscribed(&mut self) {
        let Some(link) = self.link.as_mut().filter(|link| link.is_online() && !link.ready) else {
            return;
        };
        link.ready = true;
        if std::mem::take(&mut link.resuming) {
            self.journal.push(|| Record::Resumed);
        }
        self.events.push_back(Event::Ready);
    }

    #[inline]
    pub(super) fn complete(&mut self, token: Token, outcome: Outcome) {
        self.complete_all(token, 1, outcome);
    }

    /// The end of so many commands with one token.
    #[inline]
    pub(super) fn complete_all(&mut self, token: Token, count: u64, outcome: Outcome) {
        if token != NO_TOKEN {
            self.completions.push_back(Completion { token, count, outcome });
        }
    }

    /// Ends the connection; with something on its way the driver flushes first.
    pub(super) fn close(&mut self, cause: CloseCause) {
        if let Some(link) = self.link.as_mut().filter(|link| link.stage != Stage::Closing) {
            link.stage = Stage::Closing;
            self.events.push_back(Event::Closing(cause));
        }
    }

    pub(super) fn disconnect(
        &mut self,
        reason: ReasonCode,
        properties: PropertiesRef<'_>,
        cause: CloseCause,
    ) {
        let version = self.config.version;
        if let Some(link) = self.link.as_mut().filter(|link| link.stage != Stage::Closing) {
            // Properties that are too long for the packet or the server are left out rather than the packet.
            let full = Disconnect { reason, properties };
            let limit = link.limits.maximum_packet_size as usize;
            let out = link.writes.bytes_mut();
            let before = out.len();
            if full.encode(version, out).is_err() || out.len() - before > limit {
                out.truncate(before);
                let _ = Disconnect::new(reason).encode(version, out);
            }
        }
        self.close(cause);
    }

    /// The peer broke the protocol `[MQTT-4.13.1-1]`.
    pub(super) fn fault(&mut self, error: DecodeError) {
        let cause = CloseCause::Protocol(error);
        if self.link.as_ref().is_some_and(|link| link.has_reasons) {
            // Some faults have a code of their own that DISCONNECT may not carry, such as a CONNECT of another version.
            let reason = Some(error.reason).filter(|r| r.is_valid_in(PacketType::Disconnect));
            let reason = reason.unwrap_or(ReasonCode::PROTOCOL_ERROR);
            self.disconnect(reason, PropertiesRef::EMPTY, cause);
        } else {
            self.close(cause);
        }
    }
}
