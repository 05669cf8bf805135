//! A line for every packet: `-d`, and the daemon's level of `mqttx::wire`.

use mqttx::WireLog;
use mqttx::proto::packet::{Packet, PacketType, decode};
use mqttx::proto::{FrameStatus, Version, frame};

use crate::exit::warn;

/// Writes direction, packet type, size, and what else helps; never a password.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StderrLog(pub(crate) Version);

impl WireLog for StderrLog {
    fn sent(&self, session: &str, packets: &[u8]) {
        each(self.0, "sent", packets, |line| warn(format_args!("{session}: {line}")));
    }

    fn received(&self, session: &str, packets: &[u8]) {
        each(self.0, "received", packets, |line| warn(format_args!("{session}: {line}")));
    }
}

/// The same for the daemon's log, as the level of `mqttx::wire` says at the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TracedLog(pub(crate) Version);

impl WireLog for TracedLog {
    fn is_enabled(&self) -> bool {
        tracing::enabled!(target: WIRE, tracing::Level::DEBUG)
    }

    fn sent(&self, session: &str, packets: &[u8]) {
        each(self.0, "sent", packets, |line| tracing::debug!(target: WIRE, session, "{line}"));
    }

    fn received(&self, session: &str, packets: &[u8]) {
        each(self.0, "received", packets, |line| tracing::debug!(target: WIRE, session, "{line}"));
    }
}

/// What levels of the daemon's log call packets.
pub(crate) const WIRE: &str = "mqttx::wire";

/// One line for each packet.
fn each(version: Version, direction: &str, mut packets: &[u8], line: impl Fn(String)) {
    while let Ok(FrameStatus::Complete(found)) = frame(packets, version, u32::MAX) {
        let Some((packet, rest)) = packets.split_at_checked(found.total_len) else { break };
        let body = packet.get(found.header_len..).unwrap_or_default();
        let name = PacketType::from_first_byte(found.first_byte).map_or("?", PacketType::name);
        let details = match decode(version, found.first_byte, body) {
            Ok(packet) => describe(&packet),
            Err(error) => format!(" malformed: {error}"),
        };
        line(format!("{direction} {name}{details}, {} bytes", packet.len()));
        packets = rest;
    }
    if !packets.is_empty() {
        line(format!("{direction} {} bytes that are no packet", packets.len()));
    }
}

fn describe(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Connect(connect) => format!(
            " id '{}', clean start {}, keep-alive {} s",
            connect.client_id,
            connect.clean_start,
            connect.keep_alive.as_secs()
        ),
        Packet::ConnAck(connack) => {
            format!(" {}, session present {}", connack.reason, connack.session_present)
        }
        Packet::Publish(publish) => {
            let id = publish.packet_id.map_or_else(String::new, |id| format!(" {id}"));
            format!(
                "{id} '{}', QoS {}, retain {}, dup {}, payload of {} bytes",
                publish.topic,
                publish.qos,
                publish.retain,
                publish.dup,
                publish.payload.len()
            )
        }
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            format!(" {} {}", ack.packet_id, ack.reason)
        }
        Packet::Subscribe(subscribe) => {
            let filters: Vec<_> = subscribe
                .filters
                .iter()
                .map(|f| format!(" '{}' QoS {}", f.filter, f.options.qos))
                .collect();
            format!(" {}{}", subscribe.packet_id, filters.join(","))
        }
        Packet::SubAck(ack) | Packet::UnsubAck(ack) => {
            let codes: Vec<_> = ack.reasons().map(|code| format!(" {code}")).collect();
            format!(" {}{}", ack.packet_id, codes.join(","))
        }
        Packet::Unsubscribe(unsubscribe) => format!(" {}", unsubscribe.packet_id),
        Packet::Disconnect(disconnect) => format!(" {}", disconnect.reason),
        Packet::Auth(auth) => format!(" {}", auth.reason),
        Packet::PingReq | Packet::PingResp => String::new(),
    }
}
