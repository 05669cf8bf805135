//! Sessions in Redis: a server, a master behind sentinels, or a cluster.
//!
//! # What is kept how
//!
//! Each session has six keys, which a cluster keeps together: a hash with small state, a hash with the messages, a sorted set
//! that has the queued ones in order, a hash with the assignments, a set with received packet ids, a hash with filters. A
//! finished message takes no room. A message is written once; nothing is written that grows with the session.
//!
//! All sessions of a store share one connection to each server. What they submit while a group is on its way is the next group:
//! one pipeline, one round trip, whatever the number of sessions. For each session, one script applies its records. It compares
//! the token of the owner and the position of the last record first: a former owner changes nothing, and a group that comes
//! again because its answer was lost is applied once.
//!
//! # What Redis promises
//!
//! A record counts as written and synced when Redis has answered. How much that is worth is up to the server:
//!
//! | server | end of this process | end of Redis (`kill -9`) | end of the machine with Redis |
//! |---|---|---|---|
//! | `appendonly yes`, `appendfsync always` | nothing lost | nothing lost | nothing lost |
//! | `appendonly yes`, `appendfsync everysec` | nothing lost | nothing lost | about the last second |
//! | `appendonly yes`, `appendfsync no` | nothing lost | nothing lost | what the system has not written: half a minute |
//! | snapshots (RDB) alone | nothing lost | everything since the last snapshot | everything since the last snapshot |
//! | neither | nothing lost | everything | everything |
//!
//! **No accepted message is ever lost** is therefore true with `appendfsync always`; with `everysec` up to a power cut of
//! Redis' machine. Replication is asynchronous: a failover, by Sentinel or in a cluster, loses what the new master had not
//! received. [`wait_replicas`](RedisStore::wait_replicas) has a record count as synced only when so many replicas have it; the
//! window that is left is a failover to a replica that was not among them. A master that is cut off from its replicas should
//! refuse writes (`min-replicas-to-write`), which this store waits for. `maxmemory-policy` must be `noeviction`: all others
//! delete sessions.
//!
//! What Redis had confirmed and lost is **found at the next write** of a session that is open: its positions do not fit. The
//! session then fails with the code `store.lost` rather than go on with a hole. Opened again, it goes on with what is left. A
//! session that is not open meanwhile cannot tell.
//!
//! # When it does not work
//!
//! - Redis is away, loads its data, is a replica now, cannot write to its disk: with [`OnStoreError::Pause`] the log says
//!   [`Update::Unavailable`](super::Update::Unavailable), what was submitted stays in memory, and is sent in order when a
//!   server answers. Attempts become rarer, up to one in 5 s. With [`OnStoreError::Fail`] it is an error, after one attempt
//!   more.
//! - Refused credentials or permissions are an error at once: `store.credentials`.
//! - A cluster moves the slot of a session: the log says `Unavailable` until all keys are there, since a session is on one node
//!   or on none.
//! - Redis has no memory left: the log says [`Update::Full`](super::Update::Full) and looks four times a second. Messages wait.
//!   What makes room (and what is in front of it in the same session) is written all the same, a little past `maxmemory`: a
//!   full store must be able to empty itself.
//!
//! A user with [ACLs](https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/) needs the keys below the
//! prefix, and `+@hash +@set +@sortedset +@keyspace +evalsha +script|load +role`, in a cluster `+cluster|slots`,
//! and `+wait` for `wait_replicas`.

mod address;
mod connect;
mod engine;
mod fault;
mod group;
mod keys;
mod log;
mod opened;
mod settings;
mod tools;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mqttx_proto::Record;

use self::address::Address;
use self::engine::Lease;
use self::log::RedisLog;
use self::settings::Settings;
use super::inspect::Inspection;
use super::{Closing, Opened, Opening, Store, StoreMetrics, StoreNotice};
use crate::error::Error;
use crate::options::{OnFull, Secret};

pub use settings::OnStoreError;

/// Keeps sessions in Redis; see the [module](self).
///
/// Clones are the same store and share its connections. Options are set before the first session: they concern the clone that
/// they make.
///
/// ```
/// use std::time::Duration;
/// use mqttx::{RedisStore, SessionOptions};
///
/// let store = RedisStore::new("redis+sentinel://s1,s2,s3/mymaster")?
///     .password("secret".into())
///     .prefix("plant:")
///     .wait_replicas(1, Duration::from_secs(1));
/// let options = SessionOptions::quick_connect("plant", "localhost:1883").client_id("plant").storage(store).build()?;
/// # Ok::<(), mqttx::Error>(())
/// ```
#[derive(Clone)]
pub struct RedisStore {
    lease: Arc<Lease>,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisStore").field(&self.lease.shared().settings).finish()
    }
}

