//! Which messages a forwarder takes: the place for conditions besides the subscription.
//!
//! A condition is asked in `Engine::deliver`, after the message was assigned to its first matching filter
//! and before it is admitted; a message that it leaves out is acknowledged and counts as
//! [`filtered`](super::ForwarderMetrics::filtered). One file per kind.
