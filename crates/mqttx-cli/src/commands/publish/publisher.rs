//! The run of `pub`: payloads in, acknowledgements out.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use mqttx::proto::{PacketId, QoS};
use mqttx::{DropReason, Error, ErrorKind, Publish, Published, Route};
use tokio::time::Instant;

use super::Plan;
use super::pipeline::{Interest, Numbered, Pipeline, Step};
use super::report::{self, Fate};
use crate::client::{Client, Notice, failure, say_dropped};
use crate::exit::{Failure, Outcome};
use crate::signal::StopSignals;

/// How long acknowledgements are taken that came before the end of the session.
const LAST_ANSWERS: Duration = Duration::from_millis(50);

/// How long a group of the store is waited for at the end.
const LAST_STORED: Duration = Duration::from_millis(500);

/// How long an attempt is waited for that has as much time as the command.
const LAST_WORD: Duration = Duration::from_millis(100);

/// Of what fails without the number of a message: behind all that have one.
const UNNUMBERED: u64 = u64::MAX;

/// Longer than any command runs.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Publishes what the plan's source gives and keeps count of what became of it.
pub(super) struct Publisher {
    plan: Plan,
    client: Client,
    /// Leaves alone what arrives.
    _inbound: Route,
    /// Ends with the source.
    reading: bool,
    /// What the session does not have yet: it found the outbox full, or lost its connection.
    waiting: VecDeque<Numbered>,
    pipeline: Pipeline,
    taken: u64,
    failed: u64,
    /// That of the first message, whichever answer is looked at first.
    first_failure: Option<(u64, Failure)>,
}

impl Publisher {
    pub(super) fn new(plan: Plan) -> Result<Self, Failure> {
        let client = Client::new(&plan.connection)?;
        // What a kept session brings is not ours to acknowledge: the server keeps it.
        let inbound = client.session().route("#").subscribe(false).manual_ack(true);
        let inbound = inbound.inline(|_| {}).map_err(|error| failure(&error))?;
        // The store has the messages: there is no need to remember any number of them, unless each is reported.
        let stored = plan.connection.store.is_some()
            && plan.qos != QoS::AtMostOnce
            && plan.source.is_lines();
        let interest = if stored && !plan.report { Interest::Refusals } else { Interest::Each };
        let pipeline =
            Pipeline::new(client.session().clone(), interest, plan.qos == QoS::AtMostOnce);
        Ok(Self {
            client,
            _inbound: inbound,
            plan,
            reading: true,
            waiting: VecDeque::new(),
            pipeline,
            taken: 0,
            failed: 0,
            first_failure: None,
        })
    }

    pub(super) async fn run(mut self, mut signals: StopSignals) -> Outcome {
        let timeout = self.plan.connection.timeout;
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        self.client.session().connect();
        let session = self.client.session().clone();
        // Even with nothing to publish the server has to accept us.
        let mut was_connected = false;
        loop {
            self.offer_waiting();
            let may_take = self.reading && self.waiting.is_empty() && self.pipeline.has_room();
            let may_end = was_connected && self.is_handed_over();
            tokio::select! {
                biased;
                () = signals.next() => return self.interrupted().await,
                () = until(deadline) => return Err(self.out_of_time(timeout.unwrap_or_default()).await),
                step = self.pipeline.next() => if let Err(failure) = self.stepped(step) {
                    self.client.disconnect().await;
                    return Err(failure);
                },
                notice = self.client.notice() => match notice {
                    Notice::Ended(failure) => return self.ended(failure).await,
                    Notice::Connected => was_connected = true,
                    other => self.noticed(other),
                },
                payload = self.plan.source.next(), if may_take => self.take(payload),
                // Also what earlier processes left in the store.
                result = session.flush(FOREVER), if may_end => {
                    result.map_err(|error| failure(&error))?;
                    break;
                }
            }
        }
        self.client.disconnect().await;
        self.outcome()
    }

    /// Everything was given to the session.
    fn is_handed_over(&self) -> bool {
        !self.reading && self.waiting.is_empty() && self.pipeline.is_empty()
    }

