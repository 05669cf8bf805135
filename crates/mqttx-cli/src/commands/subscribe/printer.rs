//! Prints messages and acknowledges what was printed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Zoned;
use mqttx::Message;
use tokio::sync::Notify;

use super::StyleFlags;
use crate::exit::{Failure, warn};
use crate::output::{self, NotJson, Received, Style};

/// Shared by the routes of `sub`: one message at a time, in the order in which they come.
#[derive(Debug)]
pub(super) struct Printer {
    style: Style,
    no_newline: bool,
    retained: bool,
    live: bool,
    state: Mutex<State>,
    /// From here on nothing is printed or acknowledged.
    stopped: AtomicBool,
    finished: Notify,
}

#[derive(Debug)]
struct State {
    /// `None`: no limit.
    left: Option<u64>,
    failure: Option<Failure>,
    buffer: Vec<u8>,
}

impl Printer {
    /// Prints up to `count` messages.
    pub(super) fn new(flags: &StyleFlags, count: Option<u64>) -> Self {
        Self {
            style: flags.style(),
            no_newline: flags.no_newline,
            retained: !flags.no_retained,
            live: !flags.retained_only,
            state: Mutex::new(State { left: count, failure: None, buffer: Vec::new() }),
            stopped: AtomicBool::new(false),
            finished: Notify::new(),
        }
    }

    /// Prints a message and acknowledges it. After the last one, and after an error, messages are
    /// left alone: the server still has them.
    pub(super) fn handle(&self, message: &Message) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stopped.load(Ordering::Acquire) {
            return;
        }
        let wanted = if message.retain() { self.retained } else { self.live };
        if !wanted {
            message.ack();
            return;
        }
        if let Err(failure) = self.print(message, &mut state.buffer) {
            state.failure = Some(failure);
            self.finish();
            return;
        }
        message.ack();
        if let Some(left) = &mut state.left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.finish();
            }
        }
    }

    /// Waits for the last message, or for the error that ended the printing.
    pub(super) async fn finished(&self) -> Result<(), Failure> {
        self.finished.notified().await;
        let failure = self.state.lock().unwrap_or_else(PoisonError::into_inner).failure.take();
        failure.map_or(Ok(()), Err)
    }

    /// Whether all messages that were asked for are printed.
    pub(super) fn is_complete(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.left == Some(0) && state.failure.is_none()
    }

    /// Prints nothing more. A message that is being printed right now is finished, unless stdout
    /// is stalled: then `false` is returned.
    pub(super) fn stop(&self) -> bool {
        self.stopped.store(true, Ordering::Release);
        self.state.try_lock().is_ok()
    }

    fn finish(&self) {
        self.stopped.store(true, Ordering::Release);
        self.finished.notify_one();
    }

    fn print(&self, message: &Message, buffer: &mut Vec<u8>) -> Result<(), Failure> {
        let received = Received {
            session: message.session(),
            topic: message.topic(),
            payload: message.payload(),
            qos: message.qos(),
            retain: message.retain(),
            dup: message.dup(),
            packet_id: message.packet_id().map(|id| id.get()),
            properties: message.properties(),
        };
        buffer.clear();
        if let Err(NotJson) = self.style.write(&received, &Zoned::now(), self.no_newline, buffer) {
            let topic = message.topic();
            warn(format_args!("warning: the payload is not valid JSON, topic {topic}"));
        }
        output::print(buffer)
            .map_err(|error| Failure::runtime(format_args!("standard output: {error}")))
    }
}
