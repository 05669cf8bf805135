//! Forwarders: messages of some sessions published by others, without losing any.

mod cycle;
mod endpoint;
mod rule;
mod template;
mod topic_map;

pub use cycle::{ForwarderCycle, find_cycles};
pub use endpoint::{ForwarderSource, ForwarderTarget, QosRule, RetainRule};
pub use rule::{ForwarderBuilder, ForwarderOptions};
pub use template::{RenderError, TopicContext, TopicTemplate};
pub use topic_map::{TopicMap, TopicMapError};
