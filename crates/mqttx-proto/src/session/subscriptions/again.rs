//! Desired filters that a new connection has to ask for.

use std::sync::Arc;

use super::requests::{Item, Kind, Request};
use super::{Standing, Subscriptions};
use crate::session::Context;
use crate::session::event::NO_TOKEN;
use crate::{Properties, SubscribeOptions};

impl Subscriptions {
    /// Our own requests for desired filters that no request of the application covers, in the order in which they came.
    pub(super) fn ask_again(&mut self, cx: &mut Context) {
        let mut missing: Vec<_> = self
            .desired
            .iter()
            .filter(|(filter, d)| {
                d.standing == Standing::Unconfirmed && !self.asked.subscribes(filter)
            })
            .collect();
        missing.sort_by_key(|(_, d)| d.order);
        let mut groups: Vec<(Arc<Properties>, Vec<Again>)> = Vec::new();
        for (filter, d) in missing {
            let again = (Arc::from(filter.as_str()), d.options, d.identifier);
            match groups.last_mut() {
                Some((properties, all)) if *properties == d.properties => all.push(again),
                _ => groups.push((Arc::clone(&d.properties), vec![again])),
            }
        }
        let (kind, known) = (Kind::Subscribe, None);
        for (properties, all) in groups {
            let request = Request::new(kind, properties, NO_TOKEN, all.len());
            let request = self.begin(Request { internal: true, ..request });
            for (place, (filter, options, identifier)) in all.into_iter().enumerate() {
                let number = self.number();
                let item =
                    Item { number, kind, filter, options, identifier, known, request, place };
                self.add(cx, item);
            }
        }
    }
}

/// A filter, and how it is asked for.
type Again = (Arc<str>, SubscribeOptions, Option<u32>);
