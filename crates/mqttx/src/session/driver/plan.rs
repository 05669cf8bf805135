//! Where to connect next, and when.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::options::SessionOptions;
use crate::session::backoff::Delays;
use crate::transport::{Endpoint, EndpointError};

/// The state of connecting, over all attempts.
#[derive(Default)]
pub(super) struct Plan {
    delays: Delays,
    /// Which of the brokers is next.
    broker: u16,
    /// Brokers that failed since the last delay.
    failed: u16,
    /// Those of them that refused for good.
    refused: u16,
    /// Attempts since the last stable connection.
    attempt: u32,
    /// Where servers sent us.
    redirects: Option<Box<Redirects>>,
    /// Redirects that were followed since the last stable connection or delay.
    pub(super) hops: u8,
    /// Whether there was a connection before.
    pub(super) connected_before: bool,
}

/// Where servers sent us.
#[derive(Default)]
struct Redirects {
    /// For now: the first address is next, the others when it fails.
    queue: VecDeque<Endpoint>,
    /// For good: brokers before those of the options.
    moved: Vec<Endpoint>,
}

/// Servers that moved for good are remembered up to this number: then the oldest is forgotten.
const MAX_MOVED: usize = 8;

impl Plan {
    /// The address of the next attempt, which begins now.
    pub(super) fn begin(&mut self, options: &SessionOptions) -> Result<Endpoint, EndpointError> {
        self.attempt = self.attempt.saturating_add(1);
        self.endpoint(options)
    }

    /// The address of the attempt, or of the connection that came of it.
    pub(super) fn endpoint(&self, options: &SessionOptions) -> Result<Endpoint, EndpointError> {
        let redirects = self.redirects.as_ref();
        let moved = redirects.map_or(&[][..], |redirects| &redirects.moved);
        if let Some(endpoint) = redirects.and_then(|redirects| redirects.queue.front()) {
            return Ok(endpoint.clone());
        }
        let broker = usize::from(self.broker);
        match moved.get(broker) {
            Some(endpoint) => Ok(endpoint.clone()),
            None => {
                let broker = options.brokers.get(broker - moved.len());
                options.endpoint(broker.map_or("", String::as_str))
            }
        }
    }

    /// The same, for whoever asks the session: which of the brokers, or where a server sent us instead.
    pub(super) fn place(&self) -> (u16, Option<Box<Endpoint>>) {
        let redirects = self.redirects.as_ref();
        let moved = redirects.map_or(0, |redirects| redirects.moved.len());
        let elsewhere = redirects.and_then(|redirects| {
            redirects.queue.front().or_else(|| redirects.moved.get(usize::from(self.broker)))
        });
        let own = usize::from(self.broker).saturating_sub(moved);
        let elsewhere = elsewhere.map(|endpoint| Box::new(endpoint.clone()));
        (u16::try_from(own).unwrap_or(u16::MAX), elsewhere)
    }

    /// Counts from 1 since the last stable connection.
    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The server accepted the connection.
    pub(super) fn connected(&mut self) {
        (self.failed, self.refused) = (0, 0);
        self.connected_before = true;
    }

    /// An accepted connection ended after that time: the same broker is next.
    pub(super) fn lost(&mut self, options: &SessionOptions, lasted: Duration) -> Duration {
        if lasted >= options.reconnect.stable_after {
            self.attempt = 0;
        }
        self.not_redirected();
        self.delays.connection_ended(&options.reconnect, lasted);
        self.delays.next(&options.reconnect, random())
    }

    /// An attempt failed: the next broker is tried, after a delay when all of them failed.
    pub(super) fn failed(&mut self, options: &SessionOptions) -> Duration {
        match &mut self.redirects {
            Some(redirects) if !redirects.queue.is_empty() => {
                redirects.queue.pop_front();
                if !redirects.queue.is_empty() {
                    return Duration::ZERO;
                }
            }
            _ => self.next_broker(options),
        }
        self.failed += 1;
        if usize::from(self.failed) < self.brokers(options) {
            return Duration::ZERO;
        }
        (self.failed, self.refused) = (0, 0);
        self.delays.next(&options.reconnect, random())
    }

