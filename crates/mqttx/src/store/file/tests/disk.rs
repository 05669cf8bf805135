//! A disk in memory that loses what was not synced, has no room, or fails.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};

use super::super::disk::{Access, Disk, DiskFile};
use super::harness::PATIENCE;

const PAGE: usize = 4096;

/// Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names that are not durable.
    changes: Vec<Change>,
    faults: Faults,
    /// Bytes that were written, and syncs of files.
    written: u64,
    syncs: u64,
    /// The next syncs of files wait for these, one each.
    held: VecDeque<Turnstile>,
}

/// The disk's end of a [`HeldSync`].
#[derive(Debug)]
struct Turnstile {
    reached: Sender<()>,
    end: Receiver<End>,
}

/// How a sync ends.
#[derive(Debug)]
enum End {
    Succeed,
    Fail,
}

/// A sync that lasts until it is told how it ends.
pub(super) struct HeldSync {
    reached: Receiver<()>,
    end: Sender<End>,
}

impl HeldSync {
    /// Waits until the store is at it.
    pub(super) fn until_reached(&self) {
        self.reached.recv_timeout(PATIENCE).expect("the store syncs");
    }

    pub(super) fn succeed(self) {
        self.end.send(End::Succeed).unwrap();
    }

    /// As Linux does: the pages count as clean, and are gone.
    pub(super) fn fail(self) {
        self.end.send(End::Fail).unwrap();
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// Bytes that all files may have.
    pub(super) capacity: Option<u64>,
    /// So many syncs of files fail, after the first `good_syncs`.
    pub(super) bad_syncs: u32,
    pub(super) good_syncs: u32,
    /// Every write writes at most so many bytes.
    pub(super) short: Option<usize>,
    /// Every so manieth write finds no room.
    pub(super) no_room_every: Option<u64>,
    pub(super) writes: u64,
    /// These bytes of every file cannot be read.
    pub(super) unreadable: Option<(u64, u64)>,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    gone: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Add(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

impl FaultDisk {
    pub(super) fn set(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// The next sync of a file for which nobody asked yet.
    pub(super) fn hold_sync(&self) -> HeldSync {
        let ((reached, is_reached), (ends, end)) = (channel(), channel());
        self.lock().held.push_back(Turnstile { reached, end });
        HeldSync { reached: is_reached, end: ends }
    }

    pub(super) fn written(&self) -> u64 {
        self.lock().written
    }

    pub(super) fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    pub(super) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let state = self.lock();
        let file =
            |(name, inode): (&String, &usize)| (name.clone(), state.inodes[*inode].now.clone());
        state.names.iter().map(file).collect()
    }

    pub(super) fn with_files(files: &[(String, Vec<u8>)]) -> Self {
        let disk = Self::default();
        {
            let mut state = disk.lock();
            for (name, bytes) in files {
                let inode = state.inodes.len();
                let (now, durable) = (bytes.clone(), bytes.clone());
                state.inodes.push(Inode { now, durable, ..Inode::default() });
                state.names.insert(name.clone(), inode);
                state.durable_names.insert(name.clone(), inode);
            }
        }
        disk
    }

    /// What is there after the power went: of what was not synced, `keeps` decides what arrived.
    pub(super) fn crash(&self, mut keeps: impl FnMut() -> bool) -> Self {
        let state = self.lock();
        let mut names = state.durable_names.clone();
        for change in &state.changes {
            // In any order: only a sync of the directory is one.
            if keeps() {
                change.apply(&mut names);
            }
        }
        let files: Vec<_> = names
            .into_iter()
            .map(|(name, inode)| (name, state.inodes[inode].after_crash(&mut keeps)))
            .collect();
        drop(state);
        Self::with_files(&files)
    }

    /// What is there after the process was killed.
    pub(super) fn kill(&self) -> Self {
        Self::with_files(&self.files())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Inode {
    /// As Linux does: the pages count as clean, and are gone.
    fn fail_sync(&mut self) -> io::Result<()> {
        self.dirty.clear();
        Err(io::Error::other("the disk is ill"))
    }

    fn after_crash(&self, keeps: &mut impl FnMut() -> bool) -> Vec<u8> {
        let len = if self.now.len() == self.durable.len() || keeps() {
            self.now.len()
        } else {
            self.durable.len()
        };
        let mut bytes = self.durable.clone();
        bytes.resize(len, 0);
        for &page in &self.dirty {
            let (start, end) = (page * PAGE, ((page + 1) * PAGE).min(len).min(self.now.len()));
            if start < end && keeps() {
                bytes[start..end].copy_from_slice(&self.now[start..end]);
            }
        }
        bytes
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Add(name, inode) => drop(names.insert(name.clone(), *inode)),
            Self::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
            Self::Remove(name) => drop(names.remove(name)),
        }
    }
}

impl State {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn bytes(&self) -> u64 {
        self.names.values().map(|&inode| self.inodes[inode].now.len() as u64).sum()
    }

    fn room_for(&self, more: u64) -> io::Result<()> {
        match self.faults.capacity {
            Some(capacity) if self.bytes() + more > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    fn inode(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for FaultDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        state.room_for(size)?;
        let inode = state.inodes.len();
        state.inodes.push(Inode { now: vec![0; size as usize], ..Inode::default() });
        state.change(Change::Add(name.to_owned(), inode));
        Ok(Arc::new(FaultFile { disk: self.clone(), inode }))
    }

    fn open(&self, name: &str, _: Access) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.lock().inode(name)?;
        Ok(Arc::new(FaultFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        let inode = state.inode(from)?;
        state.change(Change::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        let inode = state.inode(name)?;
        state.inodes[inode].gone = true;
        state.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.durable_names = state.names.clone();
        state.changes.clear();
        Ok(())
    }

    fn available(&self) -> io::Result<u64> {
        let state = self.lock();
        Ok(state
            .faults
            .capacity
            .map_or(u64::MAX, |capacity| capacity.saturating_sub(state.bytes())))
    }
}

#[derive(Debug)]
struct FaultFile {
    disk: FaultDisk,
    inode: usize,
}

impl DiskFile for FaultFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().inodes[self.inode].now.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.lock();
        let now = &state.inodes[self.inode].now;
        let is_bad = |(from, to)| offset < to && offset + bytes.len() as u64 > from;
        if state.faults.unreadable.is_some_and(is_bad) {
            return Err(io::Error::other("a bad sector"));
        }
        let rest = now.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(bytes.len());
        bytes[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.lock();
        let bytes = &bytes[..bytes.len().min(state.faults.short.unwrap_or(usize::MAX))];
        state.faults.writes += 1;
        if state.faults.no_room_every.is_some_and(|every| state.faults.writes.is_multiple_of(every))
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let end = offset as usize + bytes.len();
        let more = end.saturating_sub(state.inodes[self.inode].now.len()) as u64;
        if more > 0 {
            state.room_for(more)?;
        }
        state.written += bytes.len() as u64;
        let inode = &mut state.inodes[self.inode];
        if inode.now.len() < end {
            inode.now.resize(end, 0);
        }
        inode.now[offset as usize..end].copy_from_slice(bytes);
        inode.dirty.extend(offset as usize / PAGE..=end.saturating_sub(1) / PAGE);
        Ok(bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.syncs += 1;
        if let Some(held) = state.held.pop_front() {
            drop(state);
            return self.sync_held(&held);
        }
        if state.faults.bad_syncs > 0 {
            if state.faults.good_syncs == 0 {
                state.faults.bad_syncs -= 1;
                return state.inodes[self.inode].fail_sync();
            }
            state.faults.good_syncs -= 1;
        }
        let inode = &mut state.inodes[self.inode];
        inode.durable = inode.now.clone();
        inode.dirty.clear();
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.lock().inodes[self.inode].now.resize(len as usize, 0);
        Ok(())
    }
}

impl FaultFile {
    /// What is written meanwhile stays as it is: not durable.
    fn sync_held(&self, held: &Turnstile) -> io::Result<()> {
        let begun = self.disk.lock().inodes[self.inode].clone();
        let _ = held.reached.send(());
        match held.end.recv() {
            Ok(End::Succeed) => {
                let mut state = self.disk.lock();
                let inode = &mut state.inodes[self.inode];
                inode.durable = begun.now;
                Ok(())
            }
            Ok(End::Fail) => self.disk.lock().inodes[self.inode].fail_sync(),
            // The test is over.
            Err(_) => Err(io::Error::other("nobody holds the sync any more")),
        }
    }
}

impl FaultDisk {
    /// Changes bytes behind everybody's back.
    pub(super) fn damage(&self, damage: impl Fn(&mut [u8])) {
        self.lock().inodes.iter_mut().for_each(|inode| damage(&mut inode.now));
    }
}
