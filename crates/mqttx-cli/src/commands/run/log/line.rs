//! From a `tracing` event to a line.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::limit::{Admission, Limiter};
use super::queue::Queue;
use crate::config::LogFormat;
use crate::exit::warn;
use crate::wire_log::WIRE;

/// Writes events where the sink says.
pub(super) struct Lines(pub(super) Arc<Sink>);

/// Where lines go, and how they look.
#[derive(Debug)]
pub(super) struct Sink {
    json: AtomicBool,
    limiter: Mutex<Limiter>,
    out: Arc<Queue>,
    /// Told when something is left out.
    left_out: Notify,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut parts = Parts::default();
        event.record(&mut parts);
        let metadata = event.metadata();
        let level = metadata.level().as_str().to_ascii_lowercase();
        self.0.write(metadata.target(), &level, &parts);
    }
}

impl Sink {
    pub(super) fn new(format: LogFormat) -> Self {
        let json = AtomicBool::new(format == LogFormat::Json);
        let out = Queue::start(warn);
        Self { json, limiter: Mutex::default(), out, left_out: Notify::new() }
    }

    pub(super) fn set_format(&self, format: LogFormat) {
        self.json.store(format == LogFormat::Json, Ordering::Relaxed);
    }

    /// Waits until something was left out; when that is to be told.
    pub(super) async fn next_due(&self) -> Instant {
        loop {
            if let Some(due) = self.limiter().next_due() {
                return due;
            }
            self.left_out.notified().await;
        }
    }

    /// Says how many lines were left out until `now`, for subjects whose time is over.
    pub(super) fn tell_left_out(&self, now: Instant) {
        let due = self.limiter().due(now);
        due.into_iter().for_each(|(subject, count)| self.tell(&subject, count));
    }

    /// The same for all.
    fn tell_all_left_out(&self) {
        let rest = self.limiter().rest();
        rest.into_iter().for_each(|(subject, count)| self.tell(&subject, count));
    }

    fn write(&self, target: &str, level: &str, parts: &Parts) {
        // Whoever asks for packets wants all of them.
        if let Some(subject) = parts.subject().filter(|_| target != WIRE) {
            let admission = self.limiter().admit(&subject, Instant::now());
            match admission {
                Admission::Write => {}
                Admission::WriteAfter(count) => self.tell(&subject, count),
                Admission::LeaveOut => return self.left_out.notify_one(),
            }
        }
        self.put(self.format(target, level, parts));
    }

    /// The last lines have a moment to be written.
    pub(super) fn finish(&self, last: Option<String>) {
        self.tell_all_left_out();
        last.into_iter().for_each(|line| self.put(line));
        self.out.flush(LAST_LINES);
    }

    fn put(&self, line: String) {
        if let Some(count) = self.out.take_lost() {
            let message = format!("{count} lines are missing: stderr was not read in time");
            let parts = Parts { message, ..Parts::default() };
            self.out.put(self.format("mqttx::log", "warn", &parts));
        }
        self.out.put(line);
    }

    fn tell(&self, subject: &str, count: u64) {
        let message = format!("{count} lines were left out within a minute");
        let mut parts = Parts { message, ..Parts::default() };
        if let Some((kind, name)) = subject.split_once(' ') {
            parts.fields.insert(kind.to_owned(), name.into());
        }
        parts.fields.insert("type".to_owned(), "lines_left_out".into());
        parts.fields.insert("count".to_owned(), count.into());
        self.put(self.format("mqttx::log", "warn", &parts));
    }

    fn format(&self, target: &str, level: &str, parts: &Parts) -> String {
        let time = jiff::Timestamp::now();
        if self.json.load(Ordering::Relaxed) {
            return parts.to_json(time, level, target);
        }
        let mut line = format!("{time:.3} {level:5} ");
        parts.write_text(&mut line);
        line
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The message of an event and its fields.
#[derive(Default)]
struct Parts {
    message: String,
    fields: Map<String, Value>,
}

impl Parts {
    /// Whom it concerns, for the limit.
    fn subject(&self) -> Option<String> {
        let found =
            SUBJECTS.iter().find_map(|kind| Some((kind, self.fields.get(*kind)?.as_str()?)));
        found.map(|(kind, name)| format!("{kind} {name}"))
    }

    /// `session plant: connected …`. Lines that have a type say everything in their message.
    fn write_text(&self, out: &mut String) {
        for kind in SUBJECTS {
            if let Some(name) = self.fields.get(kind).and_then(Value::as_str) {
                // Writing to memory does not fail.
                let _ = write!(out, "{kind} {name}: ");
            }
        }
        out.push_str(&self.message);
        if self.fields.contains_key("type") {
            return;
        }
        for (name, value) in
            self.fields.iter().filter(|(name, _)| !SUBJECTS.contains(&name.as_str()))
        {
            let _ = match value.as_str() {
                Some(text) => write!(out, " {name}={text}"),
                None => write!(out, " {name}={value}"),
            };
        }
    }

    fn to_json(&self, time: jiff::Timestamp, level: &str, target: &str) -> String {
        let mut object = Map::new();
        object.insert("timestamp".to_owned(), time.to_string().into());
        object.insert("level".to_owned(), level.into());
        object.insert("target".to_owned(), target.into());
        object.insert("message".to_owned(), self.message.as_str().into());
        object.extend(self.fields.iter().map(|(name, value)| (name.clone(), value.clone())));
        Value::Object(object).to_string()
    }
}

impl Visit for Parts {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.put(field, text.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

impl Parts {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            // How `log` says where it was called.
            (name, _) if name.starts_with("log.") => {}
            (name, value) => {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }
}

/// For the last lines, at the end of the process.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What lines are counted by.
const SUBJECTS: [&str; 2] = ["session", "forwarder"];
