//! Waiting for the connection of a session.

use std::time::Duration;

use super::shared::State;
use super::{Session, SessionStatus};
use crate::error::{Error, ErrorKind};

impl Session {
    /// Waits for a connection.
    ///
    /// # Errors
    /// `timeout` is over, the session failed for good, or it was removed. The last connection's error
    /// is the source.
    pub async fn wait_connected(&self, timeout: Duration) -> Result<(), Error> {
        self.wait(timeout, "connected", |state| state.status == SessionStatus::Connected).await
    }

    /// Waits for a connection on which every desired filter is granted or refused.
    ///
    /// # Errors
    /// As for [`wait_connected`](Self::wait_connected).
    pub async fn wait_ready(&self, timeout: Duration) -> Result<(), Error> {
        self.wait(timeout, "ready", is_ready).await
    }

    /// [`wait_ready`](Self::wait_ready) until a time that lies `timeout` after that of the caller's call.
    pub(crate) async fn wait_ready_until(
        &self,
        deadline: Option<tokio::time::Instant>,
        timeout: Duration,
    ) -> Result<(), Error> {
        let left = deadline.map_or(timeout, |at| at.duration_since(tokio::time::Instant::now()));
        self.wait_for(left, timeout, "ready", is_ready).await
    }

    async fn wait(
        &self,
        timeout: Duration,
        what: &str,
        reached: impl Fn(&State) -> bool,
    ) -> Result<(), Error> {
        self.wait_for(timeout, timeout, what, reached).await
    }

    /// Waits for what is `left` of `timeout`.
    async fn wait_for(
        &self,
        left: Duration,
        timeout: Duration,
        what: &str,
        reached: impl Fn(&State) -> bool,
    ) -> Result<(), Error> {
        let done = self.until(|state| {
            if reached(state) {
                return Some(Ok(()));
            }
            if state.closed {
                return Some(Err(Error::closed()));
            }
            (state.status == SessionStatus::Failed).then(|| {
                let cause = state.last_error.clone();
                Err(cause.unwrap_or_else(|| Error::new(ErrorKind::Session, "the session failed")))
            })
        });
        let outcome = tokio::time::timeout(left, done).await.unwrap_or_else(|_| {
            let error = Error::timeout(format!("not {what} after {} ms", timeout.as_millis()));
            Err(match self.last_error() {
                Some(last) => error.with_context("last error", &last).with_source(last),
                None => error,
            })
        });
        outcome.map_err(|error| error.with_session(self.name()))
    }
}

/// Every desired filter is granted or refused on the present connection.
fn is_ready(state: &State) -> bool {
    state.ready && state.core.is_settled()
}
