//! Many MQTT sessions in one process, and messages moved between them without losing any.

mod error;
mod event;
mod forward;
mod message;
mod metrics;
mod router;
mod session;

pub use mqttx_proto as proto;
pub use mqttx_proto::{
    Filter, KeepAlive, PacketId, Properties, PropertiesRef, Property, PropertyContext, PropertyId,
    QoS, ReasonCode, RetainHandling, SessionExpiry, SubscribeOptions, Topic, Version, matches,
    validate_filter, validate_topic,
};

pub use error::{ConfigErrors, ConfigProblem, Error, ErrorKind, PublishError, Severity};
pub use event::{
    Event, EventFilter, EventHandler, EventKind, EventName, EventStream, ParseEventNameError,
};
pub use forward::{
    ForwarderBuilder, ForwarderCycle, ForwarderOptions, ForwarderSource, ForwarderTarget, QosRule,
    RenderError, RetainRule, TopicContext, TopicMap, TopicMapError, TopicTemplate, find_cycles,
};
pub use message::{Message, MessageRef, Publish};
pub use metrics::{DropReason, Dropped, ManagerMetrics, SessionMetrics};
pub use router::{MessageStream, Overflow, Route, RouteBuilder, RouteOptions, RouteStats};
pub use session::SessionStatus;
