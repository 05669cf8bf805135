//! Where a session's state lives so that it survives the session.
//!
//! # The contract
//!
//! A store keeps, for each session by name, a log of [`Record`]s. What it owes:
//!
//! - **Order.** [`Log::submit`] takes records in order; what [`Store::open`] gives back later describes the state after a
//!   prefix of them. A store may fold records into fewer ones that lead to the same state.
//! - **Positions.** The records of one opened log are numbered 1, 2, 3, … in the order of submission. [`Progress::written`] is
//!   the last position that survives the end of this process, [`Progress::synced`] the last that survives the end of the
//!   machine; `synced ≤ written`. Neither ever falls. All records at or below a position have reached it: these are the
//!   barriers that the core waits for. *Durable before wire*: a PUBLISH with QoS 1 leaves when its packet id is written, one
//!   with QoS 2 and every PUBREC and PUBREL when its record is synced.
//! - **Never blocking.** `submit` and `poll_progress` are called on a driver's turn: they hand over and look, nothing else. What
//!   blocks belongs on a thread of the store's own.
//! - **One owner.** A log that is opened a second time belongs to the second; what the first submits from then on is not kept
//!   and its `poll_progress` fails.
//! - **Errors** are told by `poll_progress` and are final for that log: the session ends its connection, sends nothing further,
//!   and fails with the error. There is no silent change to another store.
//!
//! Sessions without a store keep their state in the session itself; it ends with the session.

mod memory;

use std::fmt;
use std::task::{Context, Poll};

use mqttx_proto::{Lsn, Record};

use crate::error::Error;

pub use memory::MemoryStore;

/// A place that keeps the state of sessions; see the [contract](self).
pub trait Store: Send + Sync + fmt::Debug {
    /// Opens the log of a session, takes it over from whoever has it, and reads what it says.
    ///
    /// # Errors
    /// The store cannot be reached, or what it holds cannot be read.
    fn open(&self, session: &str) -> Result<Opened, Error>;
}

/// An opened log.
#[derive(Debug)]
pub struct Opened {
    /// The state of the session, as records in their order; empty for a new session.
    pub records: Vec<Record>,
    /// Where further records go.
    pub log: Box<dyn Log>,
}

/// The log of one session, owned by its driver; see the [contract](self).
pub trait Log: Send + fmt::Debug {
    /// Takes all of `records`, without blocking.
    fn submit(&mut self, records: &mut Vec<Record>);

    /// How far the records are, once that changed since the last call; else the waker is told when it does.
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<Result<Progress, Error>>;
}

/// How far the records of a log are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// The last position that survives the end of the process.
    pub written: Lsn,
    /// The last position that survives the end of the machine.
    pub synced: Lsn,
}
