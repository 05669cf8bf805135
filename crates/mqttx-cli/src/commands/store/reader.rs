//! The stores that can be looked at.

use mqttx::proto::Record;
use mqttx::store::Inspection;
use mqttx::{Error, FileStore, RedisStore};

use crate::client::failure;
use crate::exit::Failure;
use crate::stores::StoreUrl;

/// Reads a store without owning it.
#[derive(Debug)]
pub(super) enum Reader {
    File { store: FileStore, anyway: bool },
    Redis(RedisStore),
}

/// Sees a record, and when it was written, in milliseconds of Unix time.
pub(super) type Visit<'v> = &'v mut (dyn FnMut(&Record<'_>, Option<u64>) + Send);

impl Reader {
    /// # Errors
    /// What is named is no store that can be read.
    pub(super) fn new(store: &StoreUrl, anyway: bool) -> Result<Self, Failure> {
        match store {
            StoreUrl::Memory => Err(Failure::usage("there is nothing in memory to look at")),
            StoreUrl::File(directory) => {
                Ok(Self::File { store: FileStore::new(directory), anyway })
            }
            StoreUrl::Redis(url) => {
                let store =
                    RedisStore::new(url).map_err(|error| Failure::usage(error.message()))?;
                Ok(Self::Redis(store))
            }
        }
    }

    /// What is in it, in numbers.
    ///
    /// # Errors
    /// It cannot be read, or a process uses it.
    pub(super) async fn inspect(&self) -> Result<Inspection, Failure> {
        match self {
            Self::File { store, anyway } => {
                store.inspect(*anyway).map_err(|error| explained(&error))
            }
            Self::Redis(store) => store.inspect().await.map_err(|error| explained(&error)),
        }
    }

    /// Shows the state of one session; `false`: there is none of this name.
    ///
    /// # Errors
    /// As for [`inspect`](Self::inspect).
    pub(super) async fn read(&self, session: &str, visit: Visit<'_>) -> Result<bool, Failure> {
        match self {
            Self::File { store, anyway } => {
                store.read(session, *anyway, visit).map_err(|error| explained(&error))
            }
            Self::Redis(store) => {
                store.read(session, visit).await.map_err(|error| explained(&error))
            }
        }
    }
}

/// The error with the way out.
fn explained(error: &Error) -> Failure {
    let failure = failure(error);
    if error.code() == "store.locked" {
        return failure.and("--read-anyway looks at it all the same");
    }
    failure
}
