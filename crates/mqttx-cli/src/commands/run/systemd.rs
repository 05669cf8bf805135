//! What a service manager is told: ready, reloading, stopping, how it goes, and that everything still moves.
//!
//! Without `NOTIFY_SOCKET` in the environment nobody is told and nothing runs.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use mqttx::{
    EventFilter, EventKind, EventName, EventStream, ForwarderManager, Session, SessionManager,
    SessionStatus,
};
use sd_notify::NotifyState;
use tokio::task::JoinSet;

/// Tells the service manager until it is dropped.
pub(super) struct Systemd {
    /// None without a service manager.
    tasks: JoinSet<()>,
}

/// READY does not wait longer for the first attempts of the sessions.
const FIRST_CHANCE: Duration = Duration::from_secs(30);
/// Between two lines of status.
const STATUS: Duration = Duration::from_secs(1);
/// Sessions that have to show at every beat that they move.
const SAMPLE: usize = 32;

impl Systemd {
    /// READY comes once every session has connected, or has failed to for the first time: what is ordered after the daemon then
    /// finds its bridges up, and a broker that is down delays nobody for long.
    pub(super) fn start(sessions: &SessionManager, forwarders: &ForwarderManager) -> Self {
        let mut tasks = JoinSet::new();
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Self { tasks };
        }
        let events = sessions.events_matching([
            EventName::SessionReady,
            EventName::SessionDisconnected,
            EventName::SessionStateChanged,
        ]);
        let manager = sessions.clone();
        tasks.spawn(async move {
            let _ = tokio::time::timeout(FIRST_CHANCE, first_chances(&manager, events)).await;
            tell(&[NotifyState::Ready]);
        });
        tasks.spawn(status(sessions.clone(), forwarders.clone()));
        if let Some(limit) = sd_notify::watchdog_enabled() {
            tasks.spawn(watchdog(sessions.clone(), limit));
        }
        Self { tasks }
    }

    /// The configuration is being read again.
    pub(super) fn reloading(&self) {
        if !self.tasks.is_empty()
            && let Ok(now) = NotifyState::monotonic_usec_now()
        {
            tell(&[NotifyState::Reloading, now]);
        }
    }

    /// It was.
    pub(super) fn reloaded(&self) {
        if !self.tasks.is_empty() {
            tell(&[NotifyState::Ready]);
        }
    }

    /// The stop has begun. The watchdog is served until its end.
    pub(super) fn stopping(&self) {
        if !self.tasks.is_empty() {
            tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(target: "mqttx::daemon", "the service manager is not told: {error}");
    }
}

/// Waits until every session that is to connect has done so, or has failed to once.
async fn first_chances(sessions: &SessionManager, mut events: EventStream) {
    let mut waiting = waiting(sessions);
    while !waiting.is_empty() {
        let Some(event) = events.next().await else { return };
        match (&event.kind, &event.session) {
            (EventKind::EventsLagged { .. }, _) => waiting = self::waiting(sessions),
            (EventKind::SessionStateChanged { new, .. }, _) if *new != SessionStatus::Failed => {}
            (_, Some(session)) => {
                waiting.remove(&**session);
            }
            _ => {}
        }
    }
}

/// Sessions that are on their way to their first answer.
fn waiting(sessions: &SessionManager) -> HashSet<String> {
    let all = sessions.sessions().into_iter();
    let waits = |name: &String| {
        let Ok(session) = sessions.session(name) else { return false };
        match session.status() {
            SessionStatus::Connected => !session.is_ready(),
            SessionStatus::Connecting => true,
            _ => false,
        }
    };
    all.filter(waits).collect()
}

/// Tells how many sessions are connected, whenever that changes.
async fn status(sessions: SessionManager, forwarders: ForwarderManager) {
    let mut events = sessions.events_matching(EventFilter::from([
        EventName::SessionConnected,
        EventName::SessionDisconnected,
        EventName::SessionAdded,
        EventName::SessionRemoved,
        EventName::ForwarderStarted,
        EventName::ForwarderStopped,
        EventName::ForwarderBlocked,
    ]));
    let mut told = String::new();
    loop {
        let text = line(&sessions, &forwarders);
        if text != told {
            tell(&[NotifyState::Status(&text)]);
            told = text;
        }
        if events.next().await.is_none() {
            return;
        }
        tokio::time::sleep(STATUS).await;
        while events.try_next().is_some() {}
    }
}

fn line(sessions: &SessionManager, forwarders: &ForwarderManager) -> String {
    let statuses = sessions.statuses();
    let up = statuses.values().filter(|status| **status == SessionStatus::Connected).count();
    let all = forwarders.list();
    let run = all.iter().filter(|forwarder| forwarder.is_running()).count();
    format!("{up} of {} sessions connected, {run} of {} forwarders run", statuses.len(), all.len())
}

/// Feeds the watchdog at half of its time, as long as the drivers of sessions take their turns.
async fn watchdog(sessions: SessionManager, limit: Duration) {
    let beat = limit / 2;
    let mut beats = tokio::time::interval(beat);
    let mut next = 0;
    loop {
        beats.tick().await;
        let sample = sample(&sessions, &mut next);
        let pulses = sample.iter().map(|session| session.pulse(beat / 2));
        let still = join_all(pulses).await.into_iter().zip(&sample).find(|(moves, _)| !moves);
        match still {
            None => tell(&[NotifyState::Watchdog]),
            Some((_, session)) => {
                let session = session.name();
                tracing::error!(target: "mqttx::daemon", session, "it does not move: the watchdog is not fed");
            }
        }
    }
}

/// Other sessions at every beat, all of them in turn.
fn sample(sessions: &SessionManager, next: &mut usize) -> Vec<Session> {
    let names = sessions.sessions();
    let start = if *next < names.len() { *next } else { 0 };
    *next = start + SAMPLE;
    let some = names.into_iter().skip(start).take(SAMPLE);
    some.filter_map(|name| sessions.session(&name).ok()).collect()
}
