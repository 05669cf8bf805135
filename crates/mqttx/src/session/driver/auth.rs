//! Enhanced authentication on one connection: the core keeps the order, the exchange works in tasks of its own.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use mqttx_proto::{AuthenticateError, Hidden};

use super::access::{Running, Task};
use super::desk::Desk;
use super::{Driver, Phase};
use crate::auth::{Attempt, Authenticator, Exchange};
use crate::error::Error;
use crate::event::EventKind;

/// The authentication of one connection.
pub(super) struct Auth {
    authenticator: Arc<dyn Authenticator>,
    attempt: Attempt,
    work: Work,
    /// When the credentials of the exchange that is under way, or was last, were asked for.
    since: Instant,
    /// Somebody wants another one, as soon as none is under way.
    wanted: bool,
    /// When it is time for another one.
    renew_at: Option<Instant>,
    /// How long after one that could not be begun the next is tried.
    patience: Duration,
    /// Why the connection ends.
    failure: Option<Error>,
}

enum Work {
    Idle,
    /// The server has to say something.
    Server(Box<dyn Exchange>),
    Busy(Job, Task<Done>),
}

/// What the exchange works on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Job {
    /// The first data of another authentication.
    Begin,
    Respond,
    Finish,
}

/// The exchange after a step, and what came of it.
struct Done {
    exchange: Box<dyn Exchange>,
    outcome: Result<Option<Vec<u8>>, Error>,
    /// How long the credentials are valid, as far as is known.
    valid_for: Option<Duration>,
}

/// The shortest time until the next authentication, however short credentials are valid, and the first delay after one that could
/// not be begun.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest delay after one that could not be begun.
const LONGEST: Duration = Duration::from_secs(60);

impl Auth {
    pub(super) fn new(running: Running) -> Self {
        let Running { authenticator, attempt, exchange, since } = running;
        Self {
            authenticator,
            attempt: Attempt { again: true, ..attempt },
            work: Work::Server(exchange),
            since,
            wanted: false,
            renew_at: None,
            patience: SHORTEST,
            failure: None,
        }
    }

    /// When it is time for another authentication.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.renew_at.filter(|_| matches!(self.work, Work::Idle))
    }

    /// The connection is over: why, if it was for this, and whether another authentication was wanted on it.
    pub(super) fn end(self) -> (Option<Error>, bool) {
        (self.failure, self.wanted)
    }

    /// After four fifths of the time that the credentials are valid.
    fn plan_renewal(&mut self, valid_for: Option<Duration>) {
        let wait = valid_for.map(|time| (time / 5 * 4).max(SHORTEST));
        self.renew_at = wait.and_then(|wait| self.since.checked_add(wait));
        self.patience = SHORTEST;
    }

    /// One that was due could not be begun: the next try is later and later.
    fn put_off_renewal(&mut self, now: Instant) {
        if let Some(at) = self.renew_at.as_mut().filter(|at| **at <= now) {
            *at = now + self.patience;
            self.patience = (self.patience * 2).min(LONGEST);
        }
    }
}

impl Driver {
    /// Somebody wants another authentication.
    pub(super) fn want_authentication(&mut self) {
        if let Phase::Open(link) = &mut self.phase
            && let Some(auth) = &mut link.auth
        {
            auth.wanted = true;
        } else {
            let text = "the connection has no authentication method that can be used again";
            self.shared.lock().end_renewal(Some(Error::session_error(text)));
            self.shared.changed.notify_waiters();
        }
    }

    /// The server asks for data.
    pub(super) fn on_challenged(&mut self, data: Option<Hidden>) {
        self.work_on(Job::Respond, data);
    }

    /// The server says that it is content.
    pub(super) fn on_authenticated(&mut self, data: Option<Hidden>) {
        self.work_on(Job::Finish, data);
    }

    fn work_on(&mut self, job: Job, data: Option<Hidden>) {
        let Phase::Open(link) = &mut self.phase else { return };
        let Some(auth) = &mut link.auth else { return };
        // The core sees to it that the server keeps to its turns.
        let Work::Server(exchange) = std::mem::replace(&mut auth.work, Work::Idle) else { return };
        auth.work =
            Work::Busy(job, Task::spawn(&self.shared.services.runtime, work(job, exchange, data)));
    }

