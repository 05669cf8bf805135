//! TLS by rustls, over any stream of bytes.
//!
//! A [`Connector`] is what sessions with the same options share: the certificates, and the tickets by which a server
//! knows us again. [`TlsPool`] has those of a manager, and one task that looks after all of them: it takes changed files
//! and tells of certificates that end.

mod config;
mod connector;
mod expiry;
mod fault;
mod keeper;
mod key;
mod material;
mod pool;
mod roots;
mod stream;
mod verify;
mod watch;

pub(crate) use connector::Connector;
pub(crate) use pool::TlsPool;
pub(crate) use stream::TlsStream;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::ConfigProblem;
use crate::options::TlsOptions;

/// Many sessions with the same options are checked one after the other: what was good a moment ago is not read again.
const GOOD_FOR: Duration = Duration::from_millis(500);

static LAST_GOOD: Mutex<Option<(TlsOptions, Instant)>> = Mutex::new(None);

/// Everything that is wrong with the options, the files that they name included.
pub(crate) fn check(options: &TlsOptions) -> Vec<ConfigProblem> {
    let now = Instant::now();
    let mut last = LAST_GOOD.lock().unwrap_or_else(PoisonError::into_inner);
    let known = last.as_ref().is_some_and(|(good, at)| good == options && now < *at + GOOD_FOR);
    if known {
        return Vec::new();
    }
    match config::load(options) {
        Ok(_) => {
            *last = Some((options.clone(), now));
            Vec::new()
        }
        Err(problems) => problems,
    }
}
