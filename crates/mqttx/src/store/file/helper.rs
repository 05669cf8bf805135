//! The thread that does what takes long and is not urgent: it prepares segments before they are needed, and removes those that
//! are not needed any more.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::disk::{Disk, DiskFile, write_all_at};
use super::engine::{Request, Shared};
use super::format::{SegmentHeader, VERSION};
use super::segment::file_name;
use super::worker::Worker;

/// What there is to do.
#[derive(Debug)]
pub(super) enum Work {
    /// Make a segment that can be written at once.
    Prepare { id: u64, size: u64 },
    /// Remove a segment, after a sync of that file. A file of `recycle` bytes may be kept for another life.
    Remove {
        slot: u32,
        id: u64,
        file: Arc<dyn DiskFile>,
        first: Option<Arc<dyn DiskFile>>,
        recycle: u64,
    },
    /// Make what was written durable, in the background. `active`: in the segment that is written.
    Sync { file: Arc<dyn DiskFile>, active: bool },
    /// Remove a file of which nothing is needed.
    Discard(String),
}

/// Starts the thread. It ends when the sender goes.
pub(super) fn start(disk: Arc<dyn Disk>, shared: Arc<Shared>) -> io::Result<Worker<Work>> {
    let helper = Helper { disk, shared, pool: Vec::new() };
    Worker::start("mqttx-store-files", move |work| helper.run(work))
}

/// Creates a segment: it appears under its name when its header is durable.
pub(super) fn create_segment(
    disk: &dyn Disk,
    header: &SegmentHeader,
    old: Option<Spare>,
) -> io::Result<Arc<dyn DiskFile>> {
    let temporary = format!("{:012}.new", header.id);
    let file = match old {
        Some(spare) => {
            disk.rename(&spare.name, &temporary)?;
            spare.file
        }
        None => disk.create(&temporary, header.size)?,
    };
    let made = write_all_at(&*file, &header.encode(), 0)
        .and_then(|()| file.sync())
        .and_then(|()| disk.rename(&temporary, &file_name(header.id)))
        .and_then(|()| disk.sync());
    match made {
        Ok(()) => Ok(file),
        Err(error) => {
            drop(disk.remove(&temporary));
            Err(error)
        }
    }
}

/// A file that can have another life.
#[derive(Debug)]
pub(super) struct Spare {
    name: String,
    file: Arc<dyn DiskFile>,
    size: u64,
}

struct Helper {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    pool: Vec<Spare>,
}

/// How many files wait for another life under load, and how many when it is quiet.
const POOL: usize = 3;
const QUIET_POOL: usize = 0;
const QUIET: Duration = Duration::from_millis(1500);

impl Helper {
    fn run(mut self, work: &Receiver<Work>) {
        loop {
            match work.recv_timeout(QUIET) {
                Ok(work) => self.handle(work),
                Err(RecvTimeoutError::Timeout) if self.pool.len() > QUIET_POOL => {
                    self.trim(QUIET_POOL);
                }
                Err(RecvTimeoutError::Timeout) => match work.recv() {
                    Ok(work) => self.handle(work),
                    Err(_) => break,
                },
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.trim(0);
    }

    fn handle(&mut self, work: Work) {
        match work {
            Work::Prepare { id, size } => {
                let made = self.prepare(id, size);
                self.shared.request(Request::Prepared { id, size, made });
            }
            Work::Remove { slot, id, file, first, recycle } => {
                let done = first
                    .map_or(Ok(()), |first| first.sync())
                    .and_then(|()| self.remove(id, file, recycle));
                self.shared.request(Request::Removed { slot, done });
            }
            Work::Sync { file, active } => {
                let result = self.shared.counters.timed_sync(&*file);
                self.shared.request(Request::Synced { result, active });
            }
            Work::Discard(name) => drop(self.disk.remove(&name)),
        }
    }

    fn prepare(&mut self, id: u64, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let fits = self.pool.iter().position(|spare| spare.size == size);
        let spare = fits.map(|at| self.pool.swap_remove(at));
        self.tell_pool();
        let recycled = spare.is_some();
        let header = SegmentHeader { version: VERSION, id, size, cold: false, recycled };
        create_segment(&*self.disk, &header, spare)
    }

    /// What depends on its absence waits until that is durable.
    fn remove(&mut self, id: u64, file: Arc<dyn DiskFile>, recycle: u64) -> io::Result<()> {
        // The catalog has it, too; a reader that still looks at it must not see another life of it.
        let unused = Arc::strong_count(&file) <= 2;
        if recycle > 0 && unused && self.pool.len() < POOL {
            let name = format!("{id:012}.old");
            self.disk.rename(&file_name(id), &name)?;
            self.pool.push(Spare { name, file, size: recycle });
        } else {
            self.disk.remove(&file_name(id))?;
        }
        self.tell_pool();
        self.disk.sync()
    }

    fn trim(&mut self, keep: usize) {
        for spare in self.pool.drain(keep..) {
            drop(self.disk.remove(&spare.name));
        }
        self.tell_pool();
    }

    fn tell_pool(&self) {
        let bytes = self.pool.iter().map(|spare| spare.size).sum();
        self.shared.request(Request::Pooled(bytes));
    }
}
