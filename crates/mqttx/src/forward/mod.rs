//! Forwarders: messages of some sessions published by others, without losing any.
//!
//! [`rule`] says what is asked for and checks it ([`cycle`]: loops); [`topic_map`] and [`template`] make the
//! topics; [`flows`] holds what is on its way, as plain data; [`engine`] moves it, from where [`arrive`] takes
//! it in to where [`send`] hands it over, many messages at a time ([`scratch`], [`topics`]); [`handle`] starts
//! and stops, [`reconfigure`] changes the rules of one that runs ([`generations`]); [`manager`] is the registry.

mod arrive;
mod cycle;
mod endpoint;
mod engine;
mod filter;
mod flows;
mod generations;
mod handle;
mod manager;
mod metrics;
mod reason;
mod reconfigure;
mod rule;
mod scratch;
mod send;
mod template;
mod topic_map;
mod topics;
mod transform;

pub use cycle::{ForwarderCycle, find_cycles};
pub use endpoint::{ForwarderSource, ForwarderTarget, QosRule, RetainRule};
pub use handle::Forwarder;
pub use manager::{ForwarderManager, Reconfigured};
pub use metrics::ForwarderMetrics;
pub use reason::ForwardDrop;
pub use rule::{ForwarderBuilder, ForwarderOptions};
pub use template::{RenderError, TopicContext, TopicTemplate};
pub use topic_map::{TopicMap, TopicMapError};
