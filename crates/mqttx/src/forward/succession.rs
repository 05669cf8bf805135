//! Engines of one forwarder after each other: what an earlier one took goes before what a later one takes.
//!
//! Only sessions have an order to keep: an engine waits for those before it that publish to one of its own.

use std::pin::pin;
use std::sync::{Arc, Weak};

use super::engine::Engine;
use super::flows::Phase;
use super::target::Target;
use crate::session::Session;

impl Engine {
    /// [`resume`](Self::resume), but sends nothing before `earlier` engines have sent what they hold.
    pub(super) fn resume_after(&self, earlier: &[Arc<Self>]) -> bool {
        if self.phase() == Phase::Running {
            return false;
        }
        self.lock().flows.hold();
        let begun = self.resume();
        self.release_after(earlier);
        begun
    }

    /// [`release`](Self::release), once `earlier` engines have sent what they hold, or have ended.
    pub(super) fn release_after(&self, earlier: &[Arc<Self>]) {
        let before = earlier.iter().filter(|engine| engine.goes_before(self));
        let before: Vec<Weak<Self>> = before.map(|engine| Weak::clone(&engine.me)).collect();
        let Some(source) = self.sources.first().filter(|_| !before.is_empty()) else {
            return self.release();
        };
        let me = Weak::clone(&self.me);
        source.services().runtime.clone().spawn(async move {
            for engine in before {
                sent(engine).await;
            }
            if let Some(engine) = me.upgrade() {
                engine.release();
            }
        });
    }

    /// Waits until everything that it took is with its targets, unless one of them has no session.
    pub(super) async fn sent(&self) {
        sent(Weak::clone(&self.me)).await;
    }

    /// Whether it has something to send to a session of `later`.
    fn goes_before(&self, later: &Self) -> bool {
        self.phase() == Phase::Running
            && !self.has_sent()
            && self.published_to().any(|own| later.published_to().any(|other| own.is(other)))
    }

    fn published_to(&self) -> impl Iterator<Item = &Session> {
        self.targets.iter().chain(&self.dead_letters).flat_map(Target::sessions)
    }

    fn has_sent(&self) -> bool {
        !self.lock().flows.is_waiting() || self.is_stranded()
    }
}

/// Whoever waits does not keep an engine that ended.
async fn sent(engine: Weak<Engine>) {
    loop {
        let Some(strong) = engine.upgrade() else { return };
        let quiet = Arc::clone(&strong.quiet);
        let mut quiet = pin!(quiet.notified());
        // From here on no notification is missed.
        quiet.as_mut().enable();
        strong.lock().retiring = true;
        if strong.has_sent() {
            return;
        }
        drop(strong);
        quiet.await;
    }
}
