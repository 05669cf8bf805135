//! A log as a session's driver has it.

use std::future::poll_fn;
use std::time::Duration;

use mqttx::proto::{
    Lsn, PacketId, Priority, PropertiesRef, QoS, Record, RecordBatch, Sequence, StoredMessage,
};
use mqttx::store::{Fetch, Log, Opened, Progress, Update};
use mqttx::{Error, RedisStore, Store};

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn store(url: &str) -> RedisStore {
    RedisStore::new(url).expect("a good address")
}

pub(crate) fn message(number: u64, payload: &str) -> Record<'_> {
    let message = StoredMessage {
        topic: "t",
        payload: payload.as_bytes(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: PropertiesRef::EMPTY,
        expires_at: None,
        give_up_at: None,
        origin: None,
    };
    Record::Enqueue { sequence: sequence(number), message }
}

pub(crate) fn sequence(number: u64) -> Sequence {
    Sequence::new(Priority::LOWEST, number)
}

pub(crate) fn assign(number: u64) -> Record<'static> {
    let id = PacketId::new(1 + number as u16).expect("not 0");
    Record::Assign { sequence: sequence(number), id, order: number }
}

pub(crate) fn done(number: u64) -> Record<'static> {
    Record::Done { sequence: sequence(number) }
}

pub(crate) struct Session {
    pub(crate) log: Box<dyn Log>,
    pub(crate) records: RecordBatch,
    pub(crate) queued: u64,
    pub(crate) submitted: Lsn,
    pub(crate) progress: Progress,
    /// What came besides progress.
    pub(crate) others: Vec<Update>,
}

impl Session {
    pub(crate) async fn open(store: &RedisStore, name: &str) -> Self {
        Self::try_open(store, name).await.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) async fn try_open(store: &RedisStore, name: &str) -> Result<Self, Error> {
        let Opened { records, lanes, log, notices } = within(store.open(name)).await?;
        assert!(notices.is_empty(), "{notices:?}");
        let queued = lanes.iter().map(|lane| lane.messages).sum();
        let (submitted, progress, others) = (0, Progress::default(), Vec::new());
        Ok(Self { log, records, queued, submitted, progress, others })
    }

    pub(crate) fn submit(&mut self, records: &[Record<'_>]) {
        let mut batch = RecordBatch::new();
        records.iter().for_each(|record| batch.push(record));
        self.submitted += records.len() as Lsn;
        self.log.submit(&mut batch);
    }

    pub(crate) async fn update(&mut self) -> Result<Update, Error> {
        within(poll_fn(|cx| self.log.poll_update(cx))).await
    }

    /// Takes the next update in.
    async fn step(&mut self) -> Result<(), Error> {
        match self.update().await? {
            Update::Progress(progress) => {
                assert!(
                    progress.written >= self.progress.written
                        && progress.synced >= self.progress.synced
                );
                self.progress = progress;
            }
            other => self.others.push(other),
        }
        Ok(())
    }

    pub(crate) async fn try_synced(&mut self) -> Result<(), Error> {
        while self.progress.synced < self.submitted {
            self.step().await?;
        }
        Ok(())
    }

    pub(crate) async fn synced(&mut self) {
        self.try_synced().await.expect("the store goes on");
    }

    pub(crate) async fn keep(&mut self, records: &[Record<'_>]) {
        self.submit(records);
        self.synced().await;
    }

    /// Waits for an update of that kind.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Update) -> bool) {
        while !self.others.iter().any(&wanted) {
            self.step().await.expect("the store goes on");
        }
        self.others.retain(|update| !wanted(update));
    }

    pub(crate) async fn error(&mut self) -> Error {
        loop {
            if let Err(error) = self.step().await {
                return error;
            }
        }
    }

    /// The payloads of the queued messages, in order.
    pub(crate) async fn payloads(&mut self) -> Vec<String> {
        let mut wanted =
            Fetch { priority: Priority::LOWEST, from: 0, messages: 500, bytes: 1 << 20 };
        let mut payloads = Vec::new();
        loop {
            self.log.fetch(wanted);
            let fetched = loop {
                match self.update().await.expect("the store goes on") {
                    Update::Fetched(fetched) => break fetched,
                    Update::Progress(progress) => self.progress = progress,
                    _ => {}
                }
            };
            if fetched.records.is_empty() {
                return payloads;
            }
            for record in &fetched.records {
                let Ok(Record::Enqueue { message, .. }) = record else {
                    panic!("no message: {record:?}")
                };
                payloads.push(String::from_utf8(message.payload.to_vec()).expect("text"));
            }
            wanted.from = fetched.next;
        }
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

pub(crate) fn is_unavailable(update: &Update) -> bool {
    matches!(update, Update::Unavailable(_))
}

pub(crate) fn is_available(update: &Update) -> bool {
    matches!(update, Update::Available)
}

/// `count` payloads that can be told from each other.
pub(crate) fn texts(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("message {n}")).collect()
}
