//! Publishers that run ahead: of their driver, and of the server.
//!
//! A driver that a task woke is run by the same thread once that task pauses. Without a pause a publisher would fill the outbox
//! first, and what it holds would leave the processor's caches before it is sent. So a publisher stands aside now and then,
//! after its message was accepted: for the driver's turn, or, once the server's window is used up, until messages are
//! acknowledged.

use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::shared::Shared;

/// What may be handed over, in bytes, before the driver is to have a turn. Each of its turns wakes another thread in vain (whoever finds
/// a task after a search tells another one to search), so that few and large ones are better; what is beyond the processor's caches
/// is slower again. With a message more it fits 512 KiB, which a write queue grows to and keeps.
const LEAD: u32 = 448 * 1024;
/// Messages beyond the server's window that need not have waited for acknowledgements.
const BEYOND: usize = 128;
/// How many are accepted between two pauses, where more than [`BEYOND`] wait. A pause in which fewer left was in vain.
const STEP: u32 = 64;
/// How long a pause may take. For a server that takes fewer than [`STEP`] in that time there is the outbox: it hardly delays a
/// publisher. The turns of many busy sessions take some milliseconds.
const PAUSE: Duration = Duration::from_millis(5);
/// After how many pauses in vain they come no more seldom.
const MOST_VAIN: u8 = 5;
/// How many publishers of one session pause at a time.
pub(super) const PAUSING: usize = 64;

/// How far the publishers of one session are ahead.
#[derive(Default)]
pub(crate) struct Ahead {
    /// Bytes of messages that were accepted since the driver's last turn, or since a publisher last let it have one.
    lead: u32,
    /// Messages that were accepted since a publisher last paused.
    messages: u32,
    /// Pauses in a row that were in vain. Each doubles the number of messages until the next one.
    vain: u8,
    /// Those who pause; `None` if nobody did since the session was quiet.
    #[expect(clippy::box_collection, reason = "one word while it is empty")]
    pausing: Option<Box<Vec<Waker>>>,
}

/// For what a publisher is to stand aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// It goes on.
    None,
    /// The driver's turn.
    Turn,
    /// Acknowledgements.
    Window,
}

impl Ahead {
    /// The driver has a turn.
    pub(super) fn on_turn(&mut self) {
        self.lead = 0;
    }

    /// A message of `bytes` was accepted; `waiting` are behind the server's window.
    #[inline]
    pub(super) fn on_accepted(&mut self, bytes: usize, waiting: usize) -> Lead {
        self.lead = self.lead.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.messages = self.messages.saturating_add(1);
        if waiting > BEYOND && self.messages >= STEP << self.vain {
            self.messages = 0;
            return Lead::Window;
        }
        if self.lead < LEAD {
            return Lead::None;
        }
        self.lead = 0;
        Lead::Turn
    }

    /// A publisher pauses until [`take_pausing`](Self::take_pausing); `false`: too many do already.
    fn pause(&mut self, waker: &Waker) -> bool {
        let pausing = self.pausing.get_or_insert_default();
        if pausing.iter().any(|known| known.will_wake(waker)) {
            return true;
        }
        let fits = pausing.len() < PAUSING;
        if fits {
            pausing.push(waker.clone());
        }
        fits
    }

    /// It does not pause any more.
    fn leave(&mut self, waker: &Waker) {
        self.pausing.iter_mut().for_each(|pausing| pausing.retain(|known| !known.will_wake(waker)));
    }

    /// Nothing waits for the window any more: those who pause, to be woken.
    pub(super) fn take_pausing(&mut self) -> impl Iterator<Item = Waker> {
        self.pausing.iter_mut().flat_map(|pausing| pausing.drain(..))
    }

    /// A pause is over in which so many messages left.
    fn on_pause(&mut self, left: usize) {
        let vain = left < STEP as usize;
        self.vain = if vain { (self.vain + 1).min(MOST_VAIN) } else { 0 };
    }

    /// Gives memory back, for a quiet session.
    pub(super) fn shrink(&mut self) {
        self.pausing.take_if(|pausing| pausing.is_empty());
    }
}

