//! Many MQTT sessions in one process, and messages moved between them without losing any.
//!
//! A [`SessionManager`] holds [`Session`]s by name; each has one task, one connection and a
//! desired set of subscriptions that survives reconnects. Messages go out by
//! [`Session::publish`] (completes at the acknowledgement) or [`Session::enqueue`] (completes
//! when accepted), and come in through [`Route`]s: callbacks or streams with a bounded queue
//! each. [`Event`]s and metrics tell what happens.
//!
//! ```no_run
//! use mqttx::{QoS, SessionManager, SessionOptions};
//! use std::time::Duration;
//!
//! # async fn example() -> Result<(), mqttx::Error> {
//! let manager = SessionManager::new();
//! let plant = manager.add_session(
//!     SessionOptions::quick_connect("plant", "localhost:1883").keep_alive(Duration::from_secs(30)).build()?,
//! )?;
//! let mut temperatures = plant.listen("sensors/+/temperature")?;
//! plant.wait_ready(Duration::from_secs(10)).await?;
//! plant.publish("sensors/7/temperature", "21.5", QoS::AtLeastOnce, false).await?;
//! while let Some(message) = temperatures.next().await {
//!     println!("{}: {:?}", message.topic(), message.payload_str());
//! }
//! # Ok(()) }
//! ```

pub mod auth;
mod error;
mod event;
mod forward;
mod manager;
mod message;
mod metrics;
mod options;
mod router;
mod session;
pub mod store;
mod trace;
mod transport;

pub use mqttx_proto as proto;
pub use mqttx_proto::{
    Filter as TopicFilter, KeepAlive, Limits, PacketId, Priority, Properties, PropertiesRef,
    Property, PropertyContext, PropertyError, PropertyId, QoS, ReasonCode, RetainHandling,
    SessionExpiry, SubscribeOptions, Topic, TopicError, Version, matches, validate_filter,
    validate_topic,
};
/// The version of the API that `Message::trace_context` speaks.
#[cfg(feature = "otel")]
pub use opentelemetry;

pub use error::{ConfigErrors, ConfigProblem, Error, ErrorKind, PublishError, Severity};
pub use event::{
    Event, EventFilter, EventHandler, EventKind, EventName, EventStream, ParseEventNameError,
};
pub use forward::{
    Compare, Filter, ForwardDrop, Forwarder, ForwarderBuilder, ForwarderCycle, ForwarderManager,
    ForwarderMetrics, ForwarderOptions, ForwarderSource, ForwarderState, ForwarderTarget,
    OnFilterError, QosRule, RateLimit, Reconfigured, RenderError, RetainRule, RuleError,
    RuleFailure, TopicContext, TopicMap, TopicMapError, TopicTemplate, Transform, find_cycles,
};
pub use manager::{Detail, ManagerBuilder, SessionManager, ShutdownReport};
pub use message::{Message, MessageRef, MessageView, Publish};
pub use metrics::{
    Chunks, ConfigMetrics, DropReason, Dropped, ForwarderSample, HistogramMetrics, JsonExporter,
    ManagerMetrics, MetricFamily, MetricKind, MetricsSnapshot, ProcessMetrics, PrometheusExporter,
    SessionMetrics, SessionSample, StoreSample, TextFormat,
};
pub use options::{
    Backoff, Jitter, OnFull, OnRefusal, Outbox, Performance, Reaction, Reactions, Secret,
    SessionBuilder, SessionOptions, TcpOptions, TlsOptions, TlsSource, TlsVersion,
    WebSocketOptions, Will, WireLog, human,
};
pub use router::{MessageStream, Overflow, Route, RouteBuilder, RouteOptions, RouteStats};
pub use session::{Accepting, Delivery, Published, Requester, Session, SessionStatus};
pub use store::{FileStore, FileStoreStats, Fsync, MemoryStore, Store, StoreMetrics};
#[cfg(feature = "redis")]
pub use store::{OnStoreError, RedisStore};
pub use transport::{
    ByteStream, Endpoint, EndpointError, Proxy, ProxyError, ProxyKind, ProxyServer, Scheme,
    Transport, TransportFuture,
};

/// The examples of the guides are compiled with the documentation's.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../../docs/from-go.md")]
    struct FromGo;

    #[doc = include_str!("../../../docs/from-rumqttc.md")]
    struct FromRumqttc;

    #[doc = include_str!("../../../docs/from-paho.md")]
    struct FromPaho;

    #[doc = include_str!("../../../docs/authentication.md")]
    struct Authentication;

    #[doc = include_str!("../../../docs/metrics.md")]
    struct Metrics;

    #[cfg(feature = "otel")]
    #[doc = include_str!("../../../docs/tracing.md")]
    struct Tracing;
}
