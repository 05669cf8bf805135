//! The connectors of a manager.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::{Connector, keeper};
use crate::error::Error;
use crate::event::EventBus;
use crate::options::{SessionOptions, TlsOptions};

/// The connectors of a manager, one for each set of options, as long as sessions use them.
#[derive(Debug)]
pub(crate) struct TlsPool(Arc<Shared>);

/// What the task that looks after them knows.
#[derive(Debug)]
pub(super) struct Shared {
    events: Arc<EventBus>,
    /// Where that task runs.
    runtime: Option<Handle>,
    connectors: Mutex<Vec<Weak<Connector>>>,
    /// The task has something to do: files changed, a connector is new, or it is over.
    pub(super) wake: Notify,
    running: AtomicBool,
    closed: AtomicBool,
}

impl TlsPool {
    pub(crate) fn new(events: Arc<EventBus>, runtime: Handle) -> Self {
        Self::of(events, Some(runtime))
    }

    fn of(events: Arc<EventBus>, runtime: Option<Handle>) -> Self {
        Self(Arc::new(Shared {
            events,
            runtime,
            connectors: Mutex::default(),
            wake: Notify::new(),
            running: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }))
    }

    /// The connector for the sessions with these options.
    ///
    /// # Errors
    /// Files that cannot be used.
    pub(crate) fn connector(&self, options: &SessionOptions) -> Result<Arc<Connector>, Error> {
        let default = TlsOptions::new();
        let options = options.tls.as_ref().unwrap_or(&default);
        let mut connectors = self.0.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        connectors.retain(|connector| connector.strong_count() > 0);
        let known = connectors.iter().filter_map(Weak::upgrade).find(|c| c.options() == options);
        if let Some(known) = known {
            return Ok(known);
        }
        let connector = Arc::new(Connector::new(options.clone(), Arc::clone(&self.0.events))?);
        connectors.push(Arc::downgrade(&connector));
        drop(connectors);
        if let Some(runtime) = &self.0.runtime
            && !self.0.running.swap(true, Ordering::AcqRel)
        {
            runtime.spawn(keeper::keep(Arc::clone(&self.0)));
        }
        self.0.wake.notify_one();
        Ok(connector)
    }

    /// Takes all files as they are now.
    ///
    /// # Errors
    /// The first that cannot be used; the others are taken.
    pub(crate) fn reload(&self) -> Result<(), Error> {
        let results: Vec<_> = self.0.connectors().iter().map(|c| c.reload()).collect();
        results.into_iter().collect::<Result<Vec<_>, _>>().map(drop)
    }
}

impl Default for TlsPool {
    /// One that nobody looks after.
    fn default() -> Self {
        Self::of(EventBus::new(1), None)
    }
}

impl Drop for TlsPool {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.wake.notify_one();
    }
}

impl Shared {
    pub(super) fn connectors(&self) -> Vec<Arc<Connector>> {
        let connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        connectors.iter().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}
