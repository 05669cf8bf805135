//! What the daemon shows and takes over HTTP.
//!
//! It has a thread and a runtime of its own: a scrape of thousands of sessions, or a client that reads slowly, takes no
//! time from the sessions' threads. [`serve`] holds the limits of connections, [`routes`] the paths; each group of
//! paths has a file.

mod auth;
mod config;
mod dashboard;
mod event;
mod events;
mod forwarders;
mod health;
mod index;
mod metrics;
mod places;
mod refusal;
mod reload;
mod reply;
mod routes;
mod serve;
mod sessions;
mod stalling;
mod stores;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use mqttx::store::Store;
use mqttx::{ForwarderManager, Secret, SessionManager};
use tokio::sync::{Semaphore, watch};

use crate::commands::run::reload::Reload;
use crate::config::HttpSection;
use crate::exit::Failure;

use dashboard::Dashboard;

/// What all requests see.
pub(crate) struct Site {
    pub(crate) sessions: SessionManager,
    pub(crate) forwarders: ForwarderManager,
    reload: Reload,
    facts: watch::Sender<Arc<Facts>>,
    /// The stop has begun.
    pub(crate) stopping: AtomicBool,
    /// Places at the event stream.
    listeners: Arc<Semaphore>,
    dashboard: Dashboard,
}

/// What a reload may change.
#[derive(Clone)]
pub(crate) struct Facts {
    pub(crate) stores: BTreeMap<String, Arc<dyn Store>>,
    /// The configuration, without secrets.
    pub(crate) config: serde_json::Value,
    /// When it was read.
    pub(crate) loaded: SystemTime,
    /// The last attempt to read it again succeeded.
    pub(crate) successful: bool,
    /// How long a forwarder may take to drain.
    pub(crate) grace: Duration,
    pub(crate) token: Option<Secret>,
    pub(crate) per_session_limit: usize,
}

impl Site {
    /// What counts now.
    pub(crate) fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts.borrow())
    }

    /// Resolves when another token than this one counts.
    fn other_token(&self, token: Option<Secret>) -> impl Future<Output = ()> + use<> {
        let mut facts = self.facts.subscribe();
        async move {
            // Without a site nobody changes anything any more.
            let _ = facts.wait_for(|facts| facts.token != token).await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut Facts)) {
        self.facts.send_modify(|facts| change(Arc::make_mut(facts)));
    }
}

/// An address that is taken, before anything runs.
pub(crate) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// The server, until it is stopped.
pub(crate) struct HttpServer {
    site: Arc<Site>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Bound {
    /// Takes the address.
    ///
    /// # Errors
    /// It is in use, or not of this machine.
    pub(crate) fn new(section: &HttpSection) -> Result<Self, Failure> {
        let bound = TcpListener::bind(section.listen).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        });
        bound.map_err(|error| {
            Failure::runtime(format_args!("http.listen {}: {error}", section.listen))
        })
    }

    /// Where it is, with the port that the system chose for 0.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to serve.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn serve(
        self,
        sessions: SessionManager,
        forwarders: ForwarderManager,
        facts: Facts,
        reload: Reload,
    ) -> Result<HttpServer, Failure> {
        let site = Arc::new(Site {
            sessions,
            forwarders,
            reload,
            facts: watch::Sender::new(Arc::new(facts)),
            stopping: AtomicBool::new(false),
            listeners: Arc::new(Semaphore::new(events::LISTENERS)),
            dashboard: Dashboard::new(),
        });
        let (stop, stopped) = watch::channel(false);
        let failed = |error| Failure::runtime(format_args!("http: {error}"));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let router = routes::router(Arc::clone(&site));
        let observed = dashboard::observe(Arc::clone(&site), stopped.clone());
        let thread = std::thread::Builder::new().name("mqttx-http".into()).spawn(move || {
            let _observer = runtime.spawn(observed);
            runtime.block_on(serve::serve(self.listener, router, stopped));
        });
        Ok(HttpServer { site, stop, thread: thread.map_err(failed)? })
    }
}

impl HttpServer {
    /// From now on the daemon is not ready any more.
    pub(crate) fn is_stopping(&self) {
        self.site.stopping.store(true, Ordering::Release);
    }

    /// The configuration was read again, and this counts from now on.
    pub(crate) fn change(&self, facts: Facts) {
        self.site.change(|before| *before = facts);
    }

    /// The configuration was read again, and is not used.
    pub(crate) fn reload_failed(&self) {
        self.site.change(|facts| facts.successful = false);
    }

    /// Ends it; requests under way have a moment.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        let joined = tokio::task::spawn_blocking(|| self.thread.join());
        let _ = tokio::time::timeout(serve::LAST_MOMENTS + Duration::from_secs(1), joined).await;
    }
}
