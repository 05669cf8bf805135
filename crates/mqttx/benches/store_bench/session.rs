//! A session's driver, without a session.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use mqttx::proto::{
    PacketId, Priority, PropertiesRef, QoS, Record, RecordBatch, Sequence, StoredMessage,
};
use mqttx::store::{Fetch, Fetched, Log, Opened, Progress, Update};
use mqttx::{FileStore, Store};

use crate::PAYLOAD;

pub(crate) struct Session {
    log: Box<dyn Log>,
    pub(crate) opened_lane: mqttx::store::Lane,
    batch: RecordBatch,
    position: u64,
    next: u64,
    order: u64,
    progress: Progress,
    /// Positions of messages that are not durable, of ids that are not written.
    accepting: VecDeque<(u64, u64)>,
    assigning: VecDeque<(u64, u64)>,
    pub(crate) finished: u64,
    pub(crate) durable: u64,
    fetched: Option<Fetched>,
}

static BODY: [u8; PAYLOAD] = [b'x'; PAYLOAD];

impl Session {
    pub(crate) async fn open(store: &FileStore, name: &str) -> Self {
        let opened: Opened = store.open(name).await.expect("a log");
        Self {
            log: opened.log,
            opened_lane: opened.lanes[0],
            batch: RecordBatch::new(),
            position: 0,
            next: opened.lanes[0].end,
            order: 0,
            progress: Progress::default(),
            accepting: VecDeque::new(),
            assigning: VecDeque::new(),
            finished: 0,
            durable: 0,
            fetched: None,
        }
    }

    pub(crate) fn enqueue(&mut self, count: usize) {
        for _ in 0..count {
            let message = StoredMessage {
                topic: "plant/7/state",
                payload: &BODY,
                qos: QoS::AtLeastOnce,
                retain: false,
                properties: PropertiesRef::EMPTY,
                expires_at: None,
                give_up_at: None,
                origin: None,
            };
            self.push(&Record::Enqueue { sequence: sequence(self.next), message });
            self.accepting.push_back((self.position, self.next));
            self.next += 1;
        }
    }

    pub(crate) fn done(&mut self, number: u64) {
        self.push(&Record::Done { sequence: sequence(number) });
    }

    pub(crate) fn push(&mut self, record: &Record<'_>) {
        self.batch.push(record);
        self.position += 1;
    }

    pub(crate) fn submit(&mut self) {
        if let Some(&(position, _)) = self.accepting.back() {
            self.log.hurry(position);
        }
        if !self.batch.is_empty() {
            self.log.submit(&mut self.batch);
        }
    }

    pub(crate) fn fetch(&mut self, from: u64, messages: usize) {
        let priority = Priority::LOWEST;
        self.log.fetch(Fetch { priority, from, messages, bytes: 1 << 20 });
    }

    pub(crate) fn take_fetched(&mut self) -> Option<Fetched> {
        self.fetched.take()
    }

    pub(crate) fn is_written(&self) -> bool {
        self.progress.written == self.position
    }

    /// Takes all news.
    pub(crate) fn poll(&mut self, waker: &Waker) {
        let mut cx = Context::from_waker(waker);
        while let Poll::Ready(update) = self.log.poll_update(&mut cx) {
            match update.expect("a store that works") {
                Update::Progress(progress) => self.progress = progress,
                Update::Fetched(fetched) => self.fetched = Some(fetched),
                other => eprintln!("{other:?}"),
            }
        }
        while self.accepting.front().is_some_and(|&(at, _)| at <= self.progress.synced) {
            self.accepting.pop_front();
            self.durable += 1;
        }
    }

    /// The life of messages: an id once a message is durable, then, once that is written, the end, and a new one.
    pub(crate) fn turn(&mut self, waker: &Waker) {
        let mut cx = Context::from_waker(waker);
        while let Poll::Ready(update) = self.log.poll_update(&mut cx) {
            match update.expect("a store that works") {
                Update::Progress(progress) => self.progress = progress,
                other => eprintln!("{other:?}"),
            }
        }
        let mut finished = 0;
        while let Some(&(at, number)) = self.assigning.front()
            && at <= self.progress.written
        {
            self.assigning.pop_front();
            self.done(number);
            finished += 1;
        }
        self.finished += finished as u64;
        self.enqueue(finished);
        while let Some(&(at, number)) = self.accepting.front()
            && at <= self.progress.synced
        {
            self.accepting.pop_front();
            self.durable += 1;
            self.order += 1;
            let id = PacketId::new((self.order % 65_535) as u16 + 1).expect("not zero");
            self.push(&Record::Assign { sequence: sequence(number), id, order: self.order });
            self.assigning.push_back((self.position, number));
        }
        self.submit();
    }
}

pub(crate) fn sequence(number: u64) -> Sequence {
    Sequence::new(Priority::LOWEST, number)
}

/// Wakes a thread, and says which sessions have news.
pub(crate) struct Ready {
    list: std::sync::Mutex<Vec<usize>>,
    thread: std::thread::Thread,
}

pub(crate) struct SessionWaker {
    at: usize,
    ready: Arc<Ready>,
}

impl Ready {
    /// For the thread that calls it.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { list: std::sync::Mutex::default(), thread: std::thread::current() })
    }

    pub(crate) fn waker(self: &Arc<Self>, at: usize) -> Waker {
        Waker::from(Arc::new(SessionWaker { at, ready: Arc::clone(self) }))
    }

    /// Waits until somebody has news, or for the time.
    pub(crate) fn wait_until(&self, until: std::time::Instant) {
        let news = std::mem::take(&mut *self.list.lock().expect("the list"));
        let left = until.saturating_duration_since(std::time::Instant::now());
        if news.is_empty() && !left.is_zero() {
            std::thread::park_timeout(left);
        }
    }

    /// Waits until somebody has news.
    pub(crate) fn wait(&self, into: &mut Vec<usize>) {
        into.clear();
        loop {
            std::mem::swap(into, &mut *self.list.lock().expect("the list"));
            if !into.is_empty() {
                return;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(100));
        }
    }
}

impl std::task::Wake for SessionWaker {
    fn wake(self: Arc<Self>) {
        let mut list = self.ready.list.lock().expect("the list");
        list.push(self.at);
        let first = list.len() == 1;
        drop(list);
        if first {
            self.ready.thread.unpark();
        }
    }
}
