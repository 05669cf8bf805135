//! Where a session's state lives so that it survives the session.
//!
//! # The contract
//!
//! A store keeps, for each session by name, the state that a log of [`Record`](mqttx_proto::Record)s describes. What it owes:
//!
//! - **Order.** [`Log::submit`] takes records in order; what [`Store::open`] gives back later describes the state after a
//!   prefix of them. A store may fold records into fewer ones that lead to the same state: a finished message is gone, and so
//!   is everything about it. The assignments of unfinished messages come back in the order of their `order`.
//! - **Positions.** The records of one opened log are numbered 1, 2, 3, … in the order of submission. [`Progress::written`] is
//!   the last position that survives the end of this process, [`Progress::synced`] the last that is as durable as the store
//!   promises (a file store with group commit: it survives the end of the machine); `synced ≤ written`. Neither ever falls. All
//!   records at or below a position have reached it: these are the barriers that the core waits for. *Durable before wire*: a
//!   PUBLISH with QoS 1 leaves when its packet id is written, one with QoS 2 and every PUBREC, PUBREL and PUBCOMP when its record is
//!   synced; a publisher is told "accepted" when its message is synced.
//! - **Groups.** Records of all sessions that arrive while the store is busy become durable together. A record that nothing
//!   waits for (`Done`) need not start a group of its own, but is written within 50 ms: a killed process must not
//!   send a finished message again.
//! - **Haste.** A queued message with QoS 1 whose acceptance nobody waits for may become durable a little later than written (the
//!   file store: 5 ms) and so with many others. [`Log::hurry`] says that somebody waits.
//! - **Never blocking.** `submit`, `hurry`, `fetch` and `poll_update` are called on a driver's turn: they hand over and look, nothing
//!   else. What blocks belongs on a thread or task of the store's own; that is also where `open` does its work.
//! - **Ending.** A log that is dropped has handed everything over: what was submitted is still made durable.
//!   [`Store::close`] waits for that.
//! - **One owner.** A log that is opened a second time belongs to the second. Nothing that the first submits from then on is
//!   kept, and its `poll_update` fails with [`Error::fenced`]. Where several processes can open one store, the store makes sure
//!   of that by a fencing token, or by refusing a second process.
//! - **Numbers** of messages are not used twice: [`Lane::end`] is above every number of an earlier life.
//! - **No room.** A store that is full says so by [`Update::Full`], keeps what it has, keeps trying what it was given, and says
//!   so again when there is room. Nothing is dropped. What happens to new messages meanwhile is [`Store::on_full`].
//! - **Errors** end the log: `poll_update` fails, and from then on nothing more is durable. The session ends its connection,
//!   sends nothing further, and fails with the error. A store that cannot be reached for a while and waits for it says
//!   [`Update::Unavailable`] instead. There is no silent change to another store.
//! - **Damage** costs what is damaged, never what is not, and is always told, by a [`StoreNotice`]: at opening, or when it is
//!   found. A damaged message is never given back as if it were whole.
//! - **Limits.** A record has at most 256 MiB and some hundred bytes, a session name at most 65 535 bytes of UTF-8. Every
//!   length that comes from outside is checked before anything is allocated for it.
//!
//! Sessions without a store keep their state in the session itself; it ends with the session.

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod file;
mod fold;
mod inspect;
mod memory;
mod metrics;
#[cfg(feature = "redis")]
pub mod redis;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use mqttx_proto::{Lsn, Priority, RecordBatch};

pub use mqttx_proto::StoredLane as Lane;

use crate::error::Error;
use crate::options::OnFull;

pub use file::{FileStore, FileStoreStats, Fsync, Preparing};
pub use fold::FoldedState;
pub use inspect::{Inspection, StoredSession};
pub use memory::MemoryStore;
pub use metrics::StoreMetrics;
#[cfg(feature = "redis")]
pub use redis::{OnStoreError, RedisStore};

/// A place that keeps the state of sessions; see the [contract](self).
pub trait Store: Send + Sync + fmt::Debug {
    /// Opens the log of a session, takes it over from whoever has it, and reads what it says.
    ///
    /// The session waits for it before it connects. A store that waits for something (a server that is away) may take as long as
    /// that takes.
    ///
    /// # Errors
    /// The store is damaged beyond recovery, in use by another process, refuses the credentials, or cannot be reached and does
    /// not wait.
    fn open(&self, session: &str) -> Opening;

