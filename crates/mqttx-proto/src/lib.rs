//! Sans-IO MQTT 3.1.1 and 5.0: codec and client session state machine.

mod error;
mod filter_tree;
mod hidden;
pub mod packet;
mod property;
mod reason;
mod scan;
mod session;
mod topic;
mod types;
pub mod wire;
mod write_queue;

pub use error::{DecodeError, EncodeError, PropertyError, TopicError};
pub use filter_tree::{FilterTree, Likeness};
pub use hidden::Hidden;
pub use packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Frame, FrameStatus, Packet, PacketType, Publish,
    PublishLayout, RetainHandling, SubAck, Subscribe, SubscribeFilter, SubscribeFilters,
    SubscribeOptions, Unsubscribe, UnsubscribeFilters, Will, decode, encode_publish,
    encode_subscribe, encode_unsubscribe, frame,
};
pub use property::{
    Iter as PropertyIter, Properties, PropertiesRef, Property, PropertyContext, PropertyId,
    WireType,
};
pub use reason::ReasonCode;
pub use session::{
    Accepted, AckTicket, AuthenticateError, Authentication, Clock, CloseCause, Completion, Config,
    Connected, DropReason, Event, FailedMessage, FetchRequest, Inbound, Limits, Lsn, NO_TOKEN,
    Origin, OutboxLimits, OutboxStatus, Outcome, Outgoing, Payload, Phase, PlainMessage,
    PlainProperties, Priority, PublishError, Record, RecordBatch, RecordError, Records, Refusal,
    SendTotals, Sequence, Session, StoredLane, StoredMessage, SubscribeError, Subscription, Token,
    WillMessage,
};
pub use topic::{
    Filter, SharedFilter, Topic, captures, has_wildcard, matches, split_shared, validate_filter,
    validate_topic,
};
pub use types::{KeepAlive, PacketId, ParseVersionError, QoS, SessionExpiry, Version};
pub use wire::{MAX_REMAINING_LENGTH, Reader, varint_len};
pub use write_queue::Transmit;
