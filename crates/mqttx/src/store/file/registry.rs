//! One engine for each directory of this process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use super::disk::OsDisk;
use super::engine::{Engine, Options};
use super::lock::Lock;
use crate::error::Error;

/// The engine of that directory: the one that is open, or else a new one. One that is being closed is waited for.
pub(super) fn engine(directory: &Path, options: Options) -> Result<Arc<Engine>, Error> {
    let disk = OsDisk::create(directory).map_err(|error| cannot(directory, error))?;
    let path = directory.canonicalize().map_err(|error| cannot(directory, error))?;
    let mut engines = REGISTRY.lock();
    while let Some(known) = engines.get(&path) {
        if let Some(engine) = known.upgrade().filter(|engine| !engine.is_stopped()) {
            return Ok(engine);
        }
        engines = REGISTRY.changed.wait(engines).unwrap_or_else(PoisonError::into_inner);
    }
    engines.insert(path.clone(), Weak::new());
    drop(engines);
    let forget = {
        let path = path.clone();
        move || {
            REGISTRY.lock().remove(&path);
            REGISTRY.changed.notify_all();
        }
    };
    let opened = Lock::take(&path)
        .and_then(|lock| Engine::open(Arc::new(disk), options, Some(lock), forget.clone()));
    match opened {
        Ok(engine) => {
            // It may have failed already, and be forgotten.
            if let Some(known) = REGISTRY.lock().get_mut(&path) {
                *known = Arc::downgrade(&engine);
            }
            REGISTRY.changed.notify_all();
            Ok(engine)
        }
        Err(error) => {
            forget();
            Err(error)
        }
    }
}

/// An entry without an engine is one that is being opened, or closed.
struct Registry {
    engines: Mutex<HashMap<PathBuf, Weak<Engine>>>,
    changed: Condvar,
}

static REGISTRY: LazyLock<Registry> =
    LazyLock::new(|| Registry { engines: Mutex::default(), changed: Condvar::new() });

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Weak<Engine>>> {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cannot(directory: &Path, error: std::io::Error) -> Error {
    let text = format!("the store in {} cannot be opened: {error}", directory.display());
    Error::store(text).with_source(error)
}
