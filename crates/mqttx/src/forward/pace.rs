//! Waiting for the tokens of a rate limit.

use std::time::Instant;

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
