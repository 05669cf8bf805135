//! A route as a stream of messages.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::Route;
use super::work::Work;
use crate::message::Message;

/// The messages of a route, in order; dropping it stops the route.
///
/// A message counts as done, and may be acknowledged, when the *next* one is asked for,
/// [`done`](Self::done) is called, or the stream is dropped: a process that dies in between gets
/// it again. With manual acknowledgement only [`Message::ack`] counts. The stream ends when its
/// session is removed, after the messages that were waiting.
pub struct MessageStream {
    route: Route,
    /// It keeps a handle to the message handed out last: when its consumer has dropped that, its memory serves another.
    work: Box<Work>,
}

impl MessageStream {
    pub(super) fn new(route: Route) -> Self {
        Self { route, work: Box::default() }
    }

    /// The next message; `None` once the session is removed. Cancel safe: a message is never
    /// lost, but the one before counts as done as soon as this is polled.
    pub async fn next(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.poll_message(cx)).await
    }

    /// Says that the message handed out last is done, without asking for another.
    pub fn done(&mut self) {
        self.route.target().finish_handled(&mut self.work);
    }

    /// The route behind it: filter and counters.
    pub fn route(&self) -> &Route {
        &self.route
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.done();
        let taken = self.route.target().poll_take(cx, &mut self.work);
        taken.map(|taken| if taken { self.work.hand_out() } else { None })
    }
}

impl Stream for MessageStream {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.get_mut().poll_message(cx)
    }
}

impl Drop for MessageStream {
    /// A stopped route owes nothing.
    fn drop(&mut self) {
        self.done();
        self.route.target().finish_rest(&mut self.work);
    }
}

impl std::fmt::Debug for MessageStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageStream").field("route", &self.route).finish_non_exhaustive()
    }
}
