//! Which forwarders a message passed: what ends circles that no file shows.
//!
//! On MQTT 5 every forwarded message carries a user property for each forwarder it passed, and one with their
//! number. A forwarder gives up what it has passed itself, and what made too many hops.

use mqttx_proto::{Properties, PropertiesRef, Property};

use super::fault::cut;

/// The user property that names a forwarder as `DAEMON/FORWARDER`.
pub(super) const VIA: &str = "mqttx-via";

/// The user property with the number of forwarders.
pub(super) const HOPS: &str = "mqttx-hops";

/// One forwarder's own mark.
#[derive(Debug)]
pub(super) struct Mark {
    identity: Box<str>,
    max_hops: u32,
    /// What a message without properties gets.
    first: Properties,
}

/// How a message came so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Passed {
    pub(super) hops: u32,
    /// It has passed this forwarder.
    here: bool,
    counted: bool,
}

impl Mark {
    pub(super) fn new(daemon: &str, forwarder: &str, max_hops: u32) -> Self {
        let identity = shorten(&format!("{daemon}/{forwarder}"));
        let mut mark = Self { identity, max_hops, first: Properties::new() };
        let mut first = Properties::new();
        mark.put(0, &mut first);
        mark.first = first;
        mark
    }

    /// How the message came here.
    pub(super) fn read(&self, properties: PropertiesRef<'_>) -> Passed {
        let (mut named, mut hops, mut here, mut counted) = (0_u32, 0, false, false);
        for (name, value) in properties.user_properties() {
            if name == VIA {
                named = named.saturating_add(1);
                here |= value == &*self.identity;
            } else if name == HOPS {
                counted = true;
                // What is no number, or none that fits, has gone too far.
                hops = hops.max(value.parse().unwrap_or(u32::MAX));
            }
        }
        Passed { hops: hops.max(named), here, counted }
    }

    /// Whether the message must not go on.
    pub(super) fn ends(&self, passed: Passed) -> bool {
        passed.here || passed.hops >= self.max_hops
    }

    /// The properties of a message that came with none.
    pub(super) fn first(&self) -> PropertiesRef<'_> {
        self.first.as_ref()
    }

    /// Adds the mark to what the message carries.
    pub(super) fn add(&self, passed: Passed, properties: &mut Properties) {
        if passed.counted {
            let old = properties.clone();
            properties.copy_from(PropertiesRef::EMPTY);
            for property in old.as_ref() {
                if !matches!(property, Property::UserProperty(HOPS, _)) {
                    // It was there before.
                    let _ = properties.push(property);
                }
            }
        }
        self.put(passed.hops, properties);
    }

    fn put(&self, hops: u32, properties: &mut Properties) {
        // Both are short, and without characters that a string must not have.
        let _ = properties.user_property(VIA, &self.identity);
        let _ = properties.user_property(HOPS, &hops.saturating_add(1).to_string());
    }
}

/// A name that fits a user property.
fn shorten(name: &str) -> Box<str> {
    cut(&name.replace(char::is_control, "_"), MAX_NAME).into()
}

const MAX_NAME: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> Properties {
        let mut properties = Properties::new();
        for (name, value) in pairs {
            properties.user_property(name, value).unwrap();
        }
        properties
    }

    fn pass(mark: &Mark, properties: &mut Properties) -> bool {
        let passed = mark.read(properties.as_ref());
        if mark.ends(passed) {
            return false;
        }
        mark.add(passed, properties);
        true
    }

    #[test]
    fn each_forwarder_adds_itself_and_counts() {
        let mut carried = properties(&[("own", "1")]);
        assert!(pass(&Mark::new("d", "a", 8), &mut carried));
        assert!(pass(&Mark::new("d", "b", 8), &mut carried));
        assert_eq!(carried, properties(&[("own", "1"), (VIA, "d/a"), (VIA, "d/b"), (HOPS, "2")]));
        assert_eq!(
            Mark::new("d", "a", 8).first(),
            properties(&[(VIA, "d/a"), (HOPS, "1")]).as_ref()
        );
    }

    #[test]
    fn what_passed_here_or_went_too_far_ends() {
        let mark = Mark::new("d", "a", 3);
        assert!(!pass(&mark, &mut properties(&[(VIA, "d/a"), (HOPS, "1")])));
        assert!(pass(&mark, &mut properties(&[(VIA, "e/a"), (HOPS, "1")])), "another daemon's");
        assert!(pass(&mark, &mut properties(&[(HOPS, "2")])));
        assert!(!pass(&mark, &mut properties(&[(HOPS, "3")])));
        for hops in ["99999999999999999999", "-1", "x"] {
            assert!(!pass(&mark, &mut properties(&[(HOPS, hops)])), "{hops}");
        }
        let named = [(VIA, "1"), (VIA, "2"), (VIA, "3")];
        assert!(!pass(&mark, &mut properties(&named)), "without a number the names count");
    }

    #[test]
    fn any_name_fits_a_property() {
        let mark = Mark::new(&"é".repeat(2000), "a\0b", 8);
        assert!(mark.first().user_properties().any(|(name, _)| name == VIA));
    }
}