    /// Begins another authentication when it is time, and takes what the exchange has; `true` if anything moved.
    pub(super) fn drive_auth(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        desk: &mut Desk,
    ) -> bool {
        let Phase::Open(link) = &mut self.phase else { return false };
        let (online, closing) = (link.online_since().is_some(), link.is_closing());
        let Some(auth) = link.auth.as_deref_mut().filter(|_| !closing) else { return false };
        match &mut auth.work {
            Work::Idle if online && (auth.wanted || auth.renew_at.is_some_and(|at| at <= now)) => {
                auth.wanted = false;
                auth.since = now;
                let (authenticator, attempt) =
                    (Arc::clone(&auth.authenticator), auth.attempt.clone());
                self.begin_again(authenticator, attempt);
                true
            }
            Work::Busy(job, task) => {
                let job = *job;
                let Poll::Ready(end) = task.poll_end(cx) else { return false };
                auth.work = Work::Idle;
                match end {
                    Ok(done) => self.on_worked(now, desk, job, done),
                    Err(error) => self.on_work_failed(now, job, error),
                }
                true
            }
            Work::Idle | Work::Server(_) => false,
        }
    }

    fn begin_again(&mut self, authenticator: Arc<dyn Authenticator>, attempt: Attempt) {
        let begun = Task::spawn(&self.shared.services.runtime, async move {
            let exchange = authenticator.begin(&attempt);
            work(Job::Begin, exchange, None).await
        });
        self.shared.lock().begin_renewal();
        if let Phase::Open(link) = &mut self.phase
            && let Some(auth) = &mut link.auth
        {
            auth.work = Work::Busy(Job::Begin, begun);
        }
    }

    /// The exchange has its next step.
    fn on_worked(&mut self, now: Instant, desk: &mut Desk, job: Job, done: Done) {
        let data = match done.outcome {
            Ok(data) => data.map(Hidden::from),
            Err(error) => return self.on_work_failed(now, job, error),
        };
        let data = data.as_deref();
        let outcome = {
            let core = &mut self.shared.lock().core;
            match job {
                Job::Begin => core.reauthenticate(now, data),
                Job::Respond => core.authenticate(data),
                Job::Finish => core.confirm_authentication(now),
            }
        };
        match outcome {
            Ok(()) if job == Job::Finish => self.on_finished(now, desk, done.valid_for),
            Ok(()) => {
                if let Phase::Open(link) = &mut self.phase
                    && let Some(auth) = &mut link.auth
                {
                    auth.work = Work::Server(done.exchange);
                }
            }
            // The connection is being closed already, for another reason.
            Err(AuthenticateError::NotNow) if job != Job::Begin => {}
            Err(error) => {
                let error = Error::bad_authentication(error.to_string()).with_source(error);
                self.on_work_failed(now, job, error);
            }
        }
    }

    /// The server is content, and so are we.
    fn on_finished(&mut self, now: Instant, desk: &mut Desk, valid_for: Option<Duration>) {
        let Phase::Open(link) = &mut self.phase else { return };
        let again = link.online_since().is_some();
        if let Some(auth) = &mut link.auth {
            auth.plan_renewal(valid_for);
        }
        if again {
            self.shared.lock().end_renewal(None);
            self.shared.emit(EventKind::SessionReauthenticated);
            self.shared.changed.notify_waiters();
            return;
        }
        // What came in one piece with CONNACK was kept back.
        let mut partial = std::mem::take(&mut link.traffic.partial);
        let consumed = self.take_input(now, desk, &partial);
        partial.drain(..consumed);
        if let Phase::Open(link) = &mut self.phase
            && !partial.is_empty()
        {
            link.traffic.partial = partial;
        }
    }

    /// The exchange cannot go on. A connection that was authenticated before stays as it was if the server knows of nothing.
    fn on_work_failed(&mut self, now: Instant, job: Job, error: Error) {
        let error = self.located(error);
        let Phase::Open(link) = &mut self.phase else { return };
        let again = link.online_since().is_some();
        if let Some(auth) = &mut link.auth {
            if job == Job::Begin {
                auth.put_off_renewal(now);
            } else {
                auth.failure = Some(error.clone());
            }
        }
        {
            let mut state = self.shared.lock();
            if job != Job::Begin {
                state.core.fail_authentication(error.message().to_owned());
            }
            if again {
                state.end_renewal(Some(error.clone()));
            }
        }
        if again {
            self.shared.origin.counters.record_error();
            self.shared.emit(EventKind::SessionReauthenticationFailed { error });
            self.shared.changed.notify_waiters();
        }
    }
}

/// Lets the exchange work on one step.
async fn work(job: Job, mut exchange: Box<dyn Exchange>, data: Option<Hidden>) -> Done {
    let data = data.as_deref();
    let outcome = match job {
        Job::Begin => exchange.initial().await,
        Job::Respond => exchange.respond(data.unwrap_or_default()).await,
        Job::Finish => exchange.finish(data).await.map(|()| None),
    };
    let valid_for = exchange.valid_for();
    Done { exchange, outcome, valid_for }
}
