//! Who the session is, asked before each attempt: user code, in a task of its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use mqttx_proto::Authentication;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::Driver;
use crate::auth::{Attempt, Authenticator, Exchange};
use crate::error::Error;
use crate::options::{Access, Answers};
use crate::session::now;
use crate::transport::ConnectError;

/// What an attempt needs besides a transport.
pub(super) struct Prepared {
    pub(super) answers: Answers,
    pub(super) running: Option<Running>,
}

/// An exchange whose first data goes out with CONNECT.
pub(super) struct Running {
    pub(super) authenticator: Arc<dyn Authenticator>,
    pub(super) attempt: Attempt,
    pub(super) exchange: Box<dyn Exchange>,
    /// When the credentials were asked for.
    pub(super) since: Instant,
}

/// Why an attempt ended before CONNECT.
pub(super) enum Failure {
    Transport(ConnectError),
    Access(Error),
}

/// The application is asked who the session is.
pub(super) type Question = Task<Result<Prepared, Error>>;

impl Driver {
    /// The question that comes before the attempt, if there is one.
    pub(super) fn ask(&self, broker: &str, attempt: u32) -> Option<Question> {
        let access = self.options.access()?.clone();
        let attempt = self.attempt(broker, attempt, false);
        Some(Task::spawn(&self.shared.services.runtime, prepare(access, attempt)))
    }

    pub(super) fn attempt(&self, broker: &str, attempt: u32, again: bool) -> Attempt {
        Attempt {
            session: Arc::clone(&self.shared.name),
            client_id: self.shared.lock().core.client_id().to_owned(),
            broker: broker.to_owned(),
            attempt,
            again,
        }
    }
}

async fn prepare(access: Access, attempt: Attempt) -> Result<Prepared, Error> {
    let mut answers = Answers::default();
    if let Some(provider) = &access.credentials {
        let credentials = provider.credentials(&attempt).await?;
        (answers.username, answers.password) = (credentials.username, credentials.password);
    }
    let Some(authenticator) = access.authenticator else {
        return Ok(Prepared { answers, running: None });
    };
    let since = now();
    let mut exchange = authenticator.begin(&attempt);
    let data = exchange.initial().await?.map(Into::into);
    answers.authentication = Some(Authentication { method: authenticator.method().into(), data });
    let running = Running { authenticator, attempt, exchange, since };
    Ok(Prepared { answers, running: Some(running) })
}

pub(super) fn too_late(limit: Duration) -> Error {
    let text = format!("no credentials after {} ms", limit.as_millis());
    Error::authentication(text).with_code("authentication.timeout")
}

/// A task that ends when nobody waits for it any more. One that panics is an error of the authentication.
pub(super) struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    pub(super) fn spawn(runtime: &Handle, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(runtime.spawn(work))
    }

    /// What came of it; an error when it panicked.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Error>> {
        let ended = Pin::new(&mut self.0).poll(cx);
        ended.map(|end| {
            end.map_err(|_| Error::bad_authentication("the code that has the credentials panicked"))
        })
    }
}

impl<T: Send + 'static> Future for Task<Result<T, Error>> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_end(cx).map(|end| end.and_then(|answer| answer))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