impl RedisStore {
    /// A store at `url`: `redis://HOST[:PORT][/DATABASE]`, `redis+sentinel://HOST[:PORT][,…]/MASTER[/DATABASE]`,
    /// `redis+cluster://HOST[:PORT][,…]`, or `HOST:PORT`. With `rediss` for `redis` it uses TLS, and trusts whom the system
    /// trusts. `USER:PASSWORD@` may stand before the host, percent-encoded. It connects to nothing yet.
    ///
    /// # Errors
    /// The URL is none of these; the text says what is allowed, and does not repeat it.
    pub fn new(url: &str) -> Result<Self, Error> {
        let settings = Settings {
            address: Address::parse(url)?,
            prefix: "mqttx:".to_owned(),
            ttl: None,
            on_error: OnStoreError::default(),
            when_full: OnFull::Block,
            replicas: None,
        };
        Ok(Self { lease: Arc::new(Lease::new(settings)) })
    }

    /// The password. Default: that of the URL.
    #[must_use]
    pub fn password(self, password: Secret) -> Self {
        self.with(|settings| settings.address.password = Some(password))
    }

    /// The user. Default: that of the URL, or Redis' `default`.
    #[must_use]
    pub fn username(self, username: impl Into<String>) -> Self {
        self.with(|settings| settings.address.username = Some(username.into()))
    }

    /// The database. Default: that of the URL, or 0. A cluster has only 0; another is an error when a session is opened.
    #[must_use]
    pub fn database(self, database: u32) -> Self {
        self.with(|settings| settings.address.database = database)
    }

    /// What all keys begin with. Default `mqttx:`. Stores with different prefixes know nothing of each other. Braces are an
    /// error when a session is opened.
    #[must_use]
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        self.with(|settings| settings.prefix = prefix.into())
    }

    /// How long the state of a session that nobody has open is kept. Default: for ever. At least 1 s.
    ///
    /// Every write refreshes it, and so does an open session that is quiet, three times within that time. When Redis is away
    /// for longer, or the process stops for longer, **everything about the session is gone**.
    #[must_use]
    pub fn ttl(self, ttl: Option<Duration>) -> Self {
        self.with(|settings| settings.ttl = ttl)
    }

    /// What happens when Redis cannot be reached. Default [`OnStoreError::Pause`].
    #[must_use]
    pub fn on_error(self, on_error: OnStoreError) -> Self {
        self.with(|settings| settings.on_error = on_error)
    }

    /// What happens to new messages while Redis has no memory left. Default [`OnFull::Block`]: they wait.
    #[must_use]
    pub fn when_full(self, when_full: OnFull) -> Self {
        self.with(|settings| settings.when_full = when_full)
    }

    /// A record counts as synced when `replicas` replicas have it too. Default: the master's answer is enough.
    ///
    /// Each group waits up to `timeout` for them. When they are too few by then, the log says
    /// [`Update::Unavailable`](super::Update::Unavailable), and the group is sent again.
    #[must_use]
    pub fn wait_replicas(self, replicas: u32, timeout: Duration) -> Self {
        self.with(|settings| settings.replicas = (replicas > 0).then_some((replicas, timeout)))
    }

    fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.lease.shared().settings.clone();
        change(&mut settings);
        Self { lease: Arc::new(Lease::new(settings)) }
    }

    /// What is in the store. It only reads, over connections of its own.
    ///
    /// # Errors
    /// Redis cannot be reached, or refuses the credentials.
    pub async fn inspect(&self) -> Result<Inspection, Error> {
        tools::inspect(&self.lease.shared().settings).await
    }

    /// Shows the records that a session comes to, each message with the time of its acceptance in milliseconds of Unix time.
    /// `false` when there is no such session. It only reads.
    ///
    /// # Errors
    /// Redis cannot be reached, refuses the credentials, or has something else under these keys.
    pub async fn read(
        &self,
        session: &str,
        visit: &mut (dyn FnMut(&Record<'_>, Option<u64>) + Send),
    ) -> Result<bool, Error> {
        tools::read(&self.lease.shared().settings, session, visit).await
    }
}

impl Store for RedisStore {
    fn open(&self, session: &str) -> Opening {
        let (lease, session) = (Arc::clone(&self.lease), session.to_owned());
        Box::pin(async move {
            lease.shared().settings.check()?;
            let (parts, cell) = lease.shared().open(&session).await?;
            let mut notices = Vec::new();
            if parts.is_headless() {
                let text = format!(
                    "Redis: the state of session {session} is missing, its messages are not: it was evicted or deleted; \
                     received packet ids and numbers may be used again"
                );
                notices.push(StoreNotice { text, lost_records: 0 });
            }
            let (records, lanes) = (parts.records(&mut notices), parts.queued());
            let log = Box::new(RedisLog::new(cell, lease));
            Ok(Opened { records, lanes, log, notices })
        })
    }

    fn spills(&self) -> bool {
        true
    }

    fn on_full(&self) -> OnFull {
        self.lease.shared().settings.when_full
    }

    fn metrics(&self) -> StoreMetrics {
        self.lease.shared().metrics()
    }

    fn trouble(&self) -> Option<Error> {
        self.lease.shared().trouble()
    }

    fn close(&self) -> Closing {
        let lease = Arc::clone(&self.lease);
        Box::pin(async move { lease.shared().close().await })
    }
}
