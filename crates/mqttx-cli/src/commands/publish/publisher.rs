//! The run of `pub`: payloads in, acknowledgements out.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use mqttx::proto::{PacketId, QoS};
use mqttx::{Delivery, Error, ErrorKind, Publish, Published, Route};
use tokio::time::Instant;

use super::Plan;
use super::report::{self, Fate};
use crate::client::{Client, Notice, failure};
use crate::exit::{Failure, Outcome};
use crate::signal::StopSignals;

/// How long acknowledgements are taken that came before the end of the session.
const LAST_ANSWERS: Duration = Duration::from_millis(50);

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
    deliveries: FuturesUnordered<Tracked>,
    taken: u64,
    failed: u64,
    first_failure: Option<Failure>,
}

/// A message with its place in the source, counted from 1.
#[derive(Clone, Debug)]
struct Numbered {
    n: u64,
    payload: Bytes,
}

type Tracked = std::pin::Pin<Box<dyn Future<Output = (Numbered, Result<Published, Error>)> + Send>>;

impl Publisher {
    pub(super) fn new(plan: Plan) -> Result<Self, Failure> {
        let client = Client::new(&plan.connection)?;
        // What a kept session brings is not ours to acknowledge: the server keeps it.
        let inbound = client.session().route("#").subscribe(false).manual_ack(true);
        let inbound = inbound.inline(|_| {}).map_err(|error| failure(&error))?;
        Ok(Self {
            client,
            _inbound: inbound,
            plan,
            reading: true,
            waiting: VecDeque::new(),
            deliveries: FuturesUnordered::new(),
            taken: 0,
            failed: 0,
            first_failure: None,
        })
    }

    pub(super) async fn run(mut self, mut signals: StopSignals) -> Outcome {
        let timeout = self.plan.connection.timeout;
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        self.client.session().connect();
        // Even with nothing to publish the server has to accept us.
        let mut was_connected = false;
        while !(was_connected && self.is_done()) {
            tokio::select! {
                biased;
                () = signals.next() => return self.interrupted().await,
                () = until(deadline) => return Err(self.out_of_time(timeout.unwrap_or_default()).await),
                Some((message, result)) = self.deliveries.next() => {
                    self.finished(message, result)?;
                    self.offer_waiting()?;
                }
                notice = self.client.notice() => match notice {
                    Notice::Ended(failure) => return self.ended(failure).await,
                    Notice::Connected => was_connected = true,
                    Notice::Ready | Notice::FilterRefused { .. } => {}
                },
                payload = self.plan.source.next(), if self.reading && self.waiting.is_empty() => {
                    self.take(payload)?;
                }
            }
        }
        self.client.disconnect().await;
        self.outcome()
    }

    fn is_done(&self) -> bool {
        !self.reading && self.waiting.is_empty() && self.deliveries.is_empty()
    }

    fn take(&mut self, payload: Option<Result<Bytes, Failure>>) -> Result<(), Failure> {
        match payload {
            None => self.reading = false,
            Some(Ok(payload)) => {
                self.taken += 1;
                self.waiting.push_back(Numbered { n: self.taken, payload });
                self.offer_waiting()?;
            }
            Some(Err(failure)) => {
                self.reading = false;
                self.fail(failure);
            }
        }
        Ok(())
    }

    /// Hands what waits to the session, as far as there is room.
    fn offer_waiting(&mut self) -> Result<(), Failure> {
        while let Some(message) = self.waiting.pop_front() {
            let publish = Publish::new(self.plan.topic.as_str(), message.payload.clone())
                .qos(self.plan.qos)
                .retain(self.plan.retain)
                .properties(self.plan.connection.properties.publish.clone());
            match self.client.session().try_publish(publish) {
                Ok(delivery) => {
                    self.report(message.n, Fate::Accepted, None)?;
                    self.deliveries.push(track(message, delivery));
                }
                Err(refused) => {
                    let error = refused.into_error();
                    if error.kind() == ErrorKind::Full {
                        self.waiting.push_front(message);
                        break;
                    }
                    self.refused(&message, &error)?;
                }
            }
        }
        Ok(())
    }

    fn finished(
        &mut self,
        message: Numbered,
        result: Result<Published, Error>,
    ) -> Result<(), Failure> {
        match result {
            Ok(published) => self.report(message.n, Fate::Acknowledged, Some(&published)),
            // The socket may not have taken it: it goes out on the next connection.
            Err(error)
                if self.plan.qos == QoS::AtMostOnce && error.kind() == ErrorKind::Connection =>
            {
                self.waiting.push_front(message);
                Ok(())
            }
            Err(error) => self.refused(&message, &error),
        }
    }

    fn refused(&mut self, message: &Numbered, error: &Error) -> Result<(), Failure> {
        if self.plan.report {
            let code = error.reason_code().map(|reason| reason.value());
            report::write(message.n, Fate::Refused, packet_id(error), code)?;
        }
        self.fail(
            failure(error).of(format_args!("message {}, topic {}", message.n, self.plan.topic)),
        );
        Ok(())
    }

    fn fail(&mut self, failure: Failure) {
        self.failed += 1;
        self.first_failure.get_or_insert(failure);
    }

    fn report(&self, n: u64, fate: Fate, published: Option<&Published>) -> Result<(), Failure> {
        if !self.plan.report {
            return Ok(());
        }
        let id = published.and_then(|published| published.packet_id);
        report::write(n, fate, id, published.map(|published| published.reason.value()))
    }

    fn unacknowledged(&self) -> usize {
        self.deliveries.len() + self.waiting.len()
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
            while let Some((message, result)) = self.deliveries.next().await {
                self.finished(message, result)?;
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
        match self.unacknowledged() {
            0 if self.is_done() => self.outcome(),
            0 => Err(failure),
            left => {
                Err(failure
                    .and(format_args!("unacknowledged messages to {}: {left}", self.plan.topic)))
            }
        }
    }

    fn outcome(&mut self) -> Outcome {
        let failure = self.first_failure.take();
        failure.map_or(Ok(ExitCode::SUCCESS), |failure| Err(self.summed_up(failure)))
    }

    async fn interrupted(&self) -> Outcome {
        self.client.disconnect().await;
        match self.unacknowledged() {
            0 => Ok(ExitCode::SUCCESS),
            left => Err(Failure::runtime(format_args!(
                "stopped by a signal; unacknowledged messages to {}: {left}",
                self.plan.topic
            ))),
        }
    }

    async fn out_of_time(&self, timeout: Duration) -> Failure {
        let last = self.client.session().last_error();
        let last = last.map_or_else(String::new, |error| format!("; last error: {error}"));
        let what = match self.unacknowledged() {
            0 if self.reading => "there was more to publish".to_owned(),
            0 => "not connected".to_owned(),
            left => format!("unacknowledged messages to {}: {left}", self.plan.topic),
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

fn track(message: Numbered, delivery: Delivery) -> Tracked {
    Box::pin(async move { (message, delivery.await) })
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
