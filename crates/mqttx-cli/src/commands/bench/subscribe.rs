//! `mqttx bench sub`: how fast messages are received.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mqttx::proto::validate_filter;
use mqttx::{MessageRef, QoS, Session};
use tokio::sync::Notify;

use super::SubscribeArgs;
use super::clients::{Clients, progress};
use super::report::{Transfer, Usage, latencies};
use crate::client::failure;
use crate::commands::block_on;
use crate::exit::{Failure, Outcome, warn};
use crate::flags::{Connection, Packet, PersistFlags};
use crate::signal::StopSignals;

/// How long the servers may take to answer all subscriptions.
const ANSWER: Duration = Duration::from_secs(30);

pub(super) fn run(args: SubscribeArgs) -> Outcome {
    let connection = Connection::resolve(
        args.connection,
        PersistFlags { no_clean: false },
        &[Packet::Subscribe],
    )?;
    validate_filter(&args.topic)
        .map_err(|error| Failure::usage(format_args!("-t '{}': {error}", args.topic)))?;
    let (flags, filter, qos, messages) = (args.clients, args.topic, args.qos, args.messages);
    block_on(async move {
        let mut signals = StopSignals::new()?;
        let clients = Clients::start(&flags, &connection, None)?;
        let count = Arc::new(Count::new(u64::from(flags.clients), messages));
        let setting_up = async {
            clients.all_connected().await?;
            for (n, session) in clients.sessions.iter().enumerate() {
                count.subscribe(session, &filter.replace("%i", &n.to_string()), qos).await?;
            }
            Ok::<_, Failure>(())
        };
        let ready = tokio::select! {
            result = setting_up => result,
            () = signals.next() => Err(Failure::runtime("stopped by a signal before the first message")),
        };
        if let Err(failure) = ready {
            clients.stop().await;
            Transfer { errors: 1, ..count.result(Usage::now()) }.print(flags.json)?;
            return Err(failure);
        }
        warn(format_args!("{} clients subscribed", flags.clients));
        let before = Usage::now();
        let end = tokio::select! {
            () = count.finished() => Ok(()),
            () = signals.next() => Ok(()),
            failure = clients.failed() => Err(failure),
        };
        let mut result = count.result(before);
        if let Err(failure) = end {
            result.errors = count.missing();
            clients.stop().await;
            result.print(flags.json)?;
            return Err(failure.of(format_args!("{} messages are missing", result.errors)));
        }
        clients.stop().await;
        result.print(flags.json)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Counts what all clients receive.
struct Count {
    clients: u64,
    messages_each: u64,
    start: Instant,
    /// Microseconds after `start`, plus 1; 0 before the first message.
    first: AtomicU64,
    last: AtomicU64,
    total: AtomicU64,
    bytes: AtomicU64,
    done: Notify,
}

impl Count {
    fn new(clients: u64, messages_each: u64) -> Self {
        Self {
            clients,
            messages_each,
            start: Instant::now(),
            first: AtomicU64::new(0),
            last: AtomicU64::new(0),
            total: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            done: Notify::new(),
        }
    }

    /// Subscribes one client; its messages beyond the number asked for do not count.
    async fn subscribe(
        self: &Arc<Self>,
        session: &Session,
        filter: &str,
        qos: QoS,
    ) -> Result<(), Failure> {
        let (all, own) = (Arc::clone(self), AtomicU64::new(0));
        session
            .route("#")
            .subscribe(false)
            .inline(move |message| all.take(&own, message))
            .map_err(|error| failure(&error))?
            .detach();
        tokio::time::timeout(ANSWER, session.subscribe(filter, qos))
            .await
            .map_err(|_| {
                Failure::runtime(format_args!("no answer to the subscription of '{filter}'"))
            })?
            .map_err(|error| failure(&error))?;
        Ok(())
    }

    fn take(&self, own: &AtomicU64, message: &MessageRef<'_>) {
        let count = own.load(Ordering::Relaxed) + 1;
        if count > self.messages_each {
            return;
        }
        // Only this client's driver writes it.
        own.store(count, Ordering::Relaxed);
        self.bytes.fetch_add(message.payload().len() as u64, Ordering::Relaxed);
        let total = self.total.fetch_add(1, Ordering::AcqRel) + 1;
        if total == 1 {
            self.first.store(self.now(), Ordering::Relaxed);
        }
        if total == self.all() {
            self.last.store(self.now(), Ordering::Release);
            self.done.notify_one();
        }
    }

    fn all(&self) -> u64 {
        self.clients * self.messages_each
    }

    fn missing(&self) -> u64 {
        self.all() - self.total.load(Ordering::Acquire)
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64 + 1
    }

    /// Waits for the last message, with a bar on a terminal.
    async fn finished(&self) {
        let bar = progress(self.all(), "received");
        loop {
            bar.set_position(self.total.load(Ordering::Relaxed));
            let wait = tokio::time::timeout(Duration::from_millis(100), self.done.notified());
            if wait.await.is_ok() {
                return bar.finish_and_clear();
            }
        }
    }

    fn result(&self, before: Usage) -> Transfer {
        let messages = self.total.load(Ordering::Acquire);
        let first = self.first.load(Ordering::Relaxed);
        let last = match self.last.load(Ordering::Acquire) {
            0 if first > 0 => self.now(),
            last => last,
        };
        Transfer {
            clients: self.clients,
            messages,
            bytes: self.bytes.load(Ordering::Relaxed),
            time: Duration::from_micros(last.saturating_sub(first)),
            latency: latencies(),
            errors: 0,
            before,
            after: Usage::now(),
        }
    }
}
