//! What a store must keep so that the session survives the process.
//!
//! A [`Record`] is one change of the durable state, a [`RecordBatch`] some of them as bytes. The session appends to a batch
//! without an allocation per record; a store may keep the bytes of each record as they are.

mod batch;
mod codec;
mod journal;

use std::fmt;
use std::num::NonZeroU32;

use crate::{PacketId, PropertiesRef, QoS, ReasonCode, SubscribeOptions};

pub use batch::{RecordBatch, Records};
pub use codec::RecordError;
pub(crate) use journal::Journal;

/// The position of a record in the log of one life of a session: 1, 2, 3, …; 0 is before the first.
pub type Lsn = u64;

/// One change of the durable session state. Records are applied in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record<'a> {
    /// A QoS 1 or 2 message was accepted.
    Enqueue {
        /// Its name, and its place among the messages of its priority.
        sequence: Sequence,
        /// The message.
        message: StoredMessage<'a>,
    },
    /// The message got a packet id; every transmission uses it `[MQTT-4.4.0-1]`.
    Assign {
        /// Which message.
        sequence: Sequence,
        /// Its id.
        id: PacketId,
        /// Rises with every assignment: the order in which messages are sent, and sent again.
        order: u64,
    },
    /// PUBREC arrived: only PUBREL may be sent from here on.
    Release {
        /// Which message.
        sequence: Sequence,
    },
    /// The message is finished: acknowledged, refused or dropped.
    Done {
        /// Which message.
        sequence: Sequence,
    },
    /// The message was in flight when the server lost the session: it is queued again as a new one.
    Requeue {
        /// Which message.
        sequence: Sequence,
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
        filter: &'a str,
        /// Its options.
        options: SubscribeOptions,
        /// Its subscription identifier.
        identifier: Option<u32>,
        /// Properties of SUBSCRIBE.
        properties: PropertiesRef<'a>,
    },
    /// The server granted a desired filter: it is in the session of this epoch.
    Granted {
        /// The filter.
        filter: &'a str,
        /// What the server granted.
        code: ReasonCode,
    },
    /// A filter was removed from the desired set.
    Unsubscribe {
        /// The filter.
        filter: &'a str,
    },
    /// CONNECT is about to leave. Without an answer on record the server may have begun a session that nobody was told of.
    Connecting,
    /// CONNACK arrived, and the server had kept the session.
    Resumed,
    /// CONNACK arrived, and the server has a new session, or one that is not ours: inbound ids and grants of earlier ones are void.
    Epoch {
        /// Counts sessions, from 1.
        epoch: u64,
        /// The broker address that holds the session, as given to `handle_connected`.
        broker: u64,
        /// The client id in use, assigned by the server maybe.
        client_id: &'a str,
    },
}

impl Record<'_> {
    /// A short name for tools: `enqueue`, `assign`, ….
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Enqueue { .. } => "enqueue",
            Self::Assign { .. } => "assign",
            Self::Release { .. } => "release",
            Self::Done { .. } => "done",
            Self::Requeue { .. } => "requeue",
            Self::Received { .. } => "received",
            Self::Forgotten { .. } => "forgotten",
            Self::Subscribe { .. } => "subscribe",
            Self::Granted { .. } => "granted",
            Self::Unsubscribe { .. } => "unsubscribe",
            Self::Connecting => "connecting",
            Self::Resumed => "resumed",
            Self::Epoch { .. } => "epoch",
        }
    }
}

/// Who asked for a message: a number of the caller's choice that stays with the message, in the store, too, and comes back when
/// the server does not take it ([`Event::MessageFailed`](crate::Event::MessageFailed)).
pub type Origin = NonZeroU32;

/// A message as the store keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredMessage<'a> {
    /// Where it goes.
    pub topic: &'a str,
    /// What it carries.
    pub payload: &'a [u8],
    /// 1 or 2.
    pub qos: QoS,
    /// Whether the server retains it.
    pub retain: bool,
    /// Its v5 properties. A message expiry interval among them counts from its acceptance.
    pub properties: PropertiesRef<'a>,
    /// When its message expiry interval is over, in milliseconds of Unix time.
    pub expires_at: Option<u64>,
    /// When it is given up if it was never sent, in milliseconds of Unix time.
    pub give_up_at: Option<u64>,
    /// Who is to learn that the server does not take it.
    pub origin: Option<Origin>,
}

/// The queued messages of one priority that a store has besides the records that it gives back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoredLane {
    /// The lowest number of a queued message that is not in the records.
    pub next: u64,
    /// Above all numbers that were ever used.
    pub end: u64,
    /// How many queued messages are not in the records.
    pub messages: u64,
    /// About how many bytes those take as packets.
    pub bytes: u64,
}

/// Which of the queued messages goes first: 3 before 2 before 1 before 0. Among equals the order is that of acceptance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// How many there are.
    pub const COUNT: usize = 4;
    /// The default.
    pub const LOWEST: Self = Self(0);
    /// Before all others.
    pub const HIGHEST: Self = Self(3);

    /// `None` above 3.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if value < Self::COUNT as u8 { Some(Self(value)) } else { None }
    }

    /// 0 to 3.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// All of them, 0 first.
    pub fn ascending() -> impl Iterator<Item = Self> {
        (0..Self::COUNT as u8).map(Self)
    }

    /// All of them, the first to be sent first.
    pub fn descending() -> impl Iterator<Item = Self> {
        (0..Self::COUNT as u8).rev().map(Self)
    }
}

/// Names an accepted message: its priority, and its number among the messages of that priority. Numbers rise by one with every
/// accepted message and are not used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(u64);

const NUMBER_BITS: u32 = 62;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;

impl Sequence {
    /// The message with that number; 62 bits of it count.
    #[must_use]
    pub const fn new(priority: Priority, number: u64) -> Self {
        Self((priority.0 as u64) << NUMBER_BITS | number & NUMBER_MASK)
    }

    /// Its priority.
    #[must_use]
    pub const fn priority(self) -> Priority {
        Priority((self.0 >> NUMBER_BITS) as u8)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0 & NUMBER_MASK
    }

    /// Both in one number, for stores.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The opposite of [`to_bits`](Self::to_bits): every value is one.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.priority().get(), self.number())
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
