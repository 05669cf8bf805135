//! The state in Redis, by the shorter way of the builder.

use std::sync::Arc;

use super::SessionBuilder;
use crate::error::ConfigProblem;
use crate::options::{Secret, SessionOptions};
use crate::store::RedisStore;

/// What was said of Redis so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    url: Option<String>,
    auth: Option<(String, Secret, u32)>,
}

impl SessionBuilder {
    /// Keeps the state in Redis: a [`RedisStore`] with its defaults, at a URL as [`RedisStore::new`] takes it, or
    /// `host:port`. Each call makes a store with connections of its own: for many sessions make one, and give it to all of
    /// them by [`storage`](Self::storage).
    #[must_use]
    pub fn redis_storage(mut self, url: impl Into<String>) -> Self {
        self.redis.url = Some(url.into());
        self
    }

    /// User, password and database for [`redis_storage`](Self::redis_storage); an empty user is Redis' `default`.
    #[must_use]
    pub fn redis_auth(
        mut self,
        username: impl Into<String>,
        password: impl Into<Secret>,
        database: u32,
    ) -> Self {
        self.redis.auth = Some((username.into(), password.into(), database));
        self
    }
}

impl Wanted {
    /// Makes the store, or tells why there can be none.
    pub(super) fn apply(&self, options: &mut SessionOptions, problems: &mut Vec<ConfigProblem>) {
        let mut problem = |field: &str, message: String| {
            problems.push(ConfigProblem {
                field: field.to_owned(),
                value: "***".to_owned(),
                message,
            });
        };
        let store = match (&self.url, &self.auth) {
            (None, None) => return,
            (None, Some(_)) => {
                return problem(
                    "redis_auth",
                    "there is no redis_storage that it is for".to_owned(),
                );
            }
            (Some(url), _) => RedisStore::new(url),
        };
        let mut store = match store {
            Ok(store) => store,
            Err(error) => return problem("redis_storage", error.message().to_owned()),
        };
        if let Some((username, password, database)) = self.auth.clone() {
            store = store.password(password).database(database);
            if !username.is_empty() {
                store = store.username(username);
            }
        }
        options.store = Some(Arc::new(store));
    }
}
