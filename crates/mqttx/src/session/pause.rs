//! How publishers that are [ahead](super::ahead) stand aside: they yield, or pause until the driver wakes them, or for a while.

use std::future::poll_fn;
use std::task::Poll;

use tokio::runtime::Handle;

use super::ahead::{AHEAD_IN_A_PAUSE, Lead, PAUSE, Ticket};
use super::shared::Shared;

impl Shared {
    /// Lets the driver have a turn, or acknowledgements come, if the publisher is far ahead.
    pub(super) async fn stand_aside(&self, lead: Lead) {
        match lead {
            Lead::None => {}
            Lead::Alone => {
                tokio::task::yield_now().await;
                let is_far = {
                    let mut state = self.lock();
                    state.ahead.on_yielded() && state.core.awaiting_window() == 0
                };
                if is_far && self.is_at_home() {
                    self.pause(Lead::Turn).await;
                }
            }
            Lead::Turn => {
                if !self.is_at_home() || !self.pause(lead).await {
                    tokio::task::yield_now().await;
                }
            }
            Lead::Window => {
                self.pause(lead).await;
            }
        }
    }

    /// Whether the caller runs on the session's runtime. Another one does not run the driver, which may stand still meanwhile.
    fn is_at_home(&self) -> bool {
        Handle::try_current().is_ok_and(|here| here.id() == self.services.runtime.id())
    }

    /// Waits for a turn of the driver after which no message waits for the server's window, but not for long. `false` at once if too
    /// many do already.
    async fn pause(&self, lead: Lead) -> bool {
        let over = {
            // The caller may run on another executor.
            let _runtime = self.services.runtime.enter();
            tokio::time::sleep(PAUSE)
        };
        let mut over = std::pin::pin!(over);
        let mut begun = None;
        let mut pausing = Pausing { shared: self, ticket: None };
        poll_fn(|cx| {
            let mut state = self.lock();
            let waiting = state.core.awaiting_window();
            let had_turn = pausing.ticket.is_some_and(|ticket| !state.ahead.pauses(ticket));
            if state.closed || waiting == 0 && (had_turn || lead == Lead::Window) {
                state.ahead.on_success();
                return Poll::Ready(true);
            }
            let (waited, turns) = *begun.get_or_insert_with(|| {
                let others = state.ahead.pausing() / AHEAD_IN_A_PAUSE;
                if others > 0 {
                    let more = PAUSE * u32::try_from(others).unwrap_or(u32::MAX);
                    let until = over.deadline() + more;
                    over.as_mut().reset(until);
                }
                (waiting, state.ahead.turns())
            });
            if over.as_mut().poll(cx).is_ready() {
                if lead == Lead::Turn {
                    state.ahead.begin_anew();
                }
                if waited > 0 {
                    let turns = state.ahead.turns() != turns;
                    state.ahead.on_pause(waited.saturating_sub(waiting), turns);
                }
                return Poll::Ready(true);
            }
            let Ok(before) = state.ahead.pause(&mut pausing.ticket, cx.waker()) else {
                return Poll::Ready(false);
            };
            // Where no acknowledgement will, this wakes the driver.
            state.pulse |= lead == Lead::Turn && waiting == 0;
            self.unlock_and_wake(state);
            // Without the lock, as below.
            drop(before);
            Poll::Pending
        })
        .await
    }
}

/// A place among those who pause: given up with the pause, so that it does not keep others from theirs.
struct Pausing<'a> {
    shared: &'a Shared,
    ticket: Option<Ticket>,
}

impl Drop for Pausing<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.shared.lock();
        let own = state.ahead.leave(ticket);
        // The driver has its turn once this one has used the room, or at once if this one has nothing more to say, and wakes the
        // next one. Woken from here that one would be run by another thread, and the two would wait for each other's lock.
        state.pulse |= state.ahead.pausing() > 0;
        self.shared.unlock_and_wake(state);
        // Dropped outside the lock: a waker may run code of its executor.
        drop(own);
    }
}