    fn take(&mut self, payload: Option<Result<Bytes, Failure>>) {
        match payload {
            None => self.reading = false,
            Some(Ok(payload)) => {
                self.taken += 1;
                self.waiting.push_back(Numbered { n: self.taken, payload });
            }
            Some(Err(failure)) => {
                self.reading = false;
                self.fail(UNNUMBERED, failure);
            }
        }
    }

    /// Hands the next message to the session, if there is room.
    fn offer_waiting(&mut self) {
        if self.pipeline.has_room()
            && let Some(message) = self.waiting.pop_front()
        {
            let publish = Publish::new(self.plan.topic.as_str(), message.payload.clone())
                .qos(self.plan.qos)
                .retain(self.plan.retain)
                .properties(self.plan.connection.properties.publish.clone());
            self.pipeline.push(message, publish);
        }
    }

    fn stepped(&mut self, step: Step) -> Result<(), Failure> {
        match step {
            Step::Handed => Ok(()),
            Step::Accepted(n) => self.report(n, Fate::Accepted, None),
            // Nothing after it will fit; what the store has is safe there.
            Step::Rejected(n, error)
                if error.kind() == ErrorKind::Full && self.plan.connection.store.is_some() =>
            {
                self.refused(n, &error)?;
                let failure = self.first_failure.take().map(|(_, failure)| failure);
                let failure = failure.unwrap_or_else(|| crate::client::failure(&error));
                Err(failure.and(self.left()))
            }
            Step::Rejected(n, error) => self.refused(n, &error),
            Step::Finished(message, Ok(published)) => {
                self.report(message.n, Fate::Acknowledged, Some(&published))
            }
            // The socket may not have taken it: it goes out on the next connection.
            Step::Finished(message, Err(error))
                if self.plan.qos == QoS::AtMostOnce && error.kind() == ErrorKind::Connection =>
            {
                self.waiting.push_front(message);
                Ok(())
            }
            Step::Finished(message, Err(error)) => self.refused(message.n, &error),
        }
    }

    /// What became of messages for which nobody waits: those of this process, or of an earlier one.
    fn noticed(&mut self, notice: Notice) {
        match notice {
            Notice::MessageRefused { topic, reason, text } => {
                let text = text.map_or_else(String::new, |text| format!(": {text}"));
                let failure = Failure::refused(reason, format_args!("refused: {reason}{text}"));
                self.fail(UNNUMBERED, failure.of(format_args!("a message, topic {topic}")));
            }
            Notice::MessagesDropped { count, reason, topic } => {
                let told = self.pipeline.interest() == Interest::Each;
                if told || matches!(reason, DropReason::Unrouted | DropReason::RouteFull) {
                    say_dropped(count, reason, topic.as_deref());
                } else {
                    let topic = topic.as_deref().unwrap_or(&self.plan.topic).to_owned();
                    let failure =
                        Failure::runtime(format_args!("topic {topic}: dropped: {reason}"));
                    self.fail(UNNUMBERED, failure);
                    self.failed += count.saturating_sub(1);
                }
            }
            _ => {}
        }
    }

    fn refused(&mut self, n: u64, error: &Error) -> Result<(), Failure> {
        if self.plan.report {
            let code = error.reason_code().map(|reason| reason.value());
            report::write(n, Fate::Refused, packet_id(error), code)?;
        }
        self.fail(n, failure(error).of(format_args!("message {n}, topic {}", self.plan.topic)));
        Ok(())
    }

    fn fail(&mut self, n: u64, failure: Failure) {
        self.failed += 1;
        if self.first_failure.as_ref().is_none_or(|(first, _)| n < *first) {
            self.first_failure = Some((n, failure));
        }
    }

    fn report(&self, n: u64, fate: Fate, published: Option<&Published>) -> Result<(), Failure> {
        if !self.plan.report {
            return Ok(());
        }
        let id = published.and_then(|published| published.packet_id);
        report::write(n, fate, id, published.map(|published| published.reason.value()))
    }

