//! Messages that nobody finishes any more.

use super::Session;
use super::shared::Wish;
use crate::router::Due;

impl Session {
    /// Nobody finishes these messages: the server is to have them again.
    ///
    /// Acknowledgements keep their order, so that none of a later message leaves on this connection: a persistent session
    /// connects anew, and its server sends all that was not acknowledged. The server of any other session would forget them
    /// with the connection: there they are acknowledged, so that the others do not suffer. At the end of the process they
    /// stay where they are.
    pub(crate) fn give_back(&self, dues: Vec<Due>) {
        let mut state = self.shared.lock();
        let keeps = state.winding_down || state.options.is_persistent();
        let (mut left, mut done) = (0, Vec::new());
        for due in dues {
            if keeps && let Some(ticket) = due.ticket() {
                // A QoS 2 message is a new one when it comes again. What came on an earlier connection does so anyway.
                left += usize::from(state.core.refuse(ticket));
            } else {
                done.extend(due.settle());
            }
        }
        let ends = state.winding_down;
        self.shared.unlock_and_wake(state);
        self.acknowledge(done.into_iter());
        if left > 0 {
            if ends {
                self.leave_unhandled(left);
            } else {
                self.renew();
            }
        }
    }

    /// A new connection in the place of the one that there is, unless somebody asked for none.
    pub(crate) fn renew(&self) {
        let state = self.shared.lock();
        if matches!(state.wish, Wish::Connected | Wish::Reconnected) {
            self.shared.wish_with(state, Wish::Reconnected);
        }
    }
}
