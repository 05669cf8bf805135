//! The deadlines of one connection, and the one of the outbox.

use std::time::{Duration, Instant};

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    /// No CONNACK in time.
    Handshake,
    /// It is time for PINGREQ.
    Ping,
    /// No PINGRESP in time.
    PingResponse,
}

/// Keep-alive and handshake of one connection.
///
/// PINGREQ is due when nothing was sent *or nothing was received* for the interval, so that a half-open link is noticed by a
/// client that only publishes QoS 0, too. Once it is sent, only PINGRESP counts: other traffic does not prove that the
/// server reads.
#[derive(Debug)]
pub(crate) struct Timer {
    handshake: Option<Instant>,
    interval: Option<Duration>,
    last_sent: Instant,
    last_received: Instant,
    ping_response: Option<Instant>,
}

impl Timer {
    pub(crate) fn new(now: Instant, handshake_timeout: Duration) -> Self {
        Self {
            handshake: Some(now + handshake_timeout),
            interval: None,
            last_sent: now,
            last_received: now,
            ping_response: None,
        }
    }

    /// CONNACK arrived: keep-alive begins.
    pub(crate) fn start_keep_alive(&mut self, interval: Option<Duration>) {
        self.handshake = None;
        self.interval = interval;
    }

    pub(crate) fn on_sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    pub(crate) fn on_received(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// PINGREQ was encoded: the answer is due within one more interval, even if the socket never takes it.
    pub(crate) fn on_ping(&mut self, now: Instant) {
        self.ping_response = self.interval.map(|interval| now + interval);
        self.last_sent = now;
    }

    pub(crate) fn on_ping_response(&mut self) {
        self.ping_response = None;
    }

    pub(crate) fn is_waiting_for_ping(&self) -> bool {
        self.ping_response.is_some()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.handshake.or(self.ping_response).or_else(|| {
            self.interval.map(|interval| self.last_sent.min(self.last_received) + interval)
        })
    }

    pub(crate) fn expired(&self, now: Instant) -> Option<Expired> {
        if self.deadline()? > now {
            return None;
        }
        Some(if self.handshake.is_some() {
            Expired::Handshake
        } else if self.ping_response.is_some() {
            Expired::PingResponse
        } else {
            Expired::Ping
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: Duration = Duration::from_secs(10);

    fn online(now: Instant) -> Timer {
        let mut timer = Timer::new(now, K);
        timer.start_keep_alive(Some(K));
        timer
    }

    #[test]
    fn silence_in_either_direction_asks_for_a_ping() {
        let start = Instant::now();
        let mut timer = online(start);
        let later = start + K / 2;
        timer.on_received(later);
        assert_eq!(timer.expired(start + K), Some(Expired::Ping), "nothing was sent");
        timer.on_sent(later);
        assert_eq!(timer.expired(start + K), None);
        assert_eq!(timer.deadline(), Some(later + K));
    }

    #[test]
    fn only_the_answer_ends_the_wait_for_it() {
        let start = Instant::now();
        let mut timer = online(start);
        let ping = start + K;
        timer.on_ping(ping);
        timer.on_received(ping + K / 2);
        timer.on_sent(ping + K / 2);
        assert_eq!(timer.expired(ping + K), Some(Expired::PingResponse));
        timer.on_ping_response();
        assert_eq!(timer.expired(ping + K), None);
    }

    #[test]
    fn keep_alive_zero_has_no_deadline() {
        let start = Instant::now();
        let mut timer = Timer::new(start, K);
        assert_eq!(timer.expired(start + K), Some(Expired::Handshake));
        timer.start_keep_alive(None);
        assert_eq!(timer.deadline(), None);
    }
}
