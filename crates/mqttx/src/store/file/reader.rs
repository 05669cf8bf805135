//! The thread that reads messages back, and copies those that are left over in old segments.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use mqttx_proto::{Priority, Record, RecordBatch, Sequence};
use tokio::sync::oneshot;

use super::catalog::InFlight;
use super::compact::{CompactJob, Compaction};
use super::disk::DiskFile;
use super::engine::{Request, Shared};
use super::format::{FrameHeader, Kind, MESSAGE_HEADER};
use super::index::Position;
use super::log::{ENQUEUE, LogShared};
use super::scan::{READ_AHEAD, Window};
use super::segment::FastHasher;
use super::worker::Worker;
use crate::error::Error;
use crate::store::{Fetch, Fetched, Lane, Log, Opened, StoreNotice, Update};

/// By slot, the ids and files of segments, and how far they are written.
pub(super) type Files = HashMap<u32, (u64, Arc<dyn DiskFile>, u64), BuildHasherDefault<FastHasher>>;

/// What there is to read.
#[derive(Debug)]
pub(super) enum Job {
    Fetch(FetchJob),
    Open(OpenJob),
    Compact(CompactJob),
    /// Which of the messages that compaction asked for are unfinished.
    Live(Vec<bool>),
}

/// Messages for [`Log::fetch`].
#[derive(Debug)]
pub(super) struct FetchJob {
    pub(super) log: Arc<LogShared>,
    pub(super) number: u32,
    pub(super) wanted: Fetch,
    pub(super) messages: Vec<(u64, Position)>,
    /// The number behind them.
    pub(super) next: u64,
    pub(super) files: Files,
}

/// The messages in flight of a session that is being opened.
#[derive(Debug)]
pub(super) struct OpenJob {
    pub(super) number: u32,
    pub(super) files: Files,
    pub(super) records: RecordBatch,
    pub(super) in_flight: Vec<InFlight>,
    pub(super) lanes: [Lane; Priority::COUNT],
    pub(super) log: Box<dyn Log>,
    pub(super) notices: Vec<StoreNotice>,
    pub(super) shared: Arc<LogShared>,
    pub(super) reply: oneshot::Sender<Result<Opened, Error>>,
}

/// Starts the thread. It ends when the sender goes.
pub(super) fn start(shared: Arc<Shared>) -> io::Result<Worker<Job>> {
    let mut reader =
        Reader { shared, window: None, raw: Vec::new(), compaction: Compaction::default() };
    Worker::start("mqttx-store-read", move |jobs| reader.run(jobs))
}

struct Reader {
    shared: Arc<Shared>,
    window: Option<Window>,
    raw: Vec<u8>,
    compaction: Compaction,
}

impl Reader {
    /// Compaction goes on while nobody waits for anything.
    fn run(&mut self, jobs: &Receiver<Job>) {
        loop {
            let job = if self.compaction.can_go_on() {
                match jobs.try_recv() {
                    Ok(job) => Some(job),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return,
                }
            } else {
                match jobs.recv() {
                    Ok(job) => Some(job),
                    Err(_) => return,
                }
            };
            match job {
                Some(Job::Fetch(job)) => self.fetch(job),
                Some(Job::Open(job)) => self.open(job),
                Some(Job::Compact(job)) => self.compaction.begin(job),
                Some(Job::Live(live)) => self.compaction.on_live(live, &self.shared),
                None => self.compaction.step(&self.shared),
            }
        }
    }

    fn fetch(&mut self, job: FetchJob) {
        let FetchJob { log, number, wanted, messages, mut next, files } = job;
        let mut records = RecordBatch::new();
        for (message, position) in messages {
            if records.byte_len() >= wanted.bytes.max(1) {
                next = message;
                break;
            }
            let sequence = Sequence::new(wanted.priority, message);
            match self.message(&files, number, sequence, position) {
                Ok(()) => records.push_raw(&self.raw),
                Err(why) => {
                    let notice = lost(&log.name, sequence, &why);
                    self.shared.request(Request::Notice(Arc::clone(&log), notice));
                }
            }
        }
        if self.raw.capacity() > READ_AHEAD {
            self.raw = Vec::new();
        }
        log.tell(Update::Fetched(Fetched { priority: wanted.priority, records, next }));
    }

    fn open(&mut self, job: OpenJob) {
        let OpenJob { number, files, mut records, in_flight, lanes, log, mut notices, .. } = job;
        let mut by_place = in_flight.clone();
        by_place.sort_unstable_by_key(|message| message.sequence);
        let mut damaged = Vec::new();
        for message in &by_place {
            match self.message(&files, number, message.sequence, message.position) {
                Ok(()) => records.push_raw(&self.raw),
                Err(why) => {
                    notices.push(lost(&job.shared.name, message.sequence, &why));
                    damaged.push(message.sequence);
                }
            }
        }
        for message in in_flight.iter().filter(|message| !damaged.contains(&message.sequence)) {
            let &InFlight { sequence, id, order, released, .. } = message;
            records.push(&Record::Assign { sequence, id, order });
            if released {
                records.push(&Record::Release { sequence });
            }
        }
        let opened = Opened { records, lanes, log, notices };
        // Nobody may be waiting any more.
        drop(job.reply.send(Ok(opened)));
    }

    /// Reads a message, as the bytes of its record.
    fn message(
        &mut self,
        files: &Files,
        number: u32,
        sequence: Sequence,
        position: Position,
    ) -> Result<(), String> {
        let Some((segment, file, used)) = files.get(&position.slot()) else {
            return Err("its segment is gone".into());
        };
        let window = self.window.get_or_insert_with(|| Window::new(Arc::clone(file), READ_AHEAD));
        window.turn_to(file, *used);
        read_message(window, *segment, number, sequence, position.offset(), &mut self.raw)
    }
}

/// Reads the message at `offset` into `raw`, as the bytes of its record.
pub(super) fn read_message(
    window: &mut Window,
    segment: u64,
    number: u32,
    sequence: Sequence,
    offset: u64,
    raw: &mut Vec<u8>,
) -> Result<(), String> {
    let bytes = window.get(offset, MESSAGE_HEADER).map_err(|error| error.to_string())?;
    let header = FrameHeader::decode(bytes, segment, offset, u64::MAX)
        .filter(|header| header.kind == Kind::Message && header.session == number)
        .filter(|header| header.sequence == sequence.to_bits())
        .ok_or("its header is damaged")?;
    let payload = window.get(offset + MESSAGE_HEADER as u64, header.len);
    let payload = payload.map_err(|error| error.to_string())?;
    if !header.is_intact(payload) {
        return Err("its bytes are damaged".into());
    }
    raw.clear();
    raw.push(ENQUEUE);
    raw.extend_from_slice(&sequence.to_bits().to_le_bytes());
    raw.extend_from_slice(payload);
    Ok(())
}

fn lost(session: &str, sequence: Sequence, why: &str) -> StoreNotice {
    let text = format!("message {sequence} of session {session} is lost: {why}");
    tracing::error!(target: "mqttx::store", "{text}");
    StoreNotice { text, lost_records: 1 }
}
