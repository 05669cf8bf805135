//! What a Redis store is told.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use ::redis::Value;
use serde::Deserialize;

use super::address::{Address, Host, Kind};
use super::fault::away;
use crate::error::Error;
use crate::options::OnFull;

/// What a store does when it cannot be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnStoreError {
    /// Wait until it can be reached again. What was submitted stays in memory; nothing that depends on it is sent.
    #[default]
    Pause,
    /// Fail: the session ends.
    Fail,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) address: Address,
    pub(super) prefix: String,
    pub(super) ttl: Option<Duration>,
    pub(super) on_error: OnStoreError,
    pub(super) when_full: OnFull,
    /// How many replicas must have a group, and how long they have for it.
    pub(super) replicas: Option<(u32, Duration)>,
}

impl Settings {
    /// What can only be known when all is set.
    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |text: &'static str| Err(Error::config(text));
        if self.prefix.contains(['{', '}']) {
            return refuse(
                "the prefix of the Redis store has a brace: braces mark what a cluster keeps together",
            );
        }
        if self.address.kind == Kind::Cluster && self.address.database != 0 {
            return refuse("the database of the Redis store is not 0: a cluster has no other");
        }
        if self.ttl.is_some_and(|ttl| ttl < Duration::from_secs(1)) {
            return refuse("the time to live of the Redis store is below 1 s");
        }
        if self.address.username.is_some() && self.address.password.is_none() {
            return refuse("the Redis store has a user and no password");
        }
        Ok(())
    }

    /// No two owners of a session have the same, also when Redis was emptied between them.
    #[expect(clippy::unused_self, reason = "beside the other arguments")]
    pub(super) fn nonce(&self) -> String {
        format!("{:016x}", RandomState::new().hash_one(std::process::id()))
    }

    /// 0 for none.
    pub(super) fn ttl_millis(&self) -> u64 {
        self.ttl.map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).min(1 << 52))
    }

    /// How much longer than usual an answer may take.
    pub(super) fn wait_time(&self) -> Duration {
        self.replicas.map_or(Duration::ZERO, |(_, timeout)| timeout)
    }

    /// What `WAIT` answered, when it is not enough.
    pub(super) fn missing_replicas(&self, answer: Option<Value>, host: &Host) -> Option<Error> {
        let (wanted, _) = self.replicas?;
        match answer {
            Some(Value::Int(reached)) if reached >= i64::from(wanted) => None,
            Some(Value::Int(reached)) => {
                let what = format!("{reached} of {wanted} replicas have the last records");
                Some(away(&what, host))
            }
            other => Some(away(&format!("WAIT was answered with {other:?}"), host)),
        }
    }
}
