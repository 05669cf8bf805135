//! Whether the driver of a session still moves.

use std::time::Duration;

use super::{DrainWatch, Session};

impl Session {
    /// Wakes the session's driver and waits until it has taken a turn; `false` when it did not within `limit`. A
    /// process whose runtime stands still is found by it. A session that was removed has no driver: `true`.
    ///
    /// It costs one turn, with or without a connection, and sends nothing.
    pub async fn pulse(&self, limit: Duration) -> bool {
        let _watch = DrainWatch::new(&self.shared);
        let before = self.ask_for_a_turn();
        let moved = self.until(|state| (state.closed || state.turns != before).then_some(()));
        tokio::time::timeout(limit, moved).await.is_ok()
    }

    /// How many the driver has begun so far.
    fn ask_for_a_turn(&self) -> u32 {
        let mut state = self.shared.lock();
        state.pulse = true;
        let turns = state.turns;
        self.shared.unlock_and_wake(state);
        turns
    }
}
