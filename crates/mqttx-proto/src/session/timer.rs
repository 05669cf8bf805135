//! The deadlines of one connection, and the one of the outbox.

use std::time::{Duration, Instant};

use crate::KeepAlive;

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
    /// When CONNACK or PINGRESP is due, if one is awaited.
    answer: Option<Instant>,
    last_sent: Instant,
    last_received: Instant,
    keep_alive: KeepAlive,
    /// CONNACK is awaited.
    handshake: bool,
}

impl Timer {
    pub(crate) fn new(now: Instant, handshake_timeout: Duration) -> Self {
        Self {
            answer: Some(now + handshake_timeout),
            last_sent: now,
            last_received: now,
            keep_alive: KeepAlive::OFF,
            handshake: true,
        }
    }

    /// CONNACK arrived: keep-alive begins.
    pub(crate) fn start_keep_alive(&mut self, keep_alive: KeepAlive) {
        (self.answer, self.handshake) = (None, false);
        self.keep_alive = keep_alive;
    }

    pub(crate) fn on_sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    pub(crate) fn on_received(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// PINGREQ was encoded: the answer is due within one more interval, even if the socket never takes it.
    pub(crate) fn on_ping(&mut self, now: Instant) {
        self.answer = self.keep_alive.as_duration().map(|interval| now + interval);
        self.last_sent = now;
    }

    pub(crate) fn on_ping_response(&mut self) {
        self.answer = None;
    }

    pub(crate) fn is_waiting_for_ping(&self) -> bool {
        self.answer.is_some() && !self.handshake
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.answer.or_else(|| {
            let interval = self.keep_alive.as_duration()?;
            Some(self.last_sent.min(self.last_received) + interval)
        })
    }

    pub(crate) fn expired(&self, now: Instant) -> Option<Expired> {
        if self.deadline()? > now {
            return None;
        }
        Some(match self.answer {
            Some(_) if self.handshake => Expired::Handshake,
            Some(_) => Expired::PingResponse,
            None => Expired::Ping,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: Duration = Duration::from_secs(10);

    fn online(now: Instant) -> Timer {
        let mut timer = Timer::new(now, K);
        timer.start_keep_alive(KeepAlive::from_secs(10));
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
        timer.start_keep_alive(KeepAlive::OFF);
        assert_eq!(timer.deadline(), None);
    }
}
