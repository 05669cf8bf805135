//! Sans-IO MQTT 3.1.1 and 5.0: codec and client session state machine.

mod types;

pub use types::{KeepAlive, PacketId, ParseVersionError, QoS, SessionExpiry, Version};
