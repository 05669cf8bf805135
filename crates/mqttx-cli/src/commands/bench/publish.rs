//! `mqttx bench pub`: how fast messages are published and acknowledged.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use mqttx::proto::validate_topic;
use mqttx::{Delivery, Error, ErrorKind, EventKind, EventName, EventStream, Publish, QoS, Session};

use super::PublishArgs;
use super::clients::{Clients, progress};
use super::report::{Transfer, Usage, latencies};
use crate::client::failure;
use crate::commands::block_on;
use crate::exit::{Failure, Outcome};
use crate::flags::{Connection, Packet, PersistFlags};
use crate::signal::StopSignals;

pub(super) fn run(args: PublishArgs) -> Outcome {
    let connection = Connection::resolve(
        args.connection.clone(),
        PersistFlags { no_clean: false },
        &[Packet::Publish],
    )?;
    validate_topic(&args.topic)
        .map_err(|error| Failure::usage(format_args!("-t '{}': {error}", args.topic)))?;
    block_on(async move {
        let mut signals = StopSignals::new()?;
        let clients = Clients::start(&args.clients, &connection, None)?;
        let connected = tokio::select! {
            result = clients.all_connected() => result,
            () = signals.next() => Err(Failure::runtime("stopped by a signal while connecting")),
        };
        let load = Arc::new(Load::new(&args, &connection));
        let (before, start) = (Usage::now(), Instant::now());
        if let Err(failure) = connected {
            clients.stop().await;
            Transfer { errors: 1, ..load.result(Duration::ZERO, before) }
                .print(args.clients.json)?;
            return Err(failure);
        }
        let refused = clients.manager.events_matching(EventName::MessageRefused);
        let tasks: Vec<_> = clients
            .sessions
            .iter()
            .enumerate()
            .map(|(n, session)| tokio::spawn(Client::new(&load, session, n).run()))
            .collect();
        let end = tokio::select! {
            () = load.finished(tasks) => Ok(()),
            () = signals.next() => match clients.unacknowledged() {
                0 => Ok(()),
                left => Err(Failure::runtime(format_args!(
                    "stopped by a signal; unacknowledged messages: {left}"
                ))),
            },
            failure = clients.failed() => Err(failure),
        };
        let mut result = load.result(start.elapsed(), before);
        // A connection that breaks takes QoS 0 messages with it, also those that nobody waits for.
        let lost = clients.dropped();
        clients.stop().await;
        // By now everything is told.
        load.note_refused(refused);
        let end = end.and_then(|()| load.verdict()).and_then(|()| match lost {
            0 => Ok(()),
            lost => Err(Failure::runtime(format_args!("{lost} messages were dropped"))),
        });
        let least = lost.max(u64::from(end.is_err()));
        result.errors = load.errors.load(Ordering::Relaxed).max(least);
        result.print(args.clients.json)?;
        end.map(|()| ExitCode::SUCCESS)
    })
}

/// What every client publishes, and the account of all.
struct Load {
    topic: String,
    payload: Bytes,
    template: Publish,
    clients: u64,
    messages: u64,
    interval: Option<Duration>,
    finished: AtomicU64,
    errors: AtomicU64,
    first_error: Mutex<Option<Error>>,
    latency: Mutex<Histogram<u64>>,
}

impl Load {
    fn new(args: &PublishArgs, connection: &Connection) -> Self {
        let payload = Bytes::from(vec![b'x'; args.size as usize]);
        Self {
            topic: args.topic.clone(),
            template: Publish::new("", payload.clone())
                .qos(args.qos)
                .properties(connection.properties.publish.clone()),
            payload,
            clients: args.clients.clients.into(),
            messages: args.messages,
            interval: args.rate.map(|rate| Duration::from_secs(1).div_f64(rate as f64)),
            finished: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            first_error: Mutex::new(None),
            latency: Mutex::new(latencies()),
        }
    }

    /// One message of so many is awaited.
    fn one_of(&self) -> u64 {
        match self.template.qos {
            QoS::AtMostOnce => PROGRESS,
            _ => (self.clients.saturating_mul(self.messages) / SAMPLES).clamp(1, RARELY),
        }
    }

    async fn finished(&self, tasks: Vec<tokio::task::JoinHandle<()>>) {
        let bar = progress(self.clients * self.messages, "published");
        for mut task in tasks {
            while tokio::time::timeout(Duration::from_millis(100), &mut task).await.is_err() {
                bar.set_position(self.finished.load(Ordering::Relaxed));
            }
        }
        bar.finish_and_clear();
    }

    /// Takes everything that is acknowledged; waits for the first when nothing is.
    fn drain(&self, cx: &mut Context<'_>, flight: &mut Flight) -> Poll<()> {
        let mut count = 0;
        let mut latency = None;
        while let Some((sent, delivery)) = flight.front_mut() {
            let Poll::Ready(result) = Pin::new(delivery).poll(cx) else { break };
            match result {
                Ok(_) if self.template.qos == QoS::AtMostOnce => {}
                Ok(_) => latency
                    .get_or_insert_with(|| {
                        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
                    })
                    .saturating_record(sent.at.elapsed().as_micros() as u64),
                Err(error) => self.fail(error),
            }
            count += 1 + sent.before;
            flight.pop_front();
        }
        drop(latency);
        self.finished.fetch_add(count, Ordering::Relaxed);
        if count == 0 { Poll::Pending } else { Poll::Ready(()) }
    }

