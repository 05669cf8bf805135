//! What happens to sessions, forwarders and stores, in words.

use std::fmt::Write as _;
use std::time::Duration;

use mqttx::{Event, EventKind, EventName, EventStream, SessionManager, SessionStatus};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::config::Level;

/// Logs the events of a manager until it has shut down.
pub(in crate::commands::run) struct Watcher {
    /// Resolves when the last event is written.
    done: oneshot::Receiver<()>,
}

impl Watcher {
    /// Begins with what happens from now on.
    pub(in crate::commands::run) fn start(sessions: &SessionManager) -> Self {
        let events = sessions.events();
        let (written, done) = oneshot::channel();
        let runtime = Handle::current();
        // A thread of its own: whoever reads stderr may be slow, and no session waits for that.
        std::thread::spawn(move || {
            runtime.block_on(write_all(events));
            // Nobody may wait for it any more.
            let _ = written.send(());
        });
        Self { done }
    }

    /// Waits for the last line, but not for ever.
    pub(in crate::commands::run) async fn finish(self) {
        let _ = tokio::time::timeout(LAST_LINES, self.done).await;
    }
}

/// For what is still to be written at the end.
const LAST_LINES: Duration = Duration::from_secs(1);

async fn write_all(mut events: EventStream) {
    while let Some(event) = events.next().await {
        write(&event);
    }
}

/// What a line says besides its session and type.
struct Line {
    level: Level,
    text: String,
    broker: Option<String>,
    attempt: Option<u32>,
    error: Option<String>,
    forwarder: Option<String>,
}

macro_rules! write_line {
    ($target:literal, $event:expr, $line:expr) => {
        match $line.level {
            Level::Off => {}
            Level::Error => write_line!(ERROR, $target, $event, $line),
            Level::Warn => write_line!(WARN, $target, $event, $line),
            Level::Info => write_line!(INFO, $target, $event, $line),
            Level::Debug => write_line!(DEBUG, $target, $event, $line),
            Level::Trace => write_line!(TRACE, $target, $event, $line),
        }
    };
    ($level:ident, $target:literal, $event:expr, $line:expr) => {
        tracing::event!(
            target: $target,
            tracing::Level::$level,
            session = $event.session.as_deref(),
            forwarder = $line.forwarder.as_deref(),
            r#type = $event.name().as_str(),
            broker = $line.broker.as_deref(),
            attempt = $line.attempt,
            error = $line.error.as_deref(),
            "{}",
            $line.text
        )
    };
}

fn write(event: &Event) {
    let line = describe(&event.kind);
    match event.name() {
        EventName::ForwarderStarted
        | EventName::ForwarderStopped
        | EventName::ForwarderMessageDropped
        | EventName::ForwarderBlocked
        | EventName::ForwarderTargetChanged
        | EventName::ForwarderAckTimeout
        | EventName::ForwarderDeliveryFailed => write_line!("mqttx::forward", event, line),
        EventName::StoreError
        | EventName::StoreNotice
        | EventName::StoreFull
        | EventName::StoreUnavailable
        | EventName::StoreAvailable
        | EventName::SessionFenced => write_line!("mqttx::store", event, line),
        _ => write_line!("mqttx::session", event, line),
    }
}

impl Line {
    fn new(level: Level, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { level, text, broker: None, attempt: None, error: None, forwarder: None }
    }

    fn broker(mut self, broker: &str) -> Self {
        self.broker = Some(broker.to_owned());
        self
    }

    fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = Some(attempt);
        self
    }

    fn error(mut self, error: &mqttx::Error) -> Self {
        let broker = error.context().find(|(name, _)| *name == "broker");
        self.broker = broker.map(|(_, broker)| broker.to_owned());
        self.error = Some(error.to_string());
        self
    }

    fn forwarder(mut self, forwarder: &str) -> Self {
        self.forwarder = Some(forwarder.to_owned());
        self
    }
}

/// How important an event is, and what it says.
fn describe(kind: &EventKind) -> Line {
    use Level::{Debug, Error, Info, Warn};
    match kind {
        EventKind::SessionConnecting { broker, attempt } => {
            let text = format!("connecting to {broker}, attempt {attempt}");
            Line::new(Debug, text).broker(broker).attempt(*attempt)
        }
        EventKind::SessionConnected { broker, session_present, client_id } => {
            let kept = if *session_present { ", session present" } else { "" };
            let text = format!("connected to {broker} as '{client_id}'{kept}");
            Line::new(Info, text).broker(broker)
        }
        EventKind::SessionReady { subscriptions } => {
            Line::new(Info, format!("ready, {subscriptions} subscriptions"))
        }
        EventKind::SessionDisconnected { error: Some(error), .. } => {
            Line::new(Warn, format!("disconnected: {error}")).error(error)
        }
        EventKind::SessionDisconnected { error: None, .. } => Line::new(Info, "disconnected"),
        EventKind::SessionReconnecting { attempt, delay } => {
            let text = format!("attempt {attempt} in {} ms", delay.as_millis());
            Line::new(Info, text).attempt(*attempt)
        }
        EventKind::SessionStateChanged { new: SessionStatus::Failed, .. } => {
            Line::new(Error, "stopped: it is not retried until a reload, or until it is asked to")
        }
        EventKind::SessionStateChanged { old, new } => Line::new(Debug, format!("{old} -> {new}")),
        EventKind::SessionRemoved { unacknowledged: 0 } => Line::new(Debug, "removed"),
        EventKind::SessionRemoved { unacknowledged } => {
            Line::new(Warn, format!("removed with {unacknowledged} messages not acknowledged"))
        }
        EventKind::SessionLost { requeued } => {
            let text = format!("the server lost the session; {requeued} messages go out again");
            Line::new(Warn, text)
        }
        EventKind::SessionRedirected { server_reference, permanent } => {
            let long = if *permanent { ", for good" } else { "" };
            Line::new(Warn, format!("the server refers to {server_reference}{long}"))
        }
        EventKind::SessionReauthenticated => Line::new(Info, "authenticated again"),
        EventKind::SessionReauthenticationFailed { error } => {
            Line::new(Error, format!("could not authenticate again: {error}")).error(error)
        }
        EventKind::SubscriptionRefused { filter, reason, reason_string } => {
            let said = said(reason_string.as_deref());
            let text = format!("the server refused the subscription of '{filter}': {reason}{said}");
            Line::new(Error, text)
        }
        EventKind::MessageRefused { topic, reason, reason_string } => {
            let said = said(reason_string.as_deref());
            Line::new(Warn, format!("the server refused a message of '{topic}': {reason}{said}"))
        }
        EventKind::MessageDropped { reason, count, topic, .. } => {
            let last = topic.as_deref().map_or_else(String::new, last_of);
            Line::new(Warn, format!("dropped {count} messages: {reason}{last}"))
        }
        EventKind::MessageUnrouted { topic, count } => {
            Line::new(Warn, format!("{count} messages had no route, last of '{topic}'"))
        }
        EventKind::EventsLagged { missed } => {
            Line::new(Warn, format!("{missed} log lines are missing"))
        }
        other => describe_forwarder(other)
            .or_else(|| describe_store(other))
            .or_else(|| describe_tls(other))
            .unwrap_or_else(|| {
                let mut text = String::new();
                // Writing to memory does not fail.
                let _ = write!(text, "{other:?}");
                Line::new(Debug, text)
            }),
    }
}

