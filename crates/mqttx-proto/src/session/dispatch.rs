//! Received packets: each to the component that it concerns.

use std::time::Instant;

use crate::packet::{Known, Packet, decode};
use crate::{
    Ack, ConnAck, DecodeError, Disconnect, PacketId, PacketType, Publish, ReasonCode, SubAck,
};

use super::Session;

const PUBLISH: u8 = PacketType::Publish as u8;
const PUBACK: u8 = PacketType::PubAck as u8;
use super::event::{CloseCause, Connected, Event, Inbound, Refusal};
use super::handshake;
use super::incoming::{Incoming, encode_ack};
use super::link::Stage;
use super::outgoing::Outbox;
use super::packet_ids::Owner;
use super::record::Record;

impl Session {
    pub(super) fn on_packet<'a>(
        &mut self,
        now: Instant,
        first_byte: u8,
        body: &'a [u8],
        packet_len: usize,
        inbound: &mut Vec<Inbound<'a>>,
    ) -> Result<(), DecodeError> {
        let version = self.cx.config.version;
        let online = self.cx.link.as_ref().is_some_and(|link| link.is_online());
        // The two packets of the message path go past the general decoder.
        match first_byte >> 4 {
            PUBLISH if online => {
                let known =
                    inbound.last().map_or_else(Known::default, |last| Known::from(&last.publish));
                let publish = Publish::decode_after(version, first_byte & 0x0f, body, known)?;
                return self.on_publish(publish, packet_len, inbound);
            }
            PUBACK if online => {
                let ack = Ack::decode(PacketType::PubAck, version, first_byte & 0x0f, body)?;
                return self.on_ack(now, PacketType::PubAck, &ack);
            }
            _ => {}
        }
        let packet = decode(version, first_byte, body)?;
        if !online {
            return match packet {
                Packet::ConnAck(connack) => self.on_connack(&connack),
                Packet::Auth(auth) => self.on_auth(&auth),
                _ => Err(DecodeError::protocol("the first packet is not CONNACK")),
            };
        }
        match packet {
            Packet::PubRec(ack) => self.on_ack(now, PacketType::PubRec, &ack),
            Packet::PubComp(ack) => self.on_ack(now, PacketType::PubComp, &ack),
            Packet::PubRel(ack) => {
                self.incoming.on_pubrel(&mut self.cx, ack.packet_id);
                Ok(())
            }
            Packet::SubAck(ack) => self.on_suback(&ack, false),
            Packet::UnsubAck(ack) => self.on_suback(&ack, true),
            Packet::PingResp => {
                if let Some(link) = self.cx.link.as_mut() {
                    link.timer.on_ping_response();
                }
                Ok(())
            }
            Packet::Disconnect(disconnect) => self.on_disconnect(&disconnect),
            Packet::Auth(auth) => self.on_auth(&auth),
            Packet::ConnAck(_) => Err(DecodeError::protocol("a second CONNACK")),
            _ => Err(DecodeError::protocol("a packet that only clients send")),
        }
    }

    fn on_connack(&mut self, connack: &ConnAck<'_>) -> Result<(), DecodeError> {
        if connack.reason.is_error() {
            let refusal = Refusal::new(
                connack.reason,
                connack.properties.reason_string(),
                connack.properties.server_reference(),
            );
            if let Some(link) = self.cx.link.as_mut() {
                link.answered = true;
            }
            self.cx.close(CloseCause::Refused(refusal));
            return Ok(());
        }
        if self.holds_connack(connack)? { Ok(()) } else { self.on_accepted(connack) }
    }

    /// The connection counts.
    pub(super) fn on_accepted(&mut self, connack: &ConnAck<'_>) -> Result<(), DecodeError> {
        let limits = handshake::accept(&self.cx.config, connack)?;
        let Some(link) = self.cx.link.as_mut() else { return Ok(()) };
        (link.stage, link.answered) = (Stage::Online, true);
        link.timer.start_keep_alive(limits.keep_alive);
        if let Some(id) = limits.assigned_client_id() {
            self.continuity.assigned_client_id = id.into();
        }
        link.limits = limits.clone();
        let broker = link.broker;
        self.cx.events.push_back(Event::Connected(Box::new(Connected {
            session_present: connack.session_present,
            limits,
            properties: connack.properties.to_owned(),
        })));
        self.resume(connack.session_present, broker);
        Ok(())
    }

    /// Decides whether the server's session is ours, and goes on accordingly.
    ///
    /// Session present counts only from the broker that gave the session, unless all of them share it. A session of which we
    /// know nothing is kept (ending it would lose what the server queued), but nothing of ours is in it.
    fn resume(&mut self, session_present: bool, broker: u64) {
        let same = self.cx.config.shared_session || self.continuity.broker == broker;
        let kept = session_present && self.continuity.known && same;
        if kept {
            self.outbox.used().into_iter().for_each(Outbox::on_session_resumed);
        } else {
            // A session that is not ours may have messages of others: that concerns the first message, too.
            let outbox = if session_present { Some(&mut *self.outbox) } else { self.outbox.used() };
            let requeued =
                outbox.map_or(0, |outbox| outbox.on_session_lost(&mut self.cx, session_present));
            self.incoming.used().into_iter().for_each(Incoming::on_session_lost);
            if self.continuity.known {
                self.cx.events.push_back(Event::SessionLost { requeued });
            }
            self.continuity.epoch += 1;
            let (epoch, client_id) = (self.continuity.epoch, self.client_id().to_owned());
            self.cx.journal.push(|| Record::Epoch { epoch, broker, client_id: &client_id });
        }
        self.continuity.known = true;
        self.continuity.broker = broker;
        // After a CONNECT without an answer "session present" may mean a session without our filters: ask for them again.
        let unanswered = std::mem::take(&mut self.continuity.unanswered);
        if kept && unanswered {
            self.incoming.used().into_iter().for_each(Incoming::on_session_doubtful);
        }
        if let Some(link) = self.cx.link.as_mut() {
            link.resuming = kept;
        }
        match self.subscriptions.used() {
            Some(these) => these.on_connected(&mut self.cx, kept, kept && !unanswered),
            None => self.cx.subscribed(),
        }
    }

    #[inline(always)]
    fn on_publish<'a>(
        &mut self,
        publish: Publish<'a>,
        packet_len: usize,
        inbound: &mut Vec<Inbound<'a>>,
    ) -> Result<(), DecodeError> {
        let alias =
            if publish.properties.is_empty() { None } else { publish.properties.topic_alias() };
        let mut topic = None;
        if let Some(alias) = alias
            && let Some(link) = self.cx.link.as_mut()
        {
            topic = link.aliases.resolve(link.alias_maximum, alias, publish.topic)?;
        }
        self.admit(publish, topic, packet_len, inbound)
    }

    fn on_ack(
        &mut self,
        now: Instant,
        packet: PacketType,
        ack: &Ack<'_>,
    ) -> Result<(), DecodeError> {
        let Some(owner) = self.cx.ids.owner(ack.packet_id) else {
            self.on_unknown_ack(packet, ack.packet_id);
            return Ok(());
        };
        let fits = match owner {
            Owner::Operation(_) => false,
            Owner::Publish(sequence) => match packet {
                PacketType::PubAck => self.outbox.on_puback(&mut self.cx, sequence, ack),
                PacketType::PubRec => self.outbox.on_pubrec(&mut self.cx, sequence, ack),
                _ => self.outbox.on_pubcomp(&mut self.cx, now, sequence, ack),
            },
        };
        if fits {
            Ok(())
        } else {
            Err(DecodeError::protocol("an acknowledgement that does not fit its packet id"))
        }
    }

    /// An acknowledgement of nothing that we know. A PUBREC is answered, so that the server can finish; the others ask for nothing.
    fn on_unknown_ack(&mut self, packet: PacketType, id: PacketId) {
        let version = self.cx.config.version;
        if let (PacketType::PubRec, Some(link)) = (packet, self.cx.link.as_mut()) {
            let reason = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
            encode_ack(link, version, PacketType::PubRel, id, reason);
        }
    }

    fn on_suback(&mut self, ack: &SubAck<'_>, unsubscribed: bool) -> Result<(), DecodeError> {
        match self.cx.ids.owner(ack.packet_id) {
            Some(Owner::Operation(number)) => {
                self.subscriptions.on_suback(&mut self.cx, number, ack, unsubscribed)
            }
            Some(Owner::Publish(_)) => {
                Err(DecodeError::protocol("an acknowledgement that does not fit its packet id"))
            }
            None => Ok(()),
        }
    }

    fn on_disconnect(&mut self, disconnect: &Disconnect<'_>) -> Result<(), DecodeError> {
        if !self.cx.link.as_ref().is_some_and(|link| link.has_reasons) {
            return Err(DecodeError::protocol("DISCONNECT from the server"));
        }
        if disconnect.reason == ReasonCode::DISCONNECT_WITH_WILL {
            return Err(DecodeError::protocol("DISCONNECT with a reason that only clients give"));
        }
        let refusal = Refusal::new(
            disconnect.reason,
            disconnect.properties.reason_string(),
            disconnect.properties.server_reference(),
        );
        self.cx.close(CloseCause::ServerDisconnect(refusal));
        Ok(())
    }
}