    /// A server refused, and will hardly change its mind: the next broker is tried, after the longest
    /// delay when all of them refused.
    pub(super) fn refused(&mut self, options: &SessionOptions) -> Duration {
        self.hops = 0;
        self.refused += 1;
        if usize::from(self.refused) < self.brokers(options) {
            return self.failed(options);
        }
        if !self.leave_redirect() {
            self.next_broker(options);
        }
        (self.failed, self.refused) = (0, 0);
        options.reconnect.max
    }

    /// A server sent us elsewhere: these are the next addresses, and when it moved for good (section 4.11) they stay the first ones.
    pub(super) fn follow(&mut self, endpoints: Vec<Endpoint>, permanent: bool) {
        self.hops += 1;
        let redirects = self.redirects.get_or_insert_default();
        if !permanent {
            redirects.queue = endpoints.into();
            return;
        }
        redirects.queue.clear();
        redirects.moved.retain(|known| !endpoints.contains(known));
        redirects.moved.splice(0..0, endpoints);
        redirects.moved.truncate(MAX_MOVED);
        self.broker = 0;
        (self.failed, self.refused) = (0, 0);
    }

    /// The next address is one of the session's own again, and may send us elsewhere.
    pub(super) fn not_redirected(&mut self) {
        self.hops = 0;
        self.leave_redirect();
    }

    /// Forgets where we were sent for now; `false`: nowhere.
    fn leave_redirect(&mut self) -> bool {
        let Some(redirects) = &mut self.redirects else { return false };
        let was = !redirects.queue.is_empty();
        if redirects.moved.is_empty() {
            self.redirects = None;
        } else {
            redirects.queue.clear();
        }
        was
    }

    /// How many addresses there are in turn.
    fn brokers(&self, options: &SessionOptions) -> usize {
        let moved = self.redirects.as_ref().map_or(0, |redirects| redirects.moved.len());
        moved + options.brokers.len()
    }

    fn next_broker(&mut self, options: &SessionOptions) {
        // Nobody writes down so many that the rest of them would count.
        let brokers = u16::try_from(self.brokers(options)).unwrap_or(u16::MAX);
        self.broker = (self.broker + 1) % brokers.max(1);
    }

    /// The brokers may be others: the first one is next, also where a server moved for good.
    pub(super) fn first_broker(&mut self) {
        (self.broker, self.hops) = (0, 0);
        (self.failed, self.refused) = (0, 0);
        self.redirects = None;
    }

    /// Somebody wants a connection now: all counts start over.
    pub(super) fn start_over(&mut self) {
        self.delays.reset();
        self.attempt = 0;
        (self.failed, self.refused) = (0, 0);
        self.not_redirected();
    }
}

