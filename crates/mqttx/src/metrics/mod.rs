//! Plain counters of a session, and the snapshots that are handed out.
//!
//! Counters are relaxed atomics. The driver adds to them once per turn, not once per message; a
//! snapshot is therefore consistent enough for rates and totals, not a transaction.

mod counters;
mod drops;
mod session;
mod totals;

pub(crate) use counters::SessionCounters;
pub use drops::{DropReason, Dropped};
pub use session::SessionMetrics;
pub use totals::ManagerMetrics;
