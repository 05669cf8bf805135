//! Stands in for the Redis store until it is merged.
#![allow(dead_code, clippy::unused_self, clippy::unused_async)]

use std::time::Duration;

use mqttx::proto::Record;
use mqttx::store::{Inspection, Opening, Store};
use mqttx::{Error, OnFull, Secret};
use serde::Deserialize;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnStoreError {
    #[default]
    Pause,
    Fail,
}

#[derive(Clone, Debug)]
pub(crate) struct RedisStore;

impl RedisStore {
    pub(crate) fn new(_: &str) -> Result<Self, Error> {
        Err(Error::config("redis is not there yet"))
    }
    pub(crate) fn password(self, _: Secret) -> Self {
        self
    }
    pub(crate) fn username(self, _: impl Into<String>) -> Self {
        self
    }
    pub(crate) fn database(self, _: u32) -> Self {
        self
    }
    pub(crate) fn prefix(self, _: impl Into<String>) -> Self {
        self
    }
    pub(crate) fn ttl(self, _: Option<Duration>) -> Self {
        self
    }
    pub(crate) fn on_error(self, _: OnStoreError) -> Self {
        self
    }
    pub(crate) fn when_full(self, _: OnFull) -> Self {
        self
    }
    pub(crate) fn wait_replicas(self, _: u32, _: Duration) -> Self {
        self
    }
    pub(crate) async fn inspect(&self) -> Result<Inspection, Error> {
        Err(Error::config("redis is not there yet"))
    }
    pub(crate) async fn read(
        &self,
        _: &str,
        _: &mut (dyn FnMut(&Record<'_>, Option<u64>) + Send),
    ) -> Result<bool, Error> {
        Err(Error::config("redis is not there yet"))
    }
}

impl Store for RedisStore {
    fn open(&self, _: &str) -> Opening {
        Box::pin(std::future::ready(Err(Error::config("redis is not there yet"))))
    }
}
