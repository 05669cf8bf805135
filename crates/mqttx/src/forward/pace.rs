//! Waiting for the tokens of a rate limit.

use std::time::Instant;

use super::flows::Flows;
use super::rate::{Bucket, RateLimit};

#[derive(Debug)]
pub(super) struct Pace {
    bucket: Bucket,
    /// Nothing goes before.
    until: Option<Instant>,
    /// Somebody waits for that time.
    timed: bool,
}

impl Pace {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self { bucket: Bucket::new(limit), until: None, timed: false }
    }

    /// One with as much left, for which nobody waits.
    pub(super) fn share(&self) -> Self {
        Self { bucket: self.bucket.clone(), until: None, timed: false }
    }

    pub(super) fn has_limit_of(&self, other: &Self) -> bool {
        self.bucket.limit() == other.bucket.limit()
    }

    /// Whether nothing goes for now.
    pub(super) fn waits(&self) -> bool {
        self.until.is_some()
    }

    /// Takes the tokens of a message; `false`: it has to wait.
    pub(super) fn lets(&mut self, bytes: usize) -> bool {
        self.until = self.bucket.take(crate::session::now(), bytes).err();
        self.until.is_none()
    }

    /// When it goes on, for the one caller that waits for it.
    pub(super) fn timer(&mut self) -> Option<Instant> {
        let until = self.until.filter(|_| !self.timed)?;
        self.timed = true;
        Some(until)
    }

    pub(super) fn resume(&mut self) {
        (self.until, self.timed) = (None, false);
    }
}

impl Flows {
    /// No faster than this.
    pub(super) fn paced(mut self, limit: Option<RateLimit>) -> Self {
        self.rate = limit.map(Pace::new);
        self
    }

    /// What the rate limit has left.
    pub(super) fn pace(&self) -> Option<Pace> {
        self.rate.as_ref().map(Pace::share)
    }

    /// The rate limit goes on where `pace` is, if it is the same limit.
    pub(super) fn go_on_with(&mut self, pace: Option<Pace>) {
        if let (Some(rate), Some(pace)) = (&mut self.rate, pace)
            && rate.has_limit_of(&pace)
        {
            *rate = pace;
        }
    }

    /// When to [`resume_pace`](Self::resume_pace), if nobody waits for it yet.
    pub(super) fn pace_timer(&mut self) -> Option<Instant> {
        self.rate.as_mut()?.timer()
    }

    /// The time of [`pace_timer`](Self::pace_timer) has come.
    pub(super) fn resume_pace(&mut self) {
        if let Some(pace) = &mut self.rate {
            pace.resume();
        }
    }
}
