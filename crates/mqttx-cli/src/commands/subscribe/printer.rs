//! Prints messages and acknowledges what was printed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use mqttx::Message;
use tokio::sync::Notify;

use super::RetainedFlags;
use crate::exit::Failure;
use crate::flags::StyleFlags;
use crate::output::{self, Style};

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
    pub(super) fn new(style: &StyleFlags, retained: RetainedFlags, count: Option<u64>) -> Self {
        Self {
            style: style.style(),
            no_newline: style.no_newline,
            retained: !retained.no_retained,
            live: !retained.retained_only,
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
        let printed =
            output::print_message(message, &self.style, self.no_newline, &mut state.buffer);
        if let Err(failure) = printed {
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
}
