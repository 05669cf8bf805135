//! Many MQTT sessions in one process.

mod forward;

pub use forward::{RenderError, TopicContext, TopicMap, TopicMapError, TopicTemplate};