fn describe_forwarder(kind: &EventKind) -> Option<Line> {
    let line = match kind {
        EventKind::ForwarderStarted { forwarder } => {
            Line::new(Level::Info, "started").forwarder(forwarder)
        }
        EventKind::ForwarderStopped { forwarder, unacknowledged } => {
            let text = format!("stopped, {unacknowledged} messages left");
            Line::new(Level::Info, text).forwarder(forwarder)
        }
        EventKind::ForwarderMessageDropped { forwarder, reason, count, topic } => {
            // The rest of a second's drops is told of without a topic.
            let last = if topic.is_empty() { String::new() } else { last_of(topic) };
            let text = format!("dropped {count} messages: {reason}{last}");
            Line::new(Level::Warn, text).forwarder(forwarder)
        }
        EventKind::ForwarderBlocked { forwarder, target } => {
            let text = format!("blocked: there is no session {target} any more");
            Line::new(Level::Warn, text).forwarder(forwarder)
        }
        EventKind::ForwarderTargetChanged { forwarder, from, to, again } => {
            let text = format!("{to} takes the place of {from}, {again} messages go out again");
            Line::new(Level::Warn, text).forwarder(forwarder)
        }
        EventKind::ForwarderAckTimeout { forwarder, target, after } => {
            let text = format!("{target} did not acknowledge for {after:?}: it connects anew");
            Line::new(Level::Warn, text).forwarder(forwarder)
        }
        EventKind::ForwarderDeliveryFailed { forwarder, target, error, topic, outcome, .. } => {
            let text = format!(
                "a message that {target} had stored failed ({outcome}): {error}{}",
                last_of(topic)
            );
            Line::new(Level::Warn, text).forwarder(forwarder)
        }
        _ => return None,
    };
    Some(line)
}

fn describe_tls(kind: &EventKind) -> Option<Line> {
    let line = match kind {
        EventKind::TlsReloaded { files } => {
            let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            Line::new(Level::Info, format!("certificates reloaded: {}", files.join(", ")))
        }
        EventKind::TlsReloadFailed { error } => {
            let text = format!("changed certificates are not used: {error}");
            Line::new(Level::Error, text).error(error)
        }
        EventKind::TlsUnverified { broker } => {
            Line::new(Level::Warn, format!("the certificate of {broker} is not checked"))
                .broker(broker)
        }
        EventKind::CertificateExpires { certificate, remaining, .. } => {
            let hours = remaining.as_secs() / 3600;
            let end = match hours {
                _ if remaining.is_zero() => "has expired".to_owned(),
                0..48 => format!("ends in {hours} hours"),
                _ => format!("ends in {} days", hours / 24),
            };
            Line::new(Level::Warn, format!("{certificate} {end}"))
        }
        _ => return None,
    };
    Some(line)
}

fn describe_store(kind: &EventKind) -> Option<Line> {
    let line = match kind {
        EventKind::StoreError { error } => {
            Line::new(Level::Error, format!("the store failed: {error}")).error(error)
        }
        EventKind::StoreUnavailable { error } => {
            let text = format!("the store cannot be reached, and is waited for: {error}");
            Line::new(Level::Warn, text).error(error)
        }
        EventKind::StoreAvailable => Line::new(Level::Info, "the store can be reached again"),
        EventKind::StoreFull { full: true } => {
            Line::new(Level::Warn, "the store is full: nothing more is accepted")
        }
        EventKind::StoreFull { full: false } => Line::new(Level::Info, "the store has room again"),
        EventKind::StoreNotice { text, .. } => Line::new(Level::Warn, text.as_str()),
        EventKind::SessionFenced => {
            Line::new(Level::Error, "somebody else opened the stored session, and owns it now")
        }
        _ => return None,
    };
    Some(line)
}

fn said(reason_string: Option<&str>) -> String {
    reason_string.map_or_else(String::new, |text| format!(", {text}"))
}

fn last_of(topic: &str) -> String {
    format!(", last of '{topic}'")
}
