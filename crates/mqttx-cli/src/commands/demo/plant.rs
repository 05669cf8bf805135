//! The demo's installation: brokers, sessions, forwarder, and the receiver's account.
//!
//! ```text
//! sensors ──▶ broker ──▶ bridge-in ═▶ bridge-out ──▶ broker ──▶ historian
//!        demo/plant/+/sensor/+/#  forwarder   site/{1}/{2}/{#}
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mqttx::{
    Error, Forwarder, ForwarderBuilder, ForwarderManager, ForwarderSource, MessageRef, Publish,
    QoS, Session, SessionManager, SessionOptions,
};
use tokio::sync::Notify;

use super::brokers::Broker;
use super::tracker::Tracker;
use crate::client::failure;
use crate::exit::Failure;

const PLANTS: usize = 4;
const SENSORS: usize = 8;

/// Every so many sensors one publishes at QoS 2, the others at QoS 1.
const EXACT_EVERY: usize = 4;

/// Messages between publisher and receiver at most: enough to keep every hop busy.
const ON_THE_WAY: u64 = 512;

/// How long the installation may take to come up.
const START: Duration = Duration::from_secs(10);

/// How long its parts may take to stop.
const STOP: Duration = Duration::from_secs(2);

/// Everything that runs.
pub(super) struct Plant {
    brokers: Vec<Broker>,
    sessions: SessionManager,
    forwarders: ForwarderManager,
    forwarder: Forwarder,
    sensors: Session,
    account: Arc<Account>,
    topics: Vec<Arc<str>>,
}

/// What was published and what arrived.
struct Account {
    start: Instant,
    tracker: Mutex<Tracker>,
    published: AtomicU64,
    received: AtomicU64,
    arrival: Notify,
}

impl Plant {
    /// Starts everything and waits until the forwarder and the receiver are subscribed.
    ///
    /// # Errors
    /// Something does not come up.
    pub(super) async fn start() -> Result<Self, Failure> {
        let brokers = vec![Broker::start().await?, Broker::start().await?];
        Self::connect(brokers).await.map_err(|error| failure(&error))
    }

    async fn connect(brokers: Vec<Broker>) -> Result<Self, Error> {
        let sessions = SessionManager::new();
        for (name, broker) in
            [("sensors", 0), ("bridge-in", 0), ("bridge-out", 1), ("historian", 1)]
        {
            let options = SessionOptions::quick_connect(name, brokers[broker].url());
            sessions.add_session(options.client_id(name).clean_start(true).build()?)?;
        }
        let topics: Vec<Arc<str>> = (0..PLANTS * SENSORS).map(|n| topic(n).into()).collect();
        let account = Arc::new(Account::new(topics.len()));
        let historian = Arc::clone(&account);
        sessions
            .session("historian")?
            .route("site/#")
            .qos(QoS::ExactlyOnce)
            .inline(move |message| historian.arrived(message))?
            .detach();
        let forwarders = ForwarderManager::new(&sessions);
        let source = ForwarderSource::new("bridge-in")
            .topic("demo/plant/+/sensor/+/#")
            .qos(QoS::ExactlyOnce);
        let forwarder = forwarders.add_forwarder(
            ForwarderBuilder::new("demo")
                .from(source)
                .target("bridge-out")
                .topic("site/{1}/{2}/{#}")
                .window(ON_THE_WAY as usize)
                .build()?,
        )?;
        for name in sessions.sessions() {
            sessions.session(&name)?.wait_ready(START).await?;
        }
        let sensors = sessions.session("sensors")?;
        Ok(Self { brokers, sessions, forwarders, forwarder, sensors, account, topics })
    }

    /// Publishes the next message. `false`: there is no room for it now.
    pub(super) fn publish(&self) -> bool {
        let number = self.published();
        if number - self.account.received.load(Ordering::Relaxed) >= ON_THE_WAY {
            return false;
        }
        let stream = number as usize % self.topics.len();
        let sequence = number / self.topics.len() as u64;
        let qos =
            if stream.is_multiple_of(EXACT_EVERY) { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        let payload = self.account.payload(stream, sequence);
        let message = Publish::new(Arc::clone(&self.topics[stream]), payload).qos(qos);
        // What becomes of it is seen at the other end.
        let accepted = self.sensors.try_publish(message).is_ok();
        if accepted {
            self.account.published.store(number + 1, Ordering::Relaxed);
        }
        accepted
    }

    /// Waits until a message arrived, or some time is over.
    pub(super) async fn room(&self) {
        let _ =
            tokio::time::timeout(Duration::from_millis(10), self.account.arrival.notified()).await;
    }

    /// Waits until everything published arrived and is acknowledged back to the source, or nothing
    /// moved for so long.
    pub(super) async fn arrived(&self, silence: Duration) {
        let progress = || self.received().min(self.forwarded());
        let mut last = (progress(), Instant::now());
        while last.0 < self.published() && last.1.elapsed() < silence {
            self.room().await;
            if progress() > last.0 {
                last = (progress(), Instant::now());
            }
        }
    }

    pub(super) fn published(&self) -> u64 {
        self.account.published.load(Ordering::Relaxed)
    }

    pub(super) fn received(&self) -> u64 {
        self.account.received.load(Ordering::Relaxed)
    }

    pub(super) fn forwarded(&self) -> u64 {
        self.forwarder.metrics().forwarded
    }

    /// Since everything was up.
    pub(super) fn elapsed(&self) -> Duration {
        self.account.start.elapsed()
    }

    pub(super) fn tracker(&self) -> MutexGuard<'_, Tracker> {
        self.account.tracker()
    }

    /// Stops forwarder, sessions and brokers.
    pub(super) async fn stop(self) {
        self.forwarders.shutdown(STOP).await;
        self.sessions.shutdown(STOP).await;
        for broker in self.brokers {
            broker.stop().await;
        }
    }
}

impl Account {
    fn new(streams: usize) -> Self {
        Self {
            start: Instant::now(),
            tracker: Mutex::new(Tracker::new(streams)),
            published: AtomicU64::new(0),
            received: AtomicU64::new(0),
            arrival: Notify::new(),
        }
    }

    /// Stream, sequence number and time, in 8 bytes each.
    fn payload(&self, stream: usize, sequence: u64) -> Vec<u8> {
        let fields = [stream as u64, sequence, self.now_us()];
        fields.iter().flat_map(|field| field.to_be_bytes()).collect()
    }

    fn arrived(&self, message: &MessageRef<'_>) {
        let now = self.now_us();
        let received = {
            let mut tracker = self.tracker();
            match fields(message.payload()) {
                Some([stream, sequence, sent]) => {
                    tracker.record(stream as usize, sequence, now.saturating_sub(sent));
                }
                None => tracker.record_foreign(),
            }
            tracker.received()
        };
        self.received.store(received, Ordering::Relaxed);
        self.arrival.notify_one();
    }

    fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    fn tracker(&self) -> MutexGuard<'_, Tracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn topic(stream: usize) -> String {
    format!("demo/plant/{}/sensor/{}/value", stream / SENSORS, stream % SENSORS)
}

fn fields(payload: &[u8]) -> Option<[u64; 3]> {
    let (fields, rest) = payload.as_chunks::<8>();
    let fields: &[[u8; 8]; 3] = fields.try_into().ok()?;
    rest.is_empty().then(|| fields.map(u64::from_be_bytes))
}
