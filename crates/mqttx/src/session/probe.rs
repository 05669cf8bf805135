//! How long acknowledgements take: a sample.

use std::sync::Arc;
use std::time::Instant;

use mqttx_proto::{NO_TOKEN, Outcome, Token};

use super::shared::now;
use crate::metrics::ManagerCounters;

/// Follows one message at a time, so that others cost one comparison, and the clock is read twice for each round trip.
#[derive(Default)]
pub(crate) struct Probe(Option<Box<Followed>>);

struct Followed {
    /// [`NO_TOKEN`]: none is followed.
    token: Token,
    begun: Instant,
    counters: Arc<ManagerCounters>,
}

impl Probe {
    /// A message was accepted for whose end `token` waits.
    #[inline]
    pub(super) fn begin(&mut self, token: Token, counters: &Arc<ManagerCounters>) {
        if token == NO_TOKEN {
            return;
        }
        match &mut self.0 {
            Some(followed) if followed.token != NO_TOKEN => {}
            Some(followed) => (followed.token, followed.begun) = (token, now()),
            None => {
                let counters = Arc::clone(counters);
                self.0 = Some(Box::new(Followed { token, begun: now(), counters }));
            }
        }
    }

    /// A command is finished.
    #[inline]
    pub(super) fn finished(&mut self, token: Token, outcome: &Outcome) {
        if let Some(followed) = &mut self.0
            && followed.token == token
            && token != NO_TOKEN
        {
            followed.token = NO_TOKEN;
            if matches!(outcome, Outcome::Acknowledged { .. }) {
                let time = now().saturating_duration_since(followed.begun);
                followed.counters.ack.record_time(time);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mqttx_proto::{PacketId, ReasonCode};

    use super::*;

    fn acknowledged() -> Outcome {
        let packet_id = PacketId::new(1).expect("not zero");
        Outcome::Acknowledged { reason: ReasonCode::SUCCESS, packet_id }
    }

    #[test]
    fn one_message_at_a_time_is_followed_to_its_acknowledgement() {
        let counters = Arc::default();
        let mut probe = Probe::default();
        probe.begin(NO_TOKEN, &counters);
        probe.finished(NO_TOKEN, &acknowledged());
        assert_eq!(counters.ack.snapshot().count, 0, "nobody waits for it");
        probe.begin(7, &counters);
        probe.begin(8, &counters);
        probe.finished(8, &acknowledged());
        assert_eq!(counters.ack.snapshot().count, 0, "another one is followed");
        probe.finished(7, &acknowledged());
        probe.finished(7, &acknowledged());
        probe.finished(NO_TOKEN, &acknowledged());
        assert_eq!(counters.ack.snapshot().count, 1);
        probe.begin(9, &counters);
        probe.finished(9, &Outcome::Closed);
        probe.begin(10, &counters);
        probe.finished(10, &acknowledged());
        assert_eq!(counters.ack.snapshot().count, 2, "what was given up is not a time");
    }
}