impl Shared {
    /// Lets the driver have a turn, or acknowledgements come, if the publisher is far ahead.
    pub(super) async fn stand_aside(&self, lead: Lead) {
        match lead {
            Lead::None => {}
            Lead::Turn => tokio::task::yield_now().await,
            Lead::Window => self.pause().await,
        }
    }

    /// Waits until no message waits for the server's window, but not for long.
    async fn pause(&self) {
        let over = {
            // The caller may run on another executor.
            let _runtime = self.services.runtime.enter();
            tokio::time::sleep(PAUSE)
        };
        let mut over = std::pin::pin!(over);
        let mut before = None;
        let mut pausing = Pausing { shared: self, waker: None };
        poll_fn(|cx| {
            let mut state = self.lock();
            let waiting = state.core.awaiting_window();
            if waiting == 0 {
                state.ahead.vain = 0;
                return Poll::Ready(());
            }
            let left = before.get_or_insert(waiting).saturating_sub(waiting);
            if over.as_mut().poll(cx).is_ready() {
                state.ahead.on_pause(left);
                return Poll::Ready(());
            }
            if !state.ahead.pause(cx.waker()) {
                return Poll::Ready(());
            }
            pausing.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// A place among those who pause: given up with the pause, so that it does not keep others from theirs.
struct Pausing<'a> {
    shared: &'a Shared,
    waker: Option<Waker>,
}

impl Drop for Pausing<'_> {
    fn drop(&mut self) {
        if let Some(waker) = &self.waker {
            self.shared.lock().ahead.leave(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages until the next pause, with so many waiting.
    fn until_pause(ahead: &mut Ahead, waiting: usize) -> u32 {
        let mut messages = 1;
        while ahead.on_accepted(100, waiting) != Lead::Window {
            messages += 1;
        }
        messages
    }

    #[test]
    fn the_driver_gets_a_turn_after_so_many_bytes() {
        let mut ahead = Ahead::default();
        assert_eq!(ahead.on_accepted(LEAD as usize - 1, 0), Lead::None);
        assert_eq!(ahead.on_accepted(1, 0), Lead::Turn);
        assert_eq!(ahead.on_accepted(LEAD as usize - 1, 0), Lead::None);
        ahead.on_turn();
        assert_eq!(ahead.on_accepted(1, BEYOND), Lead::None, "few messages wait");
        assert_eq!(ahead.on_accepted(usize::MAX, BEYOND), Lead::Turn);
    }

    #[test]
    fn pauses_in_vain_become_rare_and_one_that_helped_brings_them_back() {
        let mut ahead = Ahead::default();
        assert_eq!(until_pause(&mut ahead, BEYOND + 1), STEP);
        for doublings in 1..=MOST_VAIN {
            ahead.on_pause(STEP as usize - 1);
            assert_eq!(until_pause(&mut ahead, BEYOND + 1), STEP << doublings);
        }
        ahead.on_pause(0);
        assert_eq!(until_pause(&mut ahead, BEYOND + 1), STEP << MOST_VAIN, "no more seldom");
        ahead.on_pause(STEP as usize);
        assert_eq!(until_pause(&mut ahead, BEYOND + 1), STEP);
    }

    #[test]
    fn so_many_publishers_pause_and_no_more() {
        let mut ahead = Ahead::default();
        let tasks = [const { None::<std::sync::Arc<Task>> }; PAUSING + 1];
        let wakers = tasks.map(|_| Waker::from(std::sync::Arc::new(Task)));
        let pausing = wakers.iter().filter(|waker| ahead.pause(waker)).count();
        assert_eq!(pausing, PAUSING);
        assert!(ahead.pause(&wakers[0]), "it has a place already");
        assert_eq!(ahead.take_pausing().count(), PAUSING);
        ahead.shrink();
        assert!(ahead.pausing.is_none());
    }

    struct Task;

    impl std::task::Wake for Task {
        fn wake(self: std::sync::Arc<Self>) {}
    }
}
