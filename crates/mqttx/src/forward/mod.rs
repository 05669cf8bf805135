//! Forwarders: messages of some sessions published by others, without losing any.

mod template;
mod topic_map;

pub use template::{RenderError, TopicContext, TopicTemplate};
pub use topic_map::{TopicMap, TopicMapError};
