//! What certificates say: until when they are valid, and when to tell of their end; whose key they are for.

use std::time::{Duration, SystemTime};

use der::{Decode, Encode};
use x509_cert::Certificate;

/// When a certificate is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Validity {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

/// When the certificate with these bytes is valid; `None` when they cannot be read.
pub(super) fn validity(der: &[u8]) -> Option<Validity> {
    let certificate = Certificate::from_der(der).ok()?;
    let validity = certificate.tbs_certificate().validity();
    Some(Validity {
        not_before: SystemTime::UNIX_EPOCH + validity.not_before.to_unix_duration(),
        not_after: SystemTime::UNIX_EPOCH + validity.not_after.to_unix_duration(),
    })
}

/// The public key in the certificate with these bytes, which may be of any version; `None` when they cannot be read.
pub(super) fn public_key(der: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(der).ok()?;
    certificate.tbs_certificate().subject_public_key_info().to_der().ok()
}

/// The end of one certificate, and what was told of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct End {
    pub(super) not_after: SystemTime,
    /// The shortest of the warning times that was told.
    told: Option<Duration>,
}

impl End {
    pub(super) fn new(not_after: SystemTime) -> Self {
        Self { not_after, told: None }
    }

    /// The time that is left when somebody has to be told now, each warning once. The end itself is the last warning,
    /// unless there is none at all.
    pub(super) fn due(&mut self, now: SystemTime, warnings: &[Duration]) -> Option<Duration> {
        let left = self.not_after.duration_since(now).unwrap_or(Duration::ZERO);
        let reached = with_the_end(warnings).filter(|before| left <= *before).min()?;
        if self.told.is_some_and(|told| told <= reached) {
            return None;
        }
        self.told = Some(reached);
        Some(left)
    }

    /// How long until [`due`](Self::due) has something to tell.
    pub(super) fn next(&self, now: SystemTime, warnings: &[Duration]) -> Option<Duration> {
        let left = self.not_after.duration_since(now).unwrap_or(Duration::ZERO);
        let untold = with_the_end(warnings).filter(|b| self.told.is_none_or(|told| *b < told));
        untold.map(|before| left.saturating_sub(before)).min()
    }
}

fn with_the_end(warnings: &[Duration]) -> impl Iterator<Item = Duration> {
    let end = (!warnings.is_empty()).then_some(Duration::ZERO);
    warnings.iter().copied().chain(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn each_warning_is_told_once_and_the_end_last() {
        let start = SystemTime::UNIX_EPOCH + 1000 * DAY;
        let warnings = [30 * DAY, 7 * DAY, DAY];
        let mut end = End::new(start + 40 * DAY);
        assert_eq!(end.next(start, &warnings), Some(10 * DAY));
        let mut told = Vec::new();
        for day in 0..50 {
            told.extend(end.due(start + day * DAY, &warnings).map(|left| (day, left / 86_400)));
        }
        let second = Duration::from_secs(1);
        assert_eq!(told, [(10, 30 * second), (33, 7 * second), (39, second), (40, Duration::ZERO)]);
        assert_eq!(end.next(start + 50 * DAY, &warnings), None);
    }

    #[test]
    fn who_comes_late_is_told_the_nearest_only() {
        let now = SystemTime::UNIX_EPOCH + 1000 * DAY;
        let mut end = End::new(now + DAY / 2);
        let warnings = [7 * DAY, DAY];
        assert_eq!(end.due(now, &warnings), Some(DAY / 2));
        assert_eq!(end.due(now, &warnings), None);
        assert_eq!(end.next(now, &warnings), Some(DAY / 2), "the end itself");
    }

    #[test]
    fn without_warnings_nothing_is_told() {
        let now = SystemTime::now();
        let mut end = End::new(now - DAY);
        assert_eq!((end.due(now, &[]), end.next(now, &[])), (None, None));
    }

    #[test]
    fn bytes_that_are_no_certificate_have_no_dates() {
        assert_eq!(validity(&[0x30, 0x80, 1, 2]), None);
    }
}
