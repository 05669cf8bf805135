//! What is shown of a session.

use std::fmt::Write as _;
use std::time::Duration;

use mqttx::{Session, SessionMetrics};
use serde_json::json;

use super::super::sessions::state;
use super::journal::clipped;
use super::rate::Rate;
use super::table::{Change, Row, members};

/// Bytes of an error's text that a row shows; the whole is at `/api/v1/sessions/NAME`.
const ERROR: usize = 200;

/// One row of the table of sessions.
pub(super) struct SessionRow {
    words: Words,
    rates: [Rate; 4],
    numbers: [u64; 8],
}

#[derive(PartialEq)]
struct Words {
    name: String,
    state: &'static str,
    status: &'static str,
    broker: String,
    error: Option<String>,
}

impl Row for SessionRow {
    type Source = Session;

    fn name(session: &Session) -> &str {
        session.name()
    }

    fn new(session: &Session) -> Self {
        let metrics = session.peek();
        let rates = counters(&metrics).map(Rate::new);
        let numbers = numbers(&metrics, &rates);
        Self { words: Words::of(session), rates, numbers }
    }

    fn update(&mut self, session: &Session, elapsed: Duration) -> Change {
        let metrics = session.peek();
        for (rate, count) in self.rates.iter_mut().zip(counters(&metrics)) {
            rate.next(count, elapsed);
        }
        let numbers = numbers(&metrics, &self.rates);
        let before = std::mem::replace(&mut self.numbers, numbers);
        // Broker and error change only with one of these: reconnects and errors are the last two numbers.
        if session.status().name() != self.words.status || numbers[6..] != before[6..] {
            let words = Words::of(session);
            if words != self.words {
                self.words = words;
                return Change::Words;
            }
        }
        if numbers == before { Change::Nothing } else { Change::Numbers }
    }

    fn write(&self, words: bool, out: &mut String) {
        if words {
            let Words { name, state, status, broker, error } = &self.words;
            let words = json!({ "name": name, "state": state, "status": status, "broker": broker, "error": error });
            out.push_str(&members(&words));
            out.push(',');
        }
        out.push_str("\"n\":[");
        for (n, number) in self.numbers.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            // Writing to memory does not fail.
            let _ = write!(out, "{comma}{number}");
        }
        out.push(']');
    }
}

impl Words {
    fn of(session: &Session) -> Self {
        let status = session.status();
        let error = session.last_error().map(|error| clipped(&error.to_string(), ERROR));
        Self {
            name: session.name().to_owned(),
            state: state(status),
            status: status.name(),
            broker: session.broker(),
            error,
        }
    }
}

fn counters(metrics: &SessionMetrics) -> [u64; 4] {
    [metrics.messages_received, metrics.messages_sent, metrics.bytes_received, metrics.bytes_sent]
}

/// In the order that the page knows: four rates in tenths, in flight, queue, reconnects, errors.
fn numbers(metrics: &SessionMetrics, rates: &[Rate; 4]) -> [u64; 8] {
    let [received, sent, bytes_received, bytes_sent] = rates.each_ref().map(Rate::tenths);
    let waiting = metrics.outbox_messages.saturating_sub(metrics.in_flight);
    [
        received,
        sent,
        bytes_received,
        bytes_sent,
        metrics.in_flight as u64,
        waiting as u64,
        metrics.reconnects,
        metrics.errors,
    ]
}
