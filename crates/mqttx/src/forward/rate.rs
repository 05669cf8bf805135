//! How fast a forwarder may be.

use std::time::{Duration, Instant};

/// At most so many messages, and so many payload bytes, in a period.
///
/// A token bucket that holds one period's worth: after a pause that much goes at once, then the rate holds. A
/// message that is larger than a whole period's bytes goes when the bucket is full, and what it takes too much is
/// made up for before the next one. What may not go yet waits: with QoS > 0 within the window, so that the source's
/// server is slowed down, with QoS 0 in the bounded queue.
///
/// ```
/// use mqttx::RateLimit;
/// use std::time::Duration;
///
/// let limit = RateLimit::messages(500, Duration::from_secs(1)).bytes(1 << 20);
/// # let _ = limit;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimit {
    messages: Option<u64>,
    bytes: Option<u64>,
    per: Duration,
}

impl RateLimit {
    /// No limit yet, in a period of this length; 1 ms to 1 day.
    #[must_use]
    pub fn per(per: Duration) -> Self {
        Self { messages: None, bytes: None, per }
    }

    /// So many messages in a period; at least 1.
    #[must_use]
    pub fn messages(messages: u64, per: Duration) -> Self {
        Self { messages: Some(messages), ..Self::per(per) }
    }

    /// Sets the messages in a period; at least 1.
    #[must_use]
    pub fn with_messages(mut self, messages: u64) -> Self {
        self.messages = Some(messages);
        self
    }

    /// Sets the payload bytes in a period; at least 1.
    #[must_use]
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// All that is wrong with it: the field, its value, and why.
    pub(super) fn problems(&self) -> impl Iterator<Item = (&'static str, String, &'static str)> {
        let allowed = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
        let per = (!allowed.contains(&self.per))
            .then(|| ("per", format!("{:?}", self.per), "allowed are 1 ms to 1 day"));
        let nothing = self.messages.is_none() && self.bytes.is_none();
        let nothing =
            nothing.then(|| ("messages", String::new(), "messages, bytes or both are needed"));
        let zero = |field, value: Option<u64>| {
            value.filter(|n| *n == 0).map(|_| (field, "0".to_owned(), "at least 1"))
        };
        let all = [per, nothing, zero("messages", self.messages), zero("bytes", self.bytes)];
        all.into_iter().flatten()
    }
}

/// The tokens of a limit.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    limit: RateLimit,
    /// When each bucket is full again.
    messages_full: Option<Instant>,
    bytes_full: Option<Instant>,
}

impl Bucket {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self { limit, messages_full: None, bytes_full: None }
    }

    pub(super) fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Takes the tokens of a message.
    ///
    /// # Errors
    /// There are not enough; when there will be.
    pub(super) fn take(&mut self, now: Instant, bytes: usize) -> Result<(), Instant> {
        let per = self.limit.per;
        let messages = cost(per, 1, self.limit.messages);
        let bytes = cost(per, bytes as u64, self.limit.bytes);
        let messages_at = earliest(per, self.messages_full, messages);
        let bytes_at = earliest(per, self.bytes_full, bytes);
        let at = messages_at.max(bytes_at).filter(|at| *at > now);
        if let Some(at) = at {
            return Err(at);
        }
        let spend = |full: Option<Instant>, cost: Duration| {
            let from = full.map_or(now, |full| full.max(now));
            (!cost.is_zero()).then(|| from + cost)
        };
        self.messages_full = spend(self.messages_full, messages);
        self.bytes_full = spend(self.bytes_full, bytes).or(self.bytes_full);
        Ok(())
    }
}

/// How long it takes until so much has come into the bucket.
fn cost(per: Duration, amount: u64, limit: Option<u64>) -> Duration {
    let Some(limit) = limit else { return Duration::ZERO };
    let nanos = per.as_nanos() * u128::from(amount) / u128::from(limit.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX).min(MOST))
}

