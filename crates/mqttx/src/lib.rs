//! Many MQTT sessions in one process, and messages moved between them without losing any.

mod error;
mod event;
mod manager;
mod message;
mod metrics;
mod options;
mod router;
mod session;
mod transport;

pub use mqttx_proto as proto;
pub use mqttx_proto::{
    Filter, KeepAlive, Limits, PacketId, Properties, PropertiesRef, Property, PropertyContext,
    PropertyId, QoS, ReasonCode, RetainHandling, SessionExpiry, SubscribeOptions, Topic, Version,
    matches, validate_filter, validate_topic,
};

pub use error::{ConfigErrors, ConfigProblem, Error, ErrorKind, PublishError, Severity};
pub use event::{
    Event, EventFilter, EventHandler, EventKind, EventName, EventStream, ParseEventNameError,
};
pub use manager::{ManagerBuilder, SessionManager, ShutdownReport};
pub use message::{Message, MessageRef, Publish};
pub use metrics::{DropReason, Dropped, ManagerMetrics, SessionMetrics};
pub use options::{
    Backoff, Jitter, OnFull, OnRefusal, Outbox, Performance, Secret, SessionBuilder,
    SessionOptions, Will, WireLog, human,
};
pub use router::{MessageStream, Overflow, Route, RouteBuilder, RouteOptions, RouteStats};
pub use session::{Delivery, Published, Session, SessionStatus};
pub use transport::{Endpoint, EndpointError};