    /// Whether what is kept survives the process. Default `true`.
    ///
    /// A forwarder acknowledges its source once such a store has the message for the target.
    fn is_durable(&self) -> bool {
        true
    }

    /// Whether logs give queued messages back by [`Log::fetch`], so that a session need not keep all of them in memory.
    /// Default `false`: [`Opened::records`] has everything, and `fetch` is not called.
    fn spills(&self) -> bool {
        false
    }

    /// What happens to new messages while the store has no room. Default: they wait.
    fn on_full(&self) -> OnFull {
        OnFull::Block
    }

    /// Why the store cannot be reached or written now, if so: for whoever waits for [`open`](Self::open), which has no log yet
    /// to tell it. Default: there is no such reason.
    fn trouble(&self) -> Option<Error> {
        None
    }

    /// What it counts, without waiting for anything. Default: a store of kind `other` that works.
    fn metrics(&self) -> StoreMetrics {
        let mut metrics = StoreMetrics::new("other");
        metrics.available = self.trouble().is_none();
        metrics
    }

    /// Waits until everything that was submitted is durable, or has failed. With no log open, the store is left at rest: a
    /// later log opens it anew. Default: there is nothing to wait for.
    fn close(&self) -> Closing {
        Box::pin(std::future::ready(()))
    }
}

/// A log that is being opened.
pub type Opening = Pin<Box<dyn Future<Output = Result<Opened, Error>> + Send>>;

/// A store that is being closed.
pub type Closing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An opened log.
#[derive(Debug)]
pub struct Opened {
    /// The state of the session, as records in an order in which they can be applied; empty for a new session. Of a store that
    /// [spills](Store::spills) the queued messages that have no packet id may be missing.
    pub records: RecordBatch,
    /// The queued messages that are not in `records`, by priority.
    pub lanes: [Lane; Priority::COUNT],
    /// Where further records go.
    pub log: Box<dyn Log>,
    /// What is to be told about the state of the store.
    pub notices: Vec<StoreNotice>,
}

/// The log of one session, owned by its driver; see the [contract](self).
pub trait Log: Send + fmt::Debug {
    /// Takes all of `records`, without blocking, and leaves it empty. It may leave other memory in it.
    fn submit(&mut self, records: &mut RecordBatch);

    /// Somebody waits until the records up to `position` are as durable as the store promises; some of them may be submitted
    /// right after. Default: nothing; the store makes everything durable as soon as it can.
    fn hurry(&mut self, position: Lsn) {
        let _ = position;
    }

    /// The next news, once there are any; else the waker is told when there are.
    ///
    /// # Errors
    /// Nothing further becomes durable; see the [contract](self).
    fn poll_update(&mut self, cx: &mut Context<'_>) -> Poll<Result<Update, Error>>;

    /// Asks for queued messages, without blocking: [`Update::Fetched`] answers. At most one is open at a time. It sees
    /// everything that was submitted before it. Only called where [`Store::spills`].
    fn fetch(&mut self, wanted: Fetch) {
        let _ = wanted;
    }
}

/// News of a log.
#[derive(Debug)]
#[non_exhaustive]
pub enum Update {
    /// Records reached the next stage.
    Progress(Progress),
    /// The answer to [`Log::fetch`].
    Fetched(Fetched),
    /// The store has no room for messages (`true`), or has room again.
    Full(bool),
    /// The store cannot be reached or written, and waits until it can.
    Unavailable(Error),
    /// It can be reached and written again.
    Available,
    /// Something that a person has to know.
    Notice(StoreNotice),
}

/// How far the records of a log are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// The last position that survives the end of the process.
    pub written: Lsn,
    /// The last position that is as durable as the store promises.
    pub synced: Lsn,
}

/// Which queued messages are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fetch {
    /// Of this priority.
    pub priority: Priority,
    /// From this number on.
    pub from: u64,
    /// At most so many; at least one.
    pub messages: usize,
    /// Stop behind the message that reaches so many bytes.
    pub bytes: usize,
}

/// Queued messages.
#[derive(Debug)]
pub struct Fetched {
    /// Of this priority.
    pub priority: Priority,
    /// `Enqueue` records of all messages from [`Fetch::from`] up to here that are not finished and have no packet id, in order.
    pub records: RecordBatch,
    /// The number from which on the next fetch looks.
    pub next: u64,
}

/// What a person has to know about a store: damage that was found, and what it cost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreNotice {
    /// What was found where, and what became of it; one line.
    pub text: String,
    /// Records that are lost, as far as they can be counted.
    pub lost_records: u64,
}
