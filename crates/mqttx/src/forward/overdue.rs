//! Targets that are connected and do not acknowledge.
//!
//! What is measured is how long one and the same message waits longest: a server that is slow and goes on acknowledging is not
//! overdue, however many messages wait behind. A server has to acknowledge in the order of arrival `[MQTT-4.6.0-2]`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mqttx_proto::Sequence;

use super::engine::Engine;
use super::flows::Phase;
use super::target::Target;
use crate::event::EventKind;
use crate::session::Session;

/// What was seen of a target's session.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    session: Arc<str>,
    /// Its connection.
    reconnects: u64,
    /// What waits longest, and how far it is.
    oldest: (Sequence, bool),
}

/// Since when the same message of a target waits longest.
#[derive(Default, Debug)]
struct Overdue {
    seen: Option<(Seen, Instant)>,
}

impl Overdue {
    /// What is seen now; `true` once it is the same for `limit`.
    fn observe(&mut self, seen: Option<Seen>, now: Instant, limit: Duration) -> bool {
        match (&self.seen, seen) {
            (_, None) => self.seen = None,
            (Some((before, since)), Some(seen)) if *before == seen => {
                let over = now.saturating_duration_since(*since) >= limit;
                if over {
                    self.seen = None;
                }
                return over;
            }
            (_, Some(seen)) => self.seen = Some((seen, now)),
        }
        false
    }
}

impl Seen {
    fn of(session: &Session) -> Option<Self> {
        let oldest = session.oldest_sent()?;
        Some(Self {
            session: Arc::clone(session.shared_name()),
            reconnects: session.counts().0.reconnects,
            oldest,
        })
    }
}

impl Engine {
    /// Looks at the targets again and again, with `ack_timeout`.
    pub(super) fn watch_acknowledgements(&self) {
        let (Some(limit), Some(source)) = (self.options.ack_timeout, self.sources.first()) else {
            return;
        };
        let me = std::sync::Weak::clone(&self.me);
        let mut watched: Vec<Overdue> = Vec::new();
        let targets = self.targets.len() + usize::from(self.dead_letters.is_some());
        watched.resize_with(targets, Overdue::default);
        source.services().runtime.clone().spawn(async move {
            let mut looks = tokio::time::interval((limit / 8).clamp(SHORTEST, LONGEST));
            loop {
                looks.tick().await;
                let Some(engine) = me.upgrade() else { return };
                let at_work = engine.phase() != Phase::Stopped || engine.held() > 0;
                for (n, overdue) in watched.iter_mut().enumerate() {
                    let Some((_, target)) = engine.target(n) else { continue };
                    let now = crate::session::now();
                    // One that does nothing leaves the session to others.
                    let seen = at_work.then(|| Seen::of(target.session())).flatten();
                    if overdue.observe(seen, now, limit) {
                        engine.give_way(target, limit);
                    }
                }
            }
        });
    }

    /// The target does not acknowledge: its session sends again on a new connection, and another one takes its place if there is
    /// one.
    fn give_way(&self, target: &Target, after: Duration) {
        let session = target.session();
        self.lock().flows.counts.ack_timeouts += 1;
        target.suspect.store(target.sessions.len() > 1, Ordering::Release);
        session.services().events.emit(
            None,
            EventKind::ForwarderAckTimeout {
                forwarder: Arc::clone(&self.options.name),
                target: Arc::clone(session.shared_name()),
                after,
            },
        );
        session.renew();
    }
}

/// Between two looks.
const SHORTEST: Duration = Duration::from_millis(25);
const LONGEST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use mqttx_proto::Priority;

    const LIMIT: Duration = Duration::from_secs(10);

    fn seen(number: u64, released: bool, reconnects: u64) -> Option<Seen> {
        let oldest = (Sequence::new(Priority::LOWEST, number), released);
        Some(Seen { session: "s".into(), reconnects, oldest })
    }

    #[test]
    fn only_the_same_message_on_the_same_connection_becomes_overdue() {
        let mut overdue = Overdue::default();
        let start = Instant::now();
        let mut after =
            |seconds, seen| overdue.observe(seen, start + Duration::from_secs(seconds), LIMIT);
        assert!(!after(0, seen(1, false, 0)));
        assert!(!after(9, seen(1, false, 0)));
        assert!(!after(10, seen(2, false, 0)), "the first was acknowledged");
        assert!(!after(19, seen(2, true, 0)), "PUBREC arrived");
        assert!(!after(28, seen(2, true, 1)), "there is a new connection");
        assert!(!after(37, seen(2, true, 1)));
        assert!(after(38, seen(2, true, 1)));
        assert!(!after(39, seen(2, true, 1)), "told once");
        assert!(!after(40, None));
        assert!(!after(60, seen(2, true, 1)), "nothing waited in between");
    }
}
