//! An attempt to connect: who the session is, where the application has to be asked for that, then the transport.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::access::{Failure, Prepared, Question, too_late};
use crate::options::Asked;
use crate::session::now;
use crate::transport::{ConnectError, Endpoint, Stream};

/// Its steps follow each other, and each may take the `connect_timeout` of the options that it began with.
///
/// It has no timer of its own, since the driver has one: whoever polls it does so at [`until`](Self::until), too.
pub(super) struct Attempt {
    step: Step,
    /// When the step has taken too long.
    until: Option<Instant>,
}

enum Step {
    Asking(Box<(Question, Endpoint)>),
    Dialing(Dialing, Option<Box<Prepared>>),
}

type Dialing = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + Send>>;

/// A transport, and what else was to be had for the attempt.
pub(super) type Reached = (Stream, Option<Box<Prepared>>);

impl Attempt {
    /// `question`: who the session is.
    pub(super) fn new(
        now: Instant,
        options: &Asked,
        endpoint: Endpoint,
        question: Option<Question>,
    ) -> Self {
        let until = now.checked_add(options.connect_timeout);
        let step = match question {
            Some(question) => Step::Asking(Box::new((question, endpoint))),
            None => Step::Dialing(dial(options, endpoint, until), None),
        };
        Self { step, until }
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        options: &Asked,
    ) -> Poll<Result<Reached, Failure>> {
        let limit = options.connect_timeout;
        if let Step::Asking(asking) = &mut self.step {
            let prepared = match Pin::new(&mut asking.0).poll(cx) {
                Poll::Pending if self.until.is_some_and(|until| until <= now()) => {
                    return Poll::Ready(Err(Failure::Access(too_late(limit))));
                }
                asked => ready!(asked).map_err(Failure::Access)?,
            };
            self.until = now().checked_add(limit);
            let dialing = dial(options, asking.1.clone(), self.until);
            self.step = Step::Dialing(dialing, Some(Box::new(prepared)));
        }
        let Step::Dialing(dialing, prepared) = &mut self.step else { return Poll::Pending };
        let stream = ready!(dialing.as_mut().poll(cx)).map_err(Failure::Transport)?;
        Poll::Ready(Ok((stream, prepared.take())))
    }
}

fn dial(options: &Asked, endpoint: Endpoint, until: Option<Instant>) -> Dialing {
    Box::pin(options.dialer().dial(endpoint, options.connect_timeout, until))
}
