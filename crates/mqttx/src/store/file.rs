//! The store in a directory: a segmented log with group commit.
//!
//! # How it works
//!
//! All sessions of a directory share one [`engine`]. Their records go to one [`commit`] thread, which writes whatever has
//! arrived as one group behind the last one, makes it durable with one sync, and tells everybody; meanwhile the next group
//! gathers. So the number of syncs depends on the disk, not on the number of sessions.
//!
//! The log is cut into [`segment`]s, whose bytes are described in [`format`](mod@format). In memory a queued message is eight
//! bytes in an [`index`]; its bytes are read back when the session asks for them, by the [`reader`]'s thread. A [`helper`]
//! prepares segments ahead, and removes those that nothing needs any more. What is left over in old segments is moved out of
//! the way by [`compact`]ion.
//!
//! # What holds it together
//!
//! - Bytes are only appended. What is durable is never written again, and after an opening a new segment is begun: no byte of
//!   an earlier life can become part of a record.
//! - A segment is removed when nothing in it is needed, and what says so is durable elsewhere; see [`segment`].
//! - Everything that is read is checked: headers and payloads have checksums of their own, so that damage costs what it hit.
//! - A sync that failed is not tried again: what it should have made durable is written into another segment.

mod catalog;
mod changes;
mod commit;
mod compact;
mod disk;
mod engine;
mod format;
mod group;
mod helper;
mod index;
mod lock;
mod log;
mod look;
mod reader;
mod recover;
mod registry;
mod scan;
mod segment;
#[cfg(test)]
mod tests;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mqttx_proto::Record;
use tokio::sync::oneshot;

use self::engine::{Engine, Options, Request};
use super::{Closing, Inspection, Opened, Opening, Store, StoreMetrics};
use crate::error::Error;
use crate::options::OnFull;

/// Keeps the state of sessions in a directory of the local disk.
///
/// ```no_run
/// use mqttx::{FileStore, SessionOptions};
///
/// let store = FileStore::new("/var/lib/gateway");
/// let options = SessionOptions::quick_connect("plant", "localhost:1883").storage(store).build()?;
/// # Ok::<(), mqttx::ConfigErrors>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileStore {
    directory: PathBuf,
    fsync: Fsync,
    max_bytes: Option<u64>,
    when_full: OnFull,
    /// Shared by clones; other stores on the same directory find it in the registry.
    engine: Arc<Mutex<Option<Arc<Engine>>>>,
}

/// When records are forced to the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fsync {
    /// Before anything that depends on them: what was promised survives the end of the machine. All records that arrive
    /// while one group is on its way become durable together in the next. The default.
    #[default]
    Group,
    /// Every so often, in the background: the end of the machine costs at most what was accepted in this time. The end of
    /// the process costs nothing.
    Interval(Duration),
    /// When the operating system sees fit. The end of the process costs nothing.
    Os,
}

impl Fsync {
    /// [`Fsync::Interval`] with its default of 100 ms.
    pub const INTERVAL: Self = Self::Interval(Duration::from_millis(100));
}

/// What a [`FileStore`] did since it was opened, and what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct FileStoreStats {
    /// Segment files, those that are prepared included.
    pub segments: u64,
    /// Bytes that they take on the disk.
    pub bytes: u64,
    /// Groups that were forced to the disk.
    pub groups: u64,
    /// Records that were written.
    pub records: u64,
    /// Bytes that were forced to the disk.
    pub synced_bytes: u64,
    /// Records that were found damaged.
    pub damaged_records: u64,
    /// Whether there is no room for messages.
    pub full: bool,
}

