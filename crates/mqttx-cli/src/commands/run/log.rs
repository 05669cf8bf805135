//! The daemon's log: one line on stderr for each event.

use std::fmt::Write as _;
use std::time::SystemTime;

use mqttx::{Error, EventFilter, EventHandler, EventKind, SessionManager, SessionStatus};
use serde_json::json;

use crate::config::{Level, LogFormat, LogSection};
use crate::exit::warn;

/// Logs until it is dropped.
pub(super) struct Log {
    format: LogFormat,
    level: Level,
    _handler: EventHandler,
}

impl Log {
    pub(super) fn start(sessions: &SessionManager, section: &LogSection) -> Result<Self, Error> {
        let (format, level) = (section.format, section.level.general);
        let handler = sessions.on_event(EventFilter::all(), move |event| {
            let (severity, text) = describe(&event.kind);
            if severity <= level {
                let name = event.kind.name().as_str();
                let session = event.session.as_deref();
                warn(line(format, severity, event.timestamp, name, session, &text));
            }
        })?;
        Ok(Self { format, level, _handler: handler })
    }

    /// Something that is no event.
    pub(super) fn note(&self, severity: Level, name: &str, text: &str) {
        if severity <= self.level {
            warn(line(self.format, severity, SystemTime::now(), name, None, text));
        }
    }
}

fn line(
    format: LogFormat,
    level: Level,
    at: SystemTime,
    name: &str,
    session: Option<&str>,
    text: &str,
) -> String {
    let time = jiff::Timestamp::try_from(at).unwrap_or_default();
    match format {
        LogFormat::Json => json!({
            "timestamp": time.to_string(),
            "level": level.as_str(),
            "type": name,
            "session": session,
            "message": text,
        })
        .to_string(),
        LogFormat::Text => {
            let subject = session.map_or_else(String::new, |name| format!("session {name}: "));
            format!("{time:.3} {:5} {subject}{text}", level.as_str())
        }
    }
}

/// How important an event is, and what it says.
#[expect(clippy::too_many_lines, reason = "a line for each event")]
fn describe(kind: &EventKind) -> (Level, String) {
    match kind {
        EventKind::SessionConnecting { broker, attempt } => {
            (Level::Debug, format!("connecting to {broker}, attempt {attempt}"))
        }
        EventKind::SessionConnected { broker, session_present, client_id } => {
            let kept = if *session_present { ", session present" } else { "" };
            (Level::Info, format!("connected to {broker} as '{client_id}'{kept}"))
        }
        EventKind::SessionReady { subscriptions } => {
            (Level::Info, format!("ready, {subscriptions} subscriptions"))
        }
        EventKind::SessionDisconnected { error: Some(error), .. } => {
            (Level::Warn, format!("disconnected: {error}"))
        }
        EventKind::SessionDisconnected { error: None, .. } => {
            (Level::Info, "disconnected".to_owned())
        }
        EventKind::SessionReconnecting { attempt, delay } => {
            (Level::Info, format!("attempt {attempt} in {} ms", delay.as_millis()))
        }
        EventKind::SessionStateChanged { new: SessionStatus::Failed, .. } => {
            (Level::Error, "stopped: it is not retried".to_owned())
        }
        EventKind::SessionStateChanged { old, new } => (Level::Debug, format!("{old} -> {new}")),
        EventKind::SessionLost { requeued } => {
            (Level::Warn, format!("the server lost the session; {requeued} messages go out again"))
        }
        EventKind::SessionRedirected { server_reference, permanent } => {
            let long = if *permanent { ", for good" } else { "" };
            (Level::Warn, format!("the server refers to {server_reference}{long}"))
        }
        EventKind::SessionReauthenticated => (Level::Info, "authenticated again".to_owned()),
        EventKind::SessionReauthenticationFailed { error } => {
            (Level::Error, format!("could not authenticate again: {error}"))
        }
        EventKind::SubscriptionRefused { filter, reason, reason_string } => {
            let mut text = format!("the server refused the subscription of '{filter}': {reason}");
            if let Some(explanation) = reason_string {
                // Writing to memory does not fail.
                let _ = write!(text, ", {explanation}");
            }
            (Level::Error, text)
        }
        EventKind::MessageDropped { reason, count, topic, .. } => {
            let last = topic.as_deref().map_or_else(String::new, |t| format!(", last of '{t}'"));
            (Level::Warn, format!("dropped {count} messages: {reason}{last}"))
        }
        EventKind::MessageUnrouted { topic, count } => {
            (Level::Warn, format!("{count} messages had no route, last of '{topic}'"))
        }
        EventKind::ForwarderStarted { forwarder } => {
            (Level::Info, format!("forwarder {forwarder}: started"))
        }
        EventKind::ForwarderStopped { forwarder, unacknowledged } => {
            (Level::Info, format!("forwarder {forwarder}: stopped, {unacknowledged} messages left"))
        }
        EventKind::ForwarderMessageDropped { forwarder, reason, count, topic } => {
            // The rest of a second's drops is told of without a topic.
            let last =
                if topic.is_empty() { String::new() } else { format!(", last of '{topic}'") };
            (
                Level::Warn,
                format!("forwarder {forwarder}: dropped {count} messages: {reason}{last}"),
            )
        }
        EventKind::TlsReloaded { files } => {
            let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            (Level::Info, format!("certificates reloaded: {}", files.join(", ")))
        }
        EventKind::TlsReloadFailed { error } => {
            (Level::Error, format!("changed certificates are not used: {error}"))
        }
        EventKind::TlsUnverified { broker } => {
            (Level::Warn, format!("the certificate of {broker} is not checked"))
        }
        EventKind::CertificateExpires { certificate, remaining, .. } => {
            let hours = remaining.as_secs() / 3600;
            let left =
                if hours < 48 { format!("{hours} hours") } else { format!("{} days", hours / 24) };
            (Level::Warn, format!("{certificate} ends in {left}"))
        }
        EventKind::EventsLagged { missed } => {
            (Level::Warn, format!("{missed} log lines are missing"))
        }
        other => (Level::Debug, format!("{other:?}")),
    }
}
