//! The store in a directory: a segmented log with group commit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mqttx_proto::Record;

use super::{Inspection, Opening, Store};
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
        self.max_bytes = Some(bytes);
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
        Box::pin(std::future::ready(Err(Error::store("the file store is not there yet"))))
    }

    /// What it did and holds. All zero while it is not open.
    #[must_use]
    pub fn stats(&self) -> FileStoreStats {
        FileStoreStats::default()
    }

    /// Looks at the store without opening or changing it. Blocks for the time of reading all of it.
    ///
    /// # Errors
    /// It cannot be read, or a process has it and not `anyway`; what is being written is then seen in part.
    pub fn inspect(&self, anyway: bool) -> Result<Inspection, Error> {
        let _ = anyway;
        Err(Error::store("the file store is not there yet"))
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
        let _ = (session, anyway, visit);
        Err(Error::store("the file store is not there yet"))
    }
}

/// A store that is being opened.
pub type Preparing = std::pin::Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

impl Store for FileStore {
    fn open(&self, session: &str) -> Opening {
        let _ = session;
        Box::pin(std::future::ready(Err(Error::store("the file store is not there yet"))))
    }

    fn spills(&self) -> bool {
        true
    }

    fn on_full(&self) -> OnFull {
        self.when_full
    }
}