/// When a bucket that is full at `full` can pay; one that is full can pay everything.
fn earliest(per: Duration, full: Option<Instant>, cost: Duration) -> Option<Instant> {
    full?.checked_sub(per.saturating_sub(cost))
}

/// A century, so that no sum overflows.
const MOST: u64 = 3_155_760_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// When each of `sizes` may go, if it goes as soon as it may.
    fn starts(limit: RateLimit, sizes: &[usize]) -> Vec<Duration> {
        let start = Instant::now();
        let (mut bucket, mut now, mut starts) = (Bucket::new(limit), start, Vec::new());
        for size in sizes {
            while let Err(at) = bucket.take(now, *size) {
                assert!(at > now);
                now = at;
            }
            starts.push(now - start);
        }
        starts
    }

    #[test]
    fn one_period_goes_at_once_and_then_the_rate_holds() {
        let starts = starts(RateLimit::messages(4, SECOND), &[0; 8]);
        let expected = [0, 0, 0, 0, 250, 500, 750, 1000].map(Duration::from_millis);
        assert_eq!(starts, expected);
    }

    #[test]
    fn bytes_count_like_messages() {
        let starts = starts(RateLimit::per(SECOND).bytes(1000), &[600, 400, 0, 100, 500]);
        let expected = [0, 0, 0, 100, 600].map(Duration::from_millis);
        assert_eq!(starts, expected);
    }

    #[test]
    fn a_message_beyond_the_bucket_goes_when_it_is_full_and_is_made_up_for() {
        let starts = starts(RateLimit::per(SECOND).bytes(100), &[10, 350, 1]);
        let expected = [0, 100, 2610].map(Duration::from_millis);
        assert_eq!(starts, expected);
    }

    #[test]
    fn the_stricter_limit_counts() {
        let both = RateLimit::messages(2, SECOND).bytes(10);
        assert_eq!(starts(both, &[1, 1, 1])[2], Duration::from_millis(500));
        assert_eq!(starts(both, &[10, 10])[1], SECOND);
    }

    #[test]
    fn nothing_is_saved_up_beyond_a_period() {
        let mut bucket = Bucket::new(RateLimit::messages(2, SECOND));
        let now = Instant::now();
        assert_eq!(bucket.take(now, 0), Ok(()));
        let later = now + Duration::from_secs(60);
        assert_eq!(bucket.take(later, 0), Ok(()));
        assert_eq!(bucket.take(later, 0), Ok(()));
        assert_eq!(bucket.take(later, 0), Err(later + Duration::from_millis(500)));
    }

    #[test]
    fn limits_that_make_no_sense_are_named() {
        let problem = |limit: RateLimit| limit.problems().next().map(|(field, ..)| field);
        assert_eq!(problem(RateLimit::per(SECOND)), Some("messages"));
        assert_eq!(problem(RateLimit::messages(0, SECOND)), Some("messages"));
        assert_eq!(problem(RateLimit::per(SECOND).bytes(0)), Some("bytes"));
        assert_eq!(problem(RateLimit::messages(1, Duration::ZERO)), Some("per"));
        assert_eq!(problem(RateLimit::messages(1, SECOND)), None);
        assert_eq!(RateLimit::messages(0, Duration::ZERO).bytes(0).problems().count(), 3);
    }

    proptest! {
        #[test]
        fn no_window_of_a_period_has_more_than_two_bursts(gaps in prop::collection::vec(0_u64..400, 1..60), rate in 1_u64..10) {
            let (mut bucket, start) = (Bucket::new(RateLimit::messages(rate, SECOND)), Instant::now());
            let (mut now, mut went) = (start, Vec::new());
            for gap in gaps {
                now += Duration::from_millis(gap);
                if bucket.take(now, 1).is_ok() {
                    went.push(now);
                }
            }
            for at in &went {
                let within = went.iter().filter(|other| **other >= *at && **other < *at + SECOND);
                prop_assert!(within.count() as u64 <= 2 * rate);
            }
        }
    }
}
