//! What a store must keep so that the session survives the process.

use bytes::Bytes;

use crate::{PacketId, Properties, QoS, SubscribeOptions};

/// The position of a record in the session's own log: 1, 2, 3, …; 0 is before the first.
pub type Lsn = u64;

/// The position that every record has reached when nothing is journaled.
pub(crate) const EVERYTHING: Lsn = Lsn::MAX;

/// One change of the durable session state. Records are applied in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// A QoS 1 or 2 message was accepted.
    Enqueue {
        /// Its place in the order of the outbox.
        sequence: u64,
        /// The message.
        message: Box<StoredMessage>,
    },
    /// The message got a packet id; every transmission uses it `[MQTT-4.4.0-1]`.
    Assign {
        /// Which message.
        sequence: u64,
        /// Its id.
        id: PacketId,
    },
    /// PUBREC arrived: only PUBREL may be sent from here on.
    Release {
        /// Which message.
        sequence: u64,
    },
    /// The message is finished: acknowledged, refused or dropped.
    Done {
        /// Which message.
        sequence: u64,
    },
    /// The message was in flight when the server lost the session: it is queued again as a new one.
    Requeue {
        /// Which message.
        sequence: u64,
    },
    /// An inbound QoS 2 message was delivered; its PUBREC is on the way.
    Received {
        /// Its id.
        id: PacketId,
    },
    /// PUBREL arrived: the id may be used again.
    Forgotten {
        /// The id.
        id: PacketId,
    },
    /// A filter was added to the desired set, or replaced.
    Subscribe {
        /// The filter.
        filter: String,
        /// Its options.
        options: SubscribeOptions,
        /// Its subscription identifier.
        identifier: Option<u32>,
    },
    /// The server granted a desired filter: it is in the session of this epoch.
    Granted {
        /// The filter.
        filter: String,
    },
    /// A filter was removed from the desired set.
    Unsubscribe {
        /// The filter.
        filter: String,
    },
    /// The server confirmed or began a session: all inbound ids of earlier ones are void.
    Epoch {
        /// Counts sessions, from 1.
        epoch: u64,
        /// The broker address that holds the session, as given to `handle_connected`.
        broker: u64,
        /// The client id in use, assigned by the server maybe.
        client_id: String,
    },
}

/// A message as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Where it goes.
    pub topic: String,
    /// What it carries.
    pub payload: Bytes,
    /// 1 or 2.
    pub qos: QoS,
    /// Whether the server retains it.
    pub retain: bool,
    /// Its v5 properties.
    pub properties: Properties,
}

/// The records of one session that the driver has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    enabled: bool,
    records: Vec<Record>,
    last: Lsn,
    written: Lsn,
    synced: Lsn,
}

impl Journal {
    pub(crate) fn new(enabled: bool) -> Self {
        let reached = if enabled { 0 } else { EVERYTHING };
        Self { enabled, records: Vec::new(), last: 0, written: reached, synced: reached }
    }

    /// Appends the record; with journaling off it is not even built.
    pub(crate) fn push(&mut self, record: impl FnOnce() -> Record) -> Lsn {
        if !self.enabled {
            return 0;
        }
        self.records.push(record());
        self.last += 1;
        self.last
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn handle_stored(&mut self, written: Lsn, synced: Lsn) {
        if self.enabled {
            self.written = self.written.max(written);
            self.synced = self.synced.max(synced);
        }
    }

    pub(crate) fn is_written(&self, lsn: Lsn) -> bool {
        lsn <= self.written
    }

    pub(crate) fn is_synced(&self, lsn: Lsn) -> bool {
        lsn <= self.synced
    }

    /// Moves the records to `out` and returns the position of the last one.
    pub(crate) fn take(&mut self, out: &mut Vec<Record>) -> Lsn {
        out.append(&mut self.records);
        self.last
    }
}
