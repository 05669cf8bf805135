//! Messages for whose end nobody waits any more, and that fail all the same: their origin gets them back.

use bytes::Bytes;

use super::encoded::overwrite;
use super::{Entry, Outbox};
use crate::session::Context;
use crate::session::event::{DropReason, NO_TOKEN, Outcome};
use crate::session::record::{Origin, Sequence};
use crate::{Properties, Publish, QoS, Reader};

/// A message that was accepted, and that the server does not take.
#[derive(Debug)]
pub struct FailedMessage {
    /// Who asked for it.
    pub origin: Origin,
    /// `Some`: it is as bad at any other time. The store has it as a queued message, and a process that begins anew sends it
    /// again, until [`Session::forget`](crate::Session::forget) is called with this. `None`: it is gone.
    pub sequence: Option<Sequence>,
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Bytes,
    /// Its level.
    pub qos: QoS,
    /// Whether the server was to retain it.
    pub retain: bool,
    /// Its properties as they were given; none in 3.1.1.
    pub properties: Properties,
    /// What became of it: [`Outcome::Refused`] or [`Outcome::Dropped`].
    pub outcome: Outcome,
}

impl Outbox {
    /// What to tell the origin of a message that fails.
    #[cold]
    pub(super) fn failed(
        &self,
        cx: &Context,
        entry: &Entry,
        outcome: &Outcome,
    ) -> Option<Box<FailedMessage>> {
        let origin = entry.encoded.origin.filter(|_| entry.token == NO_TOKEN)?;
        let kept = match outcome {
            Outcome::Refused { .. } => true,
            Outcome::Dropped(reason) => is_lasting(*reason),
            _ => return None,
        };
        let mut packet = self.arena.get(entry.encoded.span).to_vec();
        // Any id makes it a packet: in the outbox it has none.
        overwrite(&mut packet, entry.encoded.id_offset as usize, &[0, 1]);
        let mut reader = Reader::new(&packet);
        let flags = reader.u8().ok()? & 0x0f;
        reader.varint().ok()?;
        let publish = Publish::decode(cx.config.version, flags, reader.rest()).ok()?;
        let payload = entry.encoded.payload.clone();
        Some(Box::new(FailedMessage {
            origin,
            sequence: kept.then_some(entry.sequence),
            topic: publish.topic.to_owned(),
            payload: payload.unwrap_or_else(|| Bytes::copy_from_slice(publish.payload)),
            qos: publish.qos,
            retain: publish.retain,
            properties: publish.properties.to_owned(),
            outcome: outcome.clone(),
        }))
    }
}

/// Whether the message is as bad at any other time.
fn is_lasting(reason: DropReason) -> bool {
    match reason {
        DropReason::TooLarge { .. }
        | DropReason::QoSNotSupported { .. }
        | DropReason::RetainNotAvailable
        | DropReason::TopicAlias { .. } => true,
        DropReason::Expired
        | DropReason::Evicted
        | DropReason::Damaged
        | DropReason::ConnectionLost => false,
    }
}