    fn unacknowledged(&self) -> usize {
        if self.plan.connection.store.is_some() {
            // What earlier processes left is there, too.
            self.client.session().unacknowledged() + self.pipeline.outside() + self.waiting.len()
        } else {
            self.pipeline.len() + self.waiting.len()
        }
    }

    /// How much is unacknowledged, in words.
    fn left(&self) -> String {
        let all = self.unacknowledged();
        let outside = self.pipeline.not_stored() + self.waiting.len();
        let kept = match outside {
            _ if self.plan.connection.store.is_none() || self.plan.qos == QoS::AtMostOnce => {
                String::new()
            }
            0 => ", kept in the store".to_owned(),
            outside if outside >= all => ", not in the store".to_owned(),
            outside => format!(", kept in the store but for {outside}"),
        };
        format!("unacknowledged messages to {}: {all}{kept}", self.plan.topic)
    }

    /// The first failure, and how many more there were.
    fn summed_up(&self, failure: Failure) -> Failure {
        match self.failed {
            0 | 1 => failure,
            more => failure.and(format_args!("failed in all: {more} messages")),
        }
    }

    /// The session cannot go on; acknowledgements that came before its end still count.
    async fn ended(mut self, failure: Failure) -> Outcome {
        let last = async {
            while !self.pipeline.is_empty() {
                let step = self.pipeline.next().await;
                self.stepped(step)?;
            }
            // Perhaps nobody has looked for the end of the input yet.
            if self.reading && self.waiting.is_empty() && self.plan.source.next().await.is_none() {
                self.reading = false;
            }
            Ok::<_, Failure>(())
        };
        if let Ok(result) = tokio::time::timeout(LAST_ANSWERS, last).await {
            result?;
        }
        self.client.disconnect().await;
        match self.unacknowledged() {
            0 if self.is_handed_over() => self.outcome(),
            0 => Err(failure),
            _ => Err(failure.and(self.left())),
        }
    }

    fn outcome(&mut self) -> Outcome {
        for notice in self.client.refusals() {
            self.noticed(notice);
        }
        let failure = self.first_failure.take();
        failure.map_or(Ok(ExitCode::SUCCESS), |(_, failure)| Err(self.summed_up(failure)))
    }

    async fn interrupted(mut self) -> Outcome {
        self.store_rest().await;
        self.client.disconnect().await;
        match self.unacknowledged() {
            0 => Ok(ExitCode::SUCCESS),
            _ => Err(Failure::runtime(format_args!("stopped by a signal; {}", self.left()))),
        }
    }

    /// Waits for a moment until the store has what it is about to have, so that what is said of it is true.
    async fn store_rest(&mut self) {
        if self.plan.connection.store.is_none() || self.plan.qos == QoS::AtMostOnce {
            return;
        }
        let storing = async {
            while self.pipeline.not_stored() > 0 {
                let step = self.pipeline.next().await;
                if self.stepped(step).is_err() {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(LAST_STORED, storing).await;
    }

    async fn out_of_time(&mut self, timeout: Duration) -> Failure {
        self.store_rest().await;
        let session = self.client.session();
        if session.last_error().is_none() {
            // The attempt had the same time, and says why in a moment.
            let _ = session.wait_connected(LAST_WORD).await;
        }
        let last = match session.last_error() {
            Some(error) => format!("; last error: {error}"),
            None if session.is_connected() => String::new(),
            None => "; the server did not accept a connection".to_owned(),
        };
        let what = match self.unacknowledged() {
            0 if self.reading => "there was more to publish".to_owned(),
            0 => "not connected".to_owned(),
            _ => self.left(),
        };
        self.client.disconnect().await;
        Failure::runtime(format_args!("{} s are over: {what}{last}", timeout.as_secs_f64()))
    }
}

/// The id that the refused message had.
fn packet_id(error: &Error) -> Option<PacketId> {
    let (_, id) = error.context().find(|(key, _)| *key == "packet id")?;
    PacketId::new(id.parse().ok()?)
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