/// Any number: the keys of the standard library's hashers are random, and differ each time.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Backoff, Jitter};

    fn options(brokers: &[&str]) -> SessionOptions {
        let backoff = Backoff::default().jitter(Jitter::None);
        SessionOptions::new("s")
            .brokers(brokers.iter().copied())
            .reconnect(backoff)
            .build()
            .expect("valid")
    }

    fn host(plan: &mut Plan, options: &SessionOptions) -> String {
        plan.begin(options).expect("valid").host().to_owned()
    }

    #[test]
    fn every_broker_is_tried_before_a_delay() {
        let options = options(&["a", "b"]);
        let mut plan = Plan::default();
        assert_eq!(host(&mut plan, &options), "a");
        assert_eq!(plan.failed(&options), Duration::ZERO);
        assert_eq!(host(&mut plan, &options), "b");
        assert_eq!(plan.failed(&options), Duration::from_secs(1));
        assert_eq!(host(&mut plan, &options), "a");
        assert_eq!(plan.attempt(), 3);
    }

    #[test]
    fn a_broker_that_refuses_leaves_the_others_a_chance() {
        let options = options(&["a", "b"]);
        let mut plan = Plan::default();
        assert_eq!(host(&mut plan, &options), "a");
        assert_eq!(plan.refused(&options), Duration::ZERO);
        assert_eq!(host(&mut plan, &options), "b");
        assert_eq!(plan.failed(&options), Duration::from_secs(1), "b may be back soon");
        plan.refused(&options);
        assert_eq!(plan.refused(&options), options.reconnect.max, "nobody will be");
        assert_eq!(host(&mut plan, &options), "a");
    }

    #[test]
    fn a_redirect_that_refuses_leads_back_to_the_list() {
        let options = options(&["a"]);
        let mut plan = Plan::default();
        host(&mut plan, &options);
        plan.follow(vec!["elsewhere".parse().expect("valid")], false);
        assert_eq!(plan.refused(&options), options.reconnect.max);
        assert_eq!((host(&mut plan, &options).as_str(), plan.hops), ("a", 0));
    }

    #[test]
    fn a_lost_connection_comes_back_to_its_broker_first() {
        let options = options(&["a", "b"]);
        let mut plan = Plan::default();
        host(&mut plan, &options);
        plan.failed(&options);
        host(&mut plan, &options);
        plan.connected();
        assert_eq!(plan.lost(&options, Duration::from_secs(60)), Duration::from_secs(1));
        assert_eq!(host(&mut plan, &options), "b");
        assert_eq!(plan.attempt(), 1);
    }

    #[test]
    fn a_redirect_that_fails_leads_back_to_the_list() {
        let options = options(&["a"]);
        let mut plan = Plan::default();
        host(&mut plan, &options);
        plan.follow(["b", "c"].map(|to| to.parse().expect("valid")).into(), false);
        assert_eq!(host(&mut plan, &options), "b");
        assert_eq!(plan.failed(&options), Duration::ZERO);
        assert_eq!(host(&mut plan, &options), "c");
        assert!(plan.failed(&options) > Duration::ZERO);
        assert_eq!(host(&mut plan, &options), "a");
    }

    #[test]
    fn a_server_that_moved_for_good_is_the_first_one_from_then_on() {
        let options = options(&["a", "b"]);
        let mut plan = Plan::default();
        host(&mut plan, &options);
        plan.failed(&options);
        assert_eq!(host(&mut plan, &options), "b");
        plan.follow(vec!["new".parse().expect("valid")], true);
        assert_eq!(host(&mut plan, &options), "new");
        plan.connected();
        plan.lost(&options, Duration::from_secs(60));
        plan.start_over();
        assert_eq!(host(&mut plan, &options), "new", "also after it was lost");
        assert_eq!(plan.failed(&options), Duration::ZERO);
        assert_eq!(host(&mut plan, &options), "a", "the others stand in for it");
        assert_eq!(plan.failed(&options), Duration::ZERO);
        assert_eq!(host(&mut plan, &options), "b");
        assert!(plan.failed(&options) > Duration::ZERO);
        assert_eq!(host(&mut plan, &options), "new");
        plan.follow(vec!["there".parse().expect("valid")], false);
        assert_eq!(host(&mut plan, &options), "there");
        plan.lost(&options, Duration::from_secs(60));
        assert_eq!(host(&mut plan, &options), "new", "for now is not for good");
    }

    #[test]
    fn servers_that_keep_moving_are_remembered_up_to_a_number() {
        let options = options(&["a"]);
        let mut plan = Plan::default();
        for n in 0..3 * MAX_MOVED {
            plan.follow(vec![format!("h{}", n % 12).parse().expect("valid")], true);
        }
        assert_eq!(plan.brokers(&options), MAX_MOVED + 1);
        assert_eq!(host(&mut plan, &options), "h11");
    }

    #[test]
    fn short_connections_do_not_reset_the_delay() {
        let options = options(&["a"]);
        let mut plan = Plan::default();
        plan.connected();
        let delays: Vec<_> =
            (0..3).map(|_| plan.lost(&options, Duration::from_secs(1)).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4]);
    }
}
