//! Forwarders: messages of some sessions published by others, without losing any.
//!
//! [`rule`] says what is asked for and checks it ([`cycle`]: loops); [`topic_map`] and [`template`] make the
//! topics; [`flows`] holds what is on its way, as plain data; [`engine`] moves it, when [`phases`] lets it, from where [`arrive`] takes
//! it in to where [`send`] hands it over, many messages at a time ([`scratch`], [`topics`]); [`handle`] starts
//! and stops, [`reconfigure`] changes the rules of one that runs ([`generations`], [`succession`]); [`manager`] is
//! the registry, where one takes over from another ([`takeover`]).

mod arrive;
mod cycle;
mod endpoint;
mod engine;
mod failover;
mod fault;
mod filter;
mod flows;
mod generations;
mod handle;
mod hops;
mod json;
mod kept;
mod late;
mod leaving;
mod manager;
mod metadata;
mod metrics;
mod outgoing;
mod overdue;
mod pace;
mod phases;
mod prepare;
mod rate;
mod reason;
mod reconfigure;
mod rejoin;
mod rule;
mod rules;
mod run;
mod scratch;
mod send;
mod succession;
mod takeover;
mod target;
mod template;
mod text;
mod topic_map;
mod topics;
mod transform;

pub use cycle::{ForwarderCycle, find_cycles};
pub use endpoint::{ForwarderSource, ForwarderTarget, QosRule, RetainRule};
pub use fault::{RuleError, RuleFailure};
pub use filter::{Compare, Filter};
pub use handle::{Forwarder, ForwarderState};
pub use manager::{ForwarderManager, Reconfigured};
pub use metrics::ForwarderMetrics;
pub use rate::RateLimit;
pub use reason::ForwardDrop;
pub use rule::{ForwarderBuilder, ForwarderOptions};
pub use rules::OnFilterError;
pub use template::{RenderError, TopicContext, TopicTemplate};
pub(crate) use text::RuleContext;
pub use topic_map::{TopicMap, TopicMapError};
pub use transform::Transform;

/// A regular expression that is larger when compiled is refused.
#[cfg(feature = "filters")]
const REGEX_SIZE: usize = 1 << 20;