    /// What nobody waits for may have been refused, too.
    fn note_refused(&self, mut refused: EventStream) {
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(event)) = pin!(refused.next()).poll(&mut cx) {
            match &event.kind {
                EventKind::MessageRefused { topic, reason, .. } => {
                    self.fail(Error::refused(&format!("a message to {topic}"), *reason, None));
                }
                EventKind::EventsLagged { missed } => {
                    self.errors.fetch_add(*missed, Ordering::Relaxed);
                }
                _ => {}
            }
        }
    }

    fn fail(&self, error: Error) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        self.first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn result(&self, time: Duration, before: Usage) -> Transfer {
        let messages = self.finished.load(Ordering::Relaxed);
        Transfer {
            clients: self.clients,
            messages,
            bytes: messages * self.payload.len() as u64,
            time,
            latency: self.latency.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            errors: self.errors.load(Ordering::Relaxed),
            before,
            after: Usage::now(),
        }
    }

    fn verdict(&self) -> Result<(), Failure> {
        let errors = self.errors.load(Ordering::Relaxed);
        match self.first_error.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(error) => Err(failure(error).of(format_args!("{errors} errors, the first"))),
            None => Ok(()),
        }
    }
}

/// One client at work: takes the acknowledgements in order, in batches, without an allocation or a task switch per message.
struct Client {
    load: Arc<Load>,
    session: Session,
    message: Publish,
    sent: u64,
    start: Instant,
    flight: Flight,
}

/// What was sent and is not through, in order.
type Flight = VecDeque<(Sent, Delivery)>;

/// A message whose end is awaited.
struct Sent {
    at: Instant,
    /// So many went before it that nobody waits for.
    before: u64,
}

/// As long as there is no rate to keep, so many messages of all tell the latency, or one of [`RARELY`] if these are more.
const SAMPLES: u64 = 10_000;
/// No multiple of anything: not in step with the pauses of publishers.
const RARELY: u64 = 61;
/// With QoS 0 one of so many is awaited: it tells only how far the others are.
const PROGRESS: u64 = 1024;

/// Longer than anything takes: a signal ends the wait.
const LONG: Duration = Duration::from_secs(24 * 3600);

impl Client {
    fn new(load: &Arc<Load>, session: &Session, n: usize) -> Self {
        let mut message = load.template.clone();
        message.topic = load.topic.replace("%i", &n.to_string()).into();
        Self {
            load: Arc::clone(load),
            session: session.clone(),
            message,
            sent: 0,
            start: Instant::now(),
            flight: Flight::new(),
        }
    }

    async fn run(self) {
        match self.load.interval {
            Some(_) => self.keep_pace().await,
            None => self.run_freely().await,
        }
    }

    /// As fast as it goes: the library lets the session send while it takes messages. Of these a sample tells the latency, and how far
    /// the others are.
    async fn run_freely(self) {
        let Self { load, session, message, .. } = self;
        let every = load.one_of();
        let flight = Mutex::new(Flight::new());
        let locked = || flight.lock().unwrap_or_else(PoisonError::into_inner);
        let publishing = async {
            let mut before = 0;
            for number in 0..load.messages {
                let outcome = if number.is_multiple_of(every) {
                    let at = Instant::now();
                    let delivery = session.enqueue(message.clone()).await;
                    let sent = Sent { at, before };
                    delivery.map(|delivery| {
                        before = 0;
                        locked().push_back((sent, delivery));
                    })
                } else {
                    session.submit(&message).await.inspect(|()| before += 1)
                };
                if let Err(refused) = outcome {
                    let is_over = refused.error().kind() == ErrorKind::Closed;
                    load.fail(refused.into_error());
                    if is_over {
                        break;
                    }
                }
            }
            before
        };
        let (mut publishing, mut left) = (pin!(publishing), None);
        poll_fn(|cx| {
            loop {
                // What is through comes first: its time is taken here.
                while load.drain(cx, &mut locked()).is_ready() {}
                if left.is_some() {
                    return if locked().is_empty() { Poll::Ready(()) } else { Poll::Pending };
                }
                match publishing.as_mut().poll(cx) {
                    Poll::Ready(rest) => left = Some(rest),
                    // Whose end is awaited since, wakes this task from now on.
                    Poll::Pending if load.drain(cx, &mut locked()).is_pending() => {
                        return Poll::Pending;
                    }
                    Poll::Pending => {}
                }
            }
        })
        .await;
        // Nobody waits for these: they are through once nothing is left.
        let Some(left) = left.filter(|left| *left > 0) else { return };
        match session.flush(LONG).await {
            Ok(()) => drop(load.finished.fetch_add(left, Ordering::Relaxed)),
            Err(error) => load.fail(error),
        }
    }

    /// So many a second, and the time of each one.
    async fn keep_pace(mut self) {
        loop {
            self.fill();
            if self.flight.is_empty() && self.sent == self.load.messages {
                return;
            }
            let due = self.due().filter(|_| self.sent < self.load.messages);
            let acknowledging = !self.flight.is_empty();
            tokio::select! {
                biased;
                () = poll_fn(|cx| self.load.drain(cx, &mut self.flight)), if acknowledging => {}
                () = until(due) => {}
            }
        }
    }

    /// Publishes until the outbox is full, everything is sent, or the next one is not due.
    fn fill(&mut self) {
        while self.sent < self.load.messages && self.is_due() {
            match self.session.try_publish(self.message.clone()) {
                Ok(delivery) => {
                    let sent = Sent { at: Instant::now(), before: 0 };
                    self.flight.push_back((sent, delivery));
                }
                Err(error) if error.error().kind() == ErrorKind::Full => return,
                Err(error) => self.load.fail(error.into_error()),
            }
            self.sent += 1;
        }
    }

    fn is_due(&self) -> bool {
        self.due().is_none_or(|due| due <= Instant::now())
    }

    /// When the next message is to be sent; `None`: at once.
    fn due(&self) -> Option<Instant> {
        Some(self.start + self.load.interval?.mul_f64(self.sent as f64))
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