impl FileStore {
    /// The store in `directory`. Nothing is touched before the first session opens it, or [`prepare`](Self::prepare); then
    /// the directory is created if it is not there.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            fsync: Fsync::default(),
            max_bytes: None,
            when_full: OnFull::default(),
            engine: Arc::default(),
        }
    }

    /// When records are forced to the disk. Default [`Fsync::Group`].
    #[must_use]
    pub fn fsync(mut self, fsync: Fsync) -> Self {
        self.fsync = fsync;
        self
    }

    /// Most bytes that the segments may take, at least 1 MiB. Default: what the disk has.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes.max(1 << 20));
        self
    }

    /// What happens to new messages while there is no room. Default [`OnFull::Block`].
    #[must_use]
    pub fn when_full(mut self, when_full: OnFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Opens the store now rather than with the first session, so that a daemon finds out at its start what is wrong.
    ///
    /// # Errors
    /// Another process has it (`store.locked`), a later version wrote it (`store.version`), or the disk fails.
    pub fn prepare(&self) -> Preparing {
        let store = self.clone();
        Box::pin(async move { store.engine().await.map(drop) })
    }

    /// What it did and holds. All zero while it is not open.
    #[must_use]
    pub fn stats(&self) -> FileStoreStats {
        self.open_engine().map_or_else(FileStoreStats::default, |engine| engine.stats())
    }

    /// Looks at the store without opening or changing it. Blocks for the time of reading all of it.
    ///
    /// # Errors
    /// It cannot be read, or a process has it and not `anyway`; what is being written is then seen in part.
    pub fn inspect(&self, anyway: bool) -> Result<Inspection, Error> {
        look::inspect(&self.directory, anyway)
    }

    /// Shows the state of one session as records, each with the time when it was written, in milliseconds of Unix time,
    /// where that is known. Blocks. Returns `false` when there is no such session.
    ///
    /// # Errors
    /// As for [`inspect`](Self::inspect).
    pub fn read(
        &self,
        session: &str,
        anyway: bool,
        visit: &mut dyn FnMut(&Record<'_>, Option<u64>),
    ) -> Result<bool, Error> {
        look::read(&self.directory, session, anyway, visit)
    }

    fn open_engine(&self) -> Option<Arc<Engine>> {
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        engine.clone().filter(|engine| !engine.is_stopped())
    }

    /// The engine of the directory, which a thread opens if it is not open.
    async fn engine(&self) -> Result<Arc<Engine>, Error> {
        if let Some(engine) = self.open_engine() {
            return Ok(engine);
        }
        let options = Options {
            fsync: self.fsync,
            max_bytes: self.max_bytes,
            smallest: SMALLEST_SEGMENT,
            largest: LARGEST_SEGMENT,
            ahead: PREPARED_AHEAD,
            pace: PACE,
        };
        let (reply, opened) = oneshot::channel();
        let directory = self.directory.clone();
        let builder = std::thread::Builder::new().name("mqttx-store-open".into());
        let spawned = builder.spawn(move || reply.send(registry::engine(&directory, options)));
        spawned.map_err(|error| {
            Error::store(format!("no thread for the store: {error}")).with_source(error)
        })?;
        let engine = opened.await.map_err(|_| stopped())??;
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&engine));
        Ok(engine)
    }

    async fn open_log(&self, session: String) -> Result<Opened, Error> {
        loop {
            let engine = self.engine().await?;
            let (reply, opened) = oneshot::channel();
            let name = session.clone();
            engine.request(Request::Open { name, engine: Arc::clone(&engine), reply });
            match opened.await.unwrap_or_else(|_| Err(stopped())) {
                // It was closed just now: it is opened again.
                Err(error) if error.code() == CLOSED && engine.is_stopped() => {}
                opened => return opened,
            }
        }
    }

    async fn close_engine(&self) {
        let Some(engine) = self.open_engine() else { return };
        let (reply, done) = oneshot::channel();
        if engine.logs() > 0 {
            engine.request(Request::Flush(reply));
        } else {
            engine.request(Request::Close(reply));
        }
        drop(engine);
        drop(done.await);
    }
}

const SMALLEST_SEGMENT: u64 = 256 << 10;
const LARGEST_SEGMENT: u64 = 64 << 20;
const PREPARED_AHEAD: u64 = 1 << 20;

/// Messages whose acceptance nobody waits for become durable together, in groups of that time.
const PACE: Duration = Duration::from_millis(5);

/// The code of the error of a store that came to rest.
const CLOSED: &str = "store.closed";

fn stopped() -> Error {
    Error::store("the store was closed").with_code(CLOSED)
}

/// A store that is being opened.
pub type Preparing = std::pin::Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

impl Store for FileStore {
    fn open(&self, session: &str) -> Opening {
        let (store, session) = (self.clone(), session.to_owned());
        Box::pin(async move { store.open_log(session).await })
    }

    fn spills(&self) -> bool {
        true
    }

    fn on_full(&self) -> OnFull {
        self.when_full
    }

    /// Before it is opened, all zero.
    fn metrics(&self) -> StoreMetrics {
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        engine.as_ref().map_or_else(|| StoreMetrics::new("file"), |engine| engine.metrics())
    }

    fn close(&self) -> Closing {
        let store = self.clone();
        Box::pin(async move { store.close_engine().await })
    }
}
