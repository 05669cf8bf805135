//! Topic names and topic filters, section 4.7, and shared subscriptions, section 4.8.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::TopicError;
use crate::scan::{contains_any, position};

/// A topic name that was checked once: may be published to. Cheap to clone.
///
/// ```
/// use mqttx_proto::{Topic, TopicError};
///
/// assert_eq!(Topic::new("sensors/7")?, "sensors/7");
/// assert_eq!(Topic::new("sensors/+"), Err(TopicError::Wildcard));
/// # Ok::<(), TopicError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

/// A topic filter that was checked once: may be subscribed to. Cheap to clone.
///
/// It may be shared: `$share/{group}/{filter}`.
///
/// ```
/// use mqttx_proto::{Filter, TopicError};
///
/// let filter = Filter::new("sensors/+/temperature")?;
/// assert!(filter.matches("sensors/7/temperature"));
/// assert_eq!(Filter::new("sensors/#/temperature"), Err(TopicError::MultiLevel));
/// # Ok::<(), TopicError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter(Arc<str>);

macro_rules! checked_text {
    ($Type:ident, $check:ident) => {
        impl $Type {
            /// Checks the text and keeps it.
            ///
            /// # Errors
            #[doc = concat!("Those of [`", stringify!($check), "`].")]
            pub fn new(text: impl Into<Arc<str>>) -> Result<Self, TopicError> {
                let text = text.into();
                $check(&text)?;
                Ok(Self(text))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $Type {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $Type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $Type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $Type {
            type Err = TopicError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $Type {
            type Error = TopicError;

            fn try_from(text: &str) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $Type {
            type Error = TopicError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }

        impl From<$Type> for Arc<str> {
            fn from(text: $Type) -> Self {
                text.0
            }
        }

        impl PartialEq<str> for $Type {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $Type {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl fmt::Display for $Type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $Type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

checked_text!(Topic, validate_topic);
checked_text!(Filter, validate_filter);

impl Filter {
    /// Whether a message with this topic name belongs to the filter; see [`matches()`].
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        matches(&self.0, topic)
    }
}

/// Checks a topic name: what a PUBLISH or a will may be sent to.
///
/// # Errors
/// It is empty, longer than 65 535 bytes, or contains `+`, `#` or U+0000.
pub fn validate_topic(topic: &str) -> Result<(), TopicError> {
    // One look for all of it: nearly every topic passes.
    if is_topic(topic) {
        return Ok(());
    }
    check_text(topic)?;
    Err(TopicError::Wildcard)
}

/// Whether [`validate_topic`] has nothing to say.
#[inline(always)]
pub(crate) fn is_topic(topic: &str) -> bool {
    (1..=LONGEST).contains(&topic.len()) && !contains_any(topic.as_bytes(), [0, b'+', b'#'])
}

/// Checks a topic filter: what a SUBSCRIBE may ask for.
///
/// # Errors
/// It is empty, longer than 65 535 bytes, contains U+0000, has a wildcard that is not a whole
/// level, a `#` that is not the last, or starts with `$share/` and names no group or no filter.
pub fn validate_filter(filter: &str) -> Result<(), TopicError> {
    check_text(filter)?;
    let Some(shared) = filter.strip_prefix(SHARE_PREFIX) else { return check_levels(filter) };
    let (group, filter) = shared.split_once('/').unwrap_or((shared, ""));
    if group.is_empty() || has_wildcard(group) {
        return Err(TopicError::ShareName);
    }
    if filter.is_empty() {
        return Err(TopicError::ShareFilter);
    }
    check_levels(filter)
}

fn check_text(text: &str) -> Result<(), TopicError> {
    match text.len() {
        0 => Err(TopicError::Empty),
        1..=LONGEST if contains_any(text.as_bytes(), [0]) => Err(TopicError::Nul),
        1..=LONGEST => Ok(()),
        len => Err(TopicError::TooLong(len)),
    }
}

fn check_levels(filter: &str) -> Result<(), TopicError> {
    if !has_wildcard(filter) {
        return Ok(());
    }
    let mut levels = filter.split('/');
    while let Some(level) = levels.next() {
        if level.contains('#') && (level != "#" || levels.next().is_some()) {
            return Err(TopicError::MultiLevel);
        }
        if level.contains('+') && level != "+" {
            return Err(TopicError::SingleLevel);
        }
    }
    Ok(())
}

/// Whether the text contains `+` or `#`.
#[must_use]
#[inline]
pub fn has_wildcard(text: &str) -> bool {
    contains_any(text.as_bytes(), [b'+', b'#'])
}

/// Whether a message with this topic name belongs to this (valid) filter, section 4.7.
///
/// A leading wildcard does not match a topic that starts with `$` `[MQTT-4.7.2-1]`; `a/#` matches
/// `a` too; of a shared filter only the part after the group counts.
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    walk(filter, topic, |_| {})
}

/// Like [`matches()`], and says what each wildcard stood for.
///
/// `out` is cleared first; it then holds one entry for every `+`, in order, and for a last `#` the
/// rest of the topic, which may be empty. It is left empty when the topic does not match.
///
/// ```
/// let mut out = Vec::new();
/// assert!(mqttx_proto::captures("site/+/#", "site/7/temp/now", &mut out));
/// assert_eq!(out, ["7", "temp/now"]);
/// ```
pub fn captures<'t>(filter: &str, topic: &'t str, out: &mut Vec<&'t str>) -> bool {
    out.clear();
    let matched = walk(filter, topic, |level| out.push(level));
    if !matched {
        out.clear();
    }
    matched
}

fn walk<'t>(filter: &str, topic: &'t str, mut capture: impl FnMut(&'t str)) -> bool {
    let filter = split_shared(filter).map_or(filter, |shared| shared.filter);
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut filter, mut topic) = (Some(filter), Some(topic));
    while let Some(levels) = filter {
        let (wanted, further) = split_level(levels);
        if wanted == "#" {
            capture(topic.unwrap_or(""));
            return true;
        }
        let Some(levels) = topic else { return false };
        let (level, after) = split_level(levels);
        if wanted == "+" {
            capture(level);
        } else if wanted != level {
            return false;
        }
        (filter, topic) = (further, after);
    }
    topic.is_none()
}

/// The first level, and the rest if there is one.
#[inline]
pub(crate) fn split_level(text: &str) -> (&str, Option<&str>) {
    let Some(at) = position(text.as_bytes(), b'/') else { return (text, None) };
    (text.get(..at).unwrap_or_default(), text.get(at + 1..))
}

/// The two parts of `$share/{group}/{filter}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct SharedFilter<'a> {
    /// The subscribers that share one copy of each message.
    pub group: &'a str,
    /// What they subscribe to.
    pub filter: &'a str,
}

/// Takes a shared filter apart; `None` for one that is not shared, or not complete.
#[must_use]
pub fn split_shared(filter: &str) -> Option<SharedFilter<'_>> {
    let (group, filter) = filter.strip_prefix(SHARE_PREFIX)?.split_once('/')?;
    Some(SharedFilter { group, filter })
}

/// The bytes that a topic may have: the length on the wire has two bytes.
const LONGEST: usize = 0xFFFF;

const SHARE_PREFIX: &str = "$share/";
