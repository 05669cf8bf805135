//! Who wants which filter: several routes and callers share one subscription of the server.

use std::collections::HashMap;

use mqttx_proto::SubscribeOptions;

/// The filters that a session wants, with everybody who wants them.
#[derive(Default)]
pub(crate) struct Interests {
    /// From the first one on.
    #[expect(clippy::box_collection, reason = "one word while it is empty")]
    filters: Option<Box<HashMap<Box<str>, Interest>>>,
    last_identifier: u32,
}

/// Who wants a filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// Somebody who called `subscribe`, or the options.
    Caller,
    /// A route, by its id.
    Route(u64),
    /// A requester, by its number, for the responses.
    Requester(u64),
}

struct Interest {
    identifier: u32,
    merged: SubscribeOptions,
    owners: Vec<(Owner, SubscribeOptions)>,
}

/// What the server is to be asked for after an addition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) options: SubscribeOptions,
    pub(crate) identifier: u32,
    /// Whether that differs from what it was asked for before.
    pub(crate) changed: bool,
}

impl Interests {
    /// `owner` wants `filter`, in addition to the others or instead of what it wanted before.
    pub(crate) fn add(&mut self, filter: &str, owner: Owner, options: SubscribeOptions) -> Wanted {
        let filters = self.filters.get_or_insert_default();
        if let Some(interest) = filters.get_mut(filter) {
            interest.owners.retain(|(known, _)| *known != owner);
            interest.owners.push((owner, options));
            let before = interest.merged;
            interest.merged = merge(&interest.owners, options);
            return Wanted {
                options: interest.merged,
                identifier: interest.identifier,
                changed: interest.merged != before,
            };
        }
        self.last_identifier = self.last_identifier % MAX_IDENTIFIER + 1;
        let identifier = self.last_identifier;
        let interest = Interest { identifier, merged: options, owners: vec![(owner, options)] };
        filters.insert(filter.into(), interest);
        Wanted { options, identifier, changed: true }
    }

    /// `owner` does not want `filter` any more; `true` when nobody does.
    ///
    /// What remains may be less than what the server was asked for; asking again would bring
    /// retained messages again, so it stays.
    pub(crate) fn remove(&mut self, filter: &str, owner: Owner) -> bool {
        let Some(filters) = &mut self.filters else { return false };
        let Some(interest) = filters.get_mut(filter) else { return false };
        let before = interest.owners.len();
        interest.owners.retain(|(known, _)| *known != owner);
        if interest.owners.len() == before || !interest.owners.is_empty() {
            return false;
        }
        filters.remove(filter);
        true
    }

    /// Nobody wants `filter` any more, whoever did; `false` when nobody wanted it.
    pub(crate) fn clear(&mut self, filter: &str) -> bool {
        self.filters.as_mut().is_some_and(|filters| filters.remove(filter).is_some())
    }

    /// The identifier of a filter that is wanted.
    pub(crate) fn identifier(&self, filter: &str) -> Option<u32> {
        Some(self.filters.as_ref()?.get(filter)?.identifier)
    }

    pub(crate) fn len(&self) -> usize {
        self.filters.as_ref().map_or(0, |filters| filters.len())
    }
}

/// The largest value of a subscription identifier `[MQTT-3.8.2.1.2]`.
const MAX_IDENTIFIER: u32 = 268_435_455;

/// Everybody gets what they want: the highest QoS, retain as published if any wants it, no-local only
/// if all do, and the retained messages that the most demanding one asks for.
fn merge(owners: &[(Owner, SubscribeOptions)], latest: SubscribeOptions) -> SubscribeOptions {
    owners.iter().fold(latest, |merged, (_, options)| SubscribeOptions {
        qos: merged.qos.max(options.qos),
        no_local: merged.no_local && options.no_local,
        retain_as_published: merged.retain_as_published || options.retain_as_published,
        retain_handling: if (options.retain_handling as u8) < merged.retain_handling as u8 {
            options.retain_handling
        } else {
            merged.retain_handling
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqttx_proto::{QoS, RetainHandling};

    fn options(qos: QoS) -> SubscribeOptions {
        SubscribeOptions { qos, ..SubscribeOptions::default() }
    }

    #[test]
    fn two_owners_share_one_subscription() {
        let mut interests = Interests::default();
        let first = interests.add("a/#", Owner::Route(1), options(QoS::AtLeastOnce));
        let second = interests.add("a/#", Owner::Route(2), options(QoS::AtMostOnce));
        assert!(first.changed);
        assert!(!second.changed, "the server already sends enough");
        assert_eq!(first.identifier, second.identifier);
        assert!(!interests.remove("a/#", Owner::Route(1)));
        assert!(interests.remove("a/#", Owner::Route(2)), "the last one unsubscribes");
        assert!(!interests.remove("a/#", Owner::Route(2)));
    }

    #[test]
    fn everybody_gets_what_they_want() {
        let mut interests = Interests::default();
        let quiet = SubscribeOptions {
            qos: QoS::AtMostOnce,
            no_local: true,
            retain_as_published: false,
            retain_handling: RetainHandling::DoNotSend,
        };
        let loud = SubscribeOptions {
            qos: QoS::ExactlyOnce,
            no_local: false,
            retain_as_published: true,
            retain_handling: RetainHandling::SendIfNew,
        };
        interests.add("a", Owner::Route(1), quiet);
        let wanted = interests.add("a", Owner::Caller, loud);
        assert!(wanted.changed);
        assert_eq!(wanted.options, loud);
    }

    #[test]
    fn an_owner_may_change_its_mind() {
        let mut interests = Interests::default();
        interests.add("a", Owner::Caller, options(QoS::ExactlyOnce));
        let wanted = interests.add("a", Owner::Caller, options(QoS::AtMostOnce));
        assert!(wanted.changed);
        assert_eq!(wanted.options.qos, QoS::AtMostOnce);
        assert!(interests.remove("a", Owner::Caller));
    }

    #[test]
    fn each_filter_has_its_own_identifier() {
        let mut interests =
            Interests { last_identifier: MAX_IDENTIFIER - 1, ..Interests::default() };
        let ids = ["a", "b", "c"].map(|filter| {
            interests.add(filter, Owner::Caller, options(QoS::AtMostOnce)).identifier
        });
        assert_eq!(ids, [MAX_IDENTIFIER, 1, 2]);
        assert_eq!(interests.identifier("b"), Some(1));
        assert!(interests.clear("b") && !interests.clear("b"));
        assert_eq!(interests.len(), 2);
    }
}
